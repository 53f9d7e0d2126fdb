//! The layers a configuration is made of, and which of them each value came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What [`load`](super::load) reads.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file.
    pub file: FileSource,
    /// The environment; what does not start with `SEAWALL_` is ignored.
    pub variables: Vec<(OsString, OsString)>,
    /// Flags, in the order given.
    pub flags: Vec<Flag>,
}

/// Which file is read.
#[derive(Clone, Debug)]
pub enum FileSource {
    /// The operator named it, so it must exist.
    Named(PathBuf),
    /// Read if it exists.
    IfPresent(PathBuf),
}

/// A flag that sets a setting.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As in the table of settings, with its dashes: `--listen`.
    pub name: &'static str,
    /// Its value; `true` for a flag without one.
    pub value: String,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The file.
    File {
        /// Its path, as it was given.
        path: Arc<Path>,
        /// Counted from 1; 0: the file as a whole.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line: 0 } => write!(f, "{}", path.display()),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The origin of every setting.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    settings: BTreeMap<&'static str, Origin>,
    file: Option<PathBuf>,
}

impl Origins {
    /// Where the setting of this full name (`limits.frame_bytes`) got its value.
    pub fn of(&self, name: &str) -> &Origin {
        self.settings.get(name).unwrap_or(&Origin::Default)
    }

    /// The file that was read, if one was.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(super) fn note(&mut self, name: &'static str, origin: Origin) {
        self.settings.insert(name, origin);
    }

    pub(super) fn note_file(&mut self, path: &Path) {
        self.file = Some(path.to_owned());
    }
}

/// Reads a whole text file of at most `bytes_max` bytes. A file without an end, a device or a pipe, must not
/// fill the memory.
pub(super) fn read_text(path: &Path, bytes_max: usize) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_string(&mut text)?;
    if text.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("over {bytes_max} bytes")));
    }
    Ok(text)
}
