//! A panic as an event of the log: the library would write several lines to stderr, which no program can read.

use std::panic::{self, PanicHookInfo};
use std::thread;

/// Logs panics from now on. With `RUST_BACKTRACE`, which only a person sets, the library writes its lines as well.
pub(super) fn report_panics() {
    let before = panic::take_hook();
    let wants_backtrace = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    panic::set_hook(Box::new(move |panicked| {
        let place = panicked.location().map(ToString::to_string);
        tracing::error!(thread = thread::current().name(), place, cause = cause(panicked), "thread panicked");
        if wants_backtrace {
            before(panicked);
        }
    }));
}

fn cause<'a>(panicked: &'a PanicHookInfo<'_>) -> &'a str {
    panicked.payload_as_str().unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use crate::log::{Format, LogLevel, start};
    use std::process::Command;

    /// The child of the test below: a process of its own, because the hook is that of a whole process.
    #[test]
    #[ignore = "the other test runs it"]
    fn child_panics() {
        let log = start(Format::Json, LogLevel::Info, None);
        let worker =
            std::thread::Builder::new().name("worker".into()).spawn(|| panic!("a \"quoted\"\nreason"));
        assert!(worker.expect("a thread").join().is_err());
        drop(log);
    }

    #[test]
    fn panic_is_one_json_line() {
        let own = std::env::current_exe().expect("a path");
        let child = Command::new(own)
            .args(["--ignored", "--exact", "--nocapture", "log::panic::tests::child_panics"])
            .env_remove("RUST_BACKTRACE")
            .output()
            .expect("it runs");
        assert!(child.status.success());
        let text = String::from_utf8(child.stderr).expect("text");
        let event: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        assert_eq!(event["message"], "thread panicked");
        assert_eq!((&event["thread"], &event["cause"]), (&"worker".into(), &"a \"quoted\"\nreason".into()));
        assert!(event["place"].as_str().expect("a place").starts_with("src/log/panic.rs:"), "{event}");
    }
}
