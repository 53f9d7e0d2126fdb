//! The file of the admin token: created once, readable by its owner only.
//!
//! It is written under another name and linked into place, so that a crash leaves no partial token and two processes that start
//! at once agree on one.

use crate::admin::{BEARER_BYTES, is_bearer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const NAME: &str = "admin.token";
const RANDOM_BYTES: usize = 32;

/// The token of this data folder and its file. The token is created if there is none.
pub(super) fn find_or_create(data: &Path) -> Result<(Zeroizing<Vec<u8>>, PathBuf), String> {
    let path = data.join(NAME);
    if let Some(token) = read(&path)? {
        return Ok((token, path));
    }
    create(data, &path).map_err(|error| {
        format!("cannot create {} (the admin token): {error}; or set admin.token", path.display())
    })?;
    match read(&path)? {
        Some(token) => Ok((token, path)),
        None => Err(format!("{} was removed while the gateway started: start it again", path.display())),
    }
}

/// The token of this data folder and its file, which must exist.
pub(super) fn known(data: &Path) -> Result<(Zeroizing<Vec<u8>>, PathBuf), String> {
    let path = data.join(NAME);
    match read(&path)? {
        Some(token) => Ok((token, path)),
        None => Err(format!(
            "{} (the admin token) does not exist: set store.data or admin.token as the running gateway has it",
            path.display()
        )),
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
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
            "other users can read or write {shown} (the admin token, mode {mode:04o}): run chmod 600 {shown}; if someone may \
             have read it, remove it instead, and the next start creates a new one"
        ));
    }
    let bytes_max = *BEARER_BYTES.end() + 3;
    // A vector that grew would leave copies.
    let mut text = Zeroizing::new(Vec::with_capacity(bytes_max + 32));
    file.take(bytes_max as u64).read_to_end(&mut text).map_err(failed)?;
    let token = text.trim_ascii();
    if !is_bearer(token) {
        return Err(format!(
            "{shown} holds no token of {} to {} letters, digits and -._~+/=: write one, or remove the file, and the next start \
             creates one",
            BEARER_BYTES.start(),
            BEARER_BYTES.end()
        ));
    }
    Ok(Some(Zeroizing::new(token.to_vec())))
}

fn create(data: &Path, path: &Path) -> std::io::Result<()> {
    let mut random = Zeroizing::new([0; RANDOM_BYTES]);
    getrandom::fill(&mut *random)?;
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let new = data.join(format!("{NAME}.{}.new", std::process::id()));
    // A crashed process with this id may have left a partial token.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
            writeln!(file, "{}", &*Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice())))?;
            file.sync_all()
        });
    let linked = written.and_then(|()| match std::fs::hard_link(&new, path) {
        // Another process was faster, so its token is used.
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
    fn token_is_created_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let (token, path) = find_or_create(&data).expect("made");
        assert_eq!(find_or_create(&data).expect("found"), (token.clone(), path.clone()));
        assert_eq!(path.metadata().expect("it is there").mode() & 0o7777, 0o600);
        assert!(is_bearer(&token) && token.len() >= 43);
        let names: Vec<_> =
            data.read_dir().expect("a folder").map(|entry| entry.expect("listed").file_name()).collect();
        assert_eq!(names, ["admin.token"], "nothing else is left");
        let other = folder.path().join("other");
        assert_ne!(find_or_create(&other).expect("made").0, token);
    }

    #[test]
    fn processes_that_start_at_once_agree_on_one_token() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        // One process has one id, so the path of the slower process is taken by hand: the file exists when it links.
        write(data.join("admin.token"), "x".repeat(43)).expect("written");
        set_permissions(data.join("admin.token"), Permissions::from_mode(0o600)).expect("set");
        create(data, &data.join("admin.token")).expect("no failure");
        assert_eq!(find_or_create(data).expect("found").0.as_slice(), "x".repeat(43).as_bytes());
    }

    #[test]
    fn readable_or_malformed_token_file_is_rejected_with_a_remedy() {
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
            let error = find_or_create(folder.path()).expect_err("refused");
            assert!(error.contains(expected) && error.contains("admin.token"), "{error}");
        }
    }
}
