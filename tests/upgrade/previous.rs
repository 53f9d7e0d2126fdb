//! The program of the previous release.

use crate::servers::skipped::skip;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The exit code of `tools/previous` if this clone does not have the commit.
const NOT_IN_THIS_CLONE: i32 = 3;

/// Builds it if necessary. `None` if this clone does not have its commit; then a line on stderr says so, which `tools/test` shows.
pub fn program() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(root.join("tools/previous")).stdin(Stdio::null()).output().expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&built.stdout), String::from_utf8_lossy(&built.stderr));
    match built.status.code() {
        Some(0) => Some(PathBuf::from(out.trim())),
        Some(NOT_IN_THIS_CLONE) => {
            skip(&format!("tests of an upgrade did not run: {}", err.trim()));
            None
        }
        code => panic!("tools/previous failed ({code:?}): {err}"),
    }
}
