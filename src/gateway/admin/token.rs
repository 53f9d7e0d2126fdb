//! The file that holds the admin token: made once, for its owner's eyes only.
//!
//! It is written whole under another name and linked into place, so that a crash leaves no half of a token and two processes
//! that start at once agree on one.

use crate::worker::admin::{BEARER_BYTES, is_bearer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Its name in the data folder.
const NAME: &str = "admin.token";
/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;

/// The token of this data folder, made if there is none, and its file.
pub(super) fn find(data: &Path) -> Result<(Vec<u8>, PathBuf), String> {
    let path = data.join(NAME);
    if let Some(token) = read(&path)? {
        return Ok((token, path));
    }
    make(data, &path).map_err(|error| {
        format!("cannot make {} (the admin token): {error}; or set admin.token", path.display())
    })?;
    match read(&path)? {
        Some(token) => Ok((token, path)),
        None => Err(format!("{} was there a moment ago and is gone; start again", path.display())),
    }
}

/// The token of this data folder, which must be there, and its file.
pub(super) fn known(data: &Path) -> Result<(Vec<u8>, PathBuf), String> {
    let path = data.join(NAME);
    match read(&path)? {
        Some(token) => Ok((token, path)),
        None => Err(format!(
            "there is no {} (the admin token): name the gateway's data folder (store.data), or set admin.token as it has it",
            path.display()
        )),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let shown = path.display();
    let failed = |error| format!("cannot read {shown} (the admin token): {error}");
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "{shown} (the admin token) may be read or written by others (mode {mode:04o}): if nobody has, run \
             chmod 600 {shown}; else remove it, and the next start makes another"
        ));
    }
    let mut text = Vec::new();
    file.take(*BEARER_BYTES.end() as u64 + 3).read_to_end(&mut text).map_err(failed)?;
    let token = text.trim_ascii();
    if !is_bearer(token) {
        return Err(format!(
            "{shown} holds no token of {} to {} letters, digits and -._~+/=: write one, or remove it, and the next start \
             makes one",
            BEARER_BYTES.start(),
            BEARER_BYTES.end()
        ));
    }
    Ok(Some(token.to_vec()))
}

fn make(data: &Path, path: &Path) -> std::io::Result<()> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)?;
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let new = data.join(format!("{NAME}.{}.new", std::process::id()));
    // What a process of this number left behind when it crashed is no token.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
            writeln!(file, "{}", URL_SAFE_NO_PAD.encode(random))?;
            file.sync_all()
        });
    let linked = written.and_then(|()| match std::fs::hard_link(&new, path) {
        // Another process was faster: its token is the one.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    });
    let _ = std::fs::remove_file(&new);
    linked.and_then(|()| File::open(data)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let (token, path) = find(&data).expect("made");
        assert_eq!(find(&data).expect("found"), (token.clone(), path.clone()));
        assert_eq!(path.metadata().expect("it is there").mode() & 0o7777, 0o600);
        assert!(is_bearer(&token) && token.len() >= 43);
        let names: Vec<_> =
            data.read_dir().expect("a folder").map(|entry| entry.expect("listed").file_name()).collect();
        assert_eq!(names, ["admin.token"], "nothing else is left");
        let other = folder.path().join("other");
        assert_ne!(find(&other).expect("made").0, token);
    }

    #[test]
    fn many_who_start_at_once_agree_on_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        // One process has one number, so the losers' way is taken here by hand: the file is there when they link.
        write(data.join("admin.token"), "x".repeat(43)).expect("written");
        set_permissions(data.join("admin.token"), Permissions::from_mode(0o600)).expect("set");
        make(data, &data.join("admin.token")).expect("no failure");
        assert_eq!(find(data).expect("found").0, "x".repeat(43).as_bytes());
    }

    #[test]
    fn a_file_that_others_may_read_or_that_holds_no_token_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.token");
        for (text, mode, expected) in [
            ("0123456789012345678901234567890123456789\n", 0o644, "chmod 600"),
            ("0123456789012345678901234567890123456789\n", 0o620, "chmod 600"),
            ("", 0o600, "holds no token"),
            ("short\n", 0o600, "holds no token"),
            ("a token of two words is not one, however long\n", 0o600, "holds no token"),
        ] {
            write(&path, text).expect("written");
            set_permissions(&path, Permissions::from_mode(mode)).expect("set");
            let error = find(folder.path()).expect_err("refused");
            assert!(error.contains(expected) && error.contains("admin.token"), "{error}");
        }
    }
}
