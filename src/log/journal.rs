//! The priority of a line for systemd's journal, which reads it from the beginning of the line (sd-daemon(3)).

use rustix::fs::fstat;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The reader of stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StderrReader {
    /// The journal, which takes `<4>` at the beginning of a line as its priority and does not show it.
    Journal,
    /// A terminal, a file, or anything else.
    Other,
}

impl StderrReader {
    /// The reader of this process's stderr: the journal if `JOURNAL_STREAM` names the device and inode of stderr.
    pub(super) fn of_stderr() -> StderrReader {
        let stream = std::env::var_os("JOURNAL_STREAM");
        let own = fstat(io::stderr()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
        match (stream, own) {
            (Some(stream), Ok(own)) if stream == *OsStr::new(&own) => StderrReader::Journal,
            (_, _) => StderrReader::Other,
        }
    }
}

/// Writes the priority that the reader expects, and then the event.
pub(super) struct Prioritized<F> {
    pub(super) event: F,
    pub(super) reader: StderrReader,
}

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self.reader {
            StderrReader::Journal => write!(writer, "<{}>", priority(event.metadata().level()))?,
            StderrReader::Other => {}
        }
        self.event.format_event(context, writer, event)
    }
}

/// The priority of syslog(3).
fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
