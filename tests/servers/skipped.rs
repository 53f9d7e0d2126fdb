//! Tests that a machine cannot run.

use std::io::Write;

/// Prints why a test does not run. `tools/test` lists these lines at its end, and `.ci/run` fails because of them. The test framework
/// captures what `eprintln` prints, so the line is written directly.
pub fn skip(cause: &str) {
    let line = format!("SKIPPED: {cause}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("a line is written");
}
