//! Files that hold a secret: how one is read, and the one rule for their access.
//!
//! A file that others can write lets them choose the secret, so it is refused. One that others can read is probably a mistake, but
//! some systems hand out secrets in that way, so it is a warning. A group may read.

use super::origin::{ValueOrigin, read_text};
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bits of the mode that let the group and all others write.
const WRITABLE: u32 = 0o022;
const READABLE_BY_OTHERS: u32 = 0o004;

/// A file with a secret, and the setting that names it.
#[derive(Clone, Debug)]
pub struct SecretFile {
    pub key: String,
    pub origin: ValueOrigin,
    pub path: PathBuf,
}

/// The access that other users have to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum FileAccess {
    /// The group may read it.
    Restricted,
    /// Every user may read it.
    Readable,
    /// The group or every user may write it.
    Writable,
}

impl FileAccess {
    pub(in crate::gateway) fn of(permissions: &Permissions) -> FileAccess {
        match permissions.mode() {
            mode if mode & WRITABLE != 0 => FileAccess::Writable,
            mode if mode & READABLE_BY_OTHERS != 0 => FileAccess::Readable,
            _ => FileAccess::Restricted,
        }
    }
}

/// The reason why a file with a secret is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFileFault {
    /// The group or all other users can write it.
    WritableByOthers { path: PathBuf },
    /// It must hold a value.
    Empty { path: PathBuf },
    /// The setting itself has a value as well; `key` is the one that names the file.
    TwoValues { key: String },
}

impl fmt::Display for SecretFileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretFileFault::WritableByOthers { path } => {
                let path = path.display();
                write!(f, "other users can write {path}, and so choose the secret: run chmod 640 {path}")
            }
            SecretFileFault::Empty { path } => {
                write!(f, "{} is empty: write the value into it, or remove this setting", path.display())
            }
            SecretFileFault::TwoValues { key } => write!(f, "{key} is set as well: remove one of them"),
        }
    }
}

/// The content of a file without the line break that editors and `echo` put at its end, and the byte order mark that editors of
/// Windows put at its beginning: a secret with either would be another one, and no token would be accepted.
pub(super) fn read(path: &Path, bytes_max: usize) -> io::Result<Zeroizing<String>> {
    let text = Zeroizing::new(read_text(path, bytes_max)?);
    let secret = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(Zeroizing::new(secret.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_byte_order_mark_nor_a_line_break_is_part_of_a_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        for text in ["a secret", "a secret\n", "a secret\r\n", "\u{feff}a secret\r\n"] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(read(&path, 100).expect("read").as_str(), "a secret", "{text:?}");
        }
    }
}
