//! The output and exit codes of commands.

use super::config::error::ConfigError;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code of a wrong configuration, as of wrong arguments.
pub(super) const WRONG_CONFIGURATION: u8 = 2;

/// Writes `text` to stdout; fails only if it cannot be written.
pub(super) fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has closed the pipe, as in `seawall check-config | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            fail(&format!("cannot write to stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A number with a noun, whose plural ends in `s`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Writes `text` to stdout if a program reads it. A failure is ignored, because a gateway must serve without a reader as well.
pub(super) fn inform(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
}

/// Writes an error to stderr. If that fails, the exit code still reports the error.
pub(super) fn fail(message: &str) {
    let _ = writeln!(io::stderr(), "seawall: {message}");
}

/// Reports a wrong configuration, for people.
pub(super) fn refuse(error: &ConfigError) -> ExitCode {
    // If stderr is closed, the exit code still reports the error.
    let _ = write!(io::stderr(), "{error}");
    ExitCode::from(WRONG_CONFIGURATION)
}

/// Writes a warning to stderr, where it does not mix with what the command prints.
pub(super) fn warn(message: &str) {
    let _ = writeln!(io::stderr(), "seawall: warning: {message}");
}
