//! Where each value came from: a default, a line of a file, a variable or a flag.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ValueOrigin {
    #[default]
    Default,
    File {
        /// The path as the operator gave it.
        path: Arc<Path>,
        /// Counted from 1; 0 is the file as a whole.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueOrigin::Default => f.write_str("default"),
            ValueOrigin::File { path, line: 0 } => write!(f, "{}", path.display()),
            ValueOrigin::File { path, line } => write!(f, "{}:{line}", path.display()),
            ValueOrigin::Variable(name) => write!(f, "variable {name}"),
            ValueOrigin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The origin of every setting.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    settings: BTreeMap<&'static str, ValueOrigin>,
    /// The settings of which the origin only names a file with the value.
    in_secret_files: BTreeSet<&'static str>,
    file: Option<PathBuf>,
}

impl Origins {
    /// The origin of a setting, by its full name (`limits.frame_bytes`).
    pub fn of(&self, name: &str) -> &ValueOrigin {
        self.settings.get(name).unwrap_or(&ValueOrigin::Default)
    }

    /// The file that was read, if one was.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// True exactly when the origin of a setting names a file with its value.
    pub(super) fn is_from_secret_file(&self, name: &str) -> bool {
        self.in_secret_files.contains(name)
    }

    pub(super) fn note(&mut self, name: &'static str, origin: ValueOrigin) {
        self.settings.insert(name, origin);
        self.in_secret_files.remove(name);
    }

    /// Notes that the origin of a setting, which is noted already, names a file with its value.
    pub(super) fn note_secret_file(&mut self, name: &'static str) {
        self.in_secret_files.insert(name);
    }

    pub(super) fn note_file(&mut self, path: &Path) {
        self.file = Some(path.to_owned());
    }
}

/// Reads a whole text file of at most `bytes_max` bytes. The bound keeps a device or a pipe, which may never end,
/// from filling the memory.
pub(super) fn read_text(path: &Path, bytes_max: usize) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_string(&mut text)?;
    if text.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("over {bytes_max} bytes")));
    }
    Ok(text)
}
