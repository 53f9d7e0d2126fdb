//! Logging to stderr through a thread of its own.
//!
//! A stopped terminal, or a pipe without a reader, blocks whatever thread writes to it. Therefore a logging thread
//! only formats a line and offers it to a bounded queue, and one thread writes. A line that does not fit is dropped
//! and counted, because a reactor's turn must never wait for a log. The number of dropped lines is logged once there
//! is room again, and is available from [`dropped`].

pub mod audit;
mod journal;
mod line;
mod panic;
mod queue;
mod repeat_bound;
mod repeats;
mod text;

pub use line::Format;
pub use queue::Handle;

use audit::AuditEvent;
use journal::{Prioritized, StderrReader};
use line::Mark;
use queue::{QUEUE_LINES, Queue};
use repeat_bound::RepeatBound;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use text::TextFields;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The queue of the started log, for events that are counted before they become lines.
static EVENTS: OnceLock<Queue> = OnceLock::new();
/// The handle that changes the level, set by [`start`].
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// The least important level that is logged, from least to most verbose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Events that an operator must act on.
    Error,
    /// Events that an operator should know.
    Warn,
    /// Normal events: starts, drains, changes of health.
    #[default]
    Info,
    /// Details that help to find a fault.
    Debug,
}

/// The number of lines dropped since the process started, because the queue was full or the line too long.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Starts the writer thread and sends the log and the panics of this process to it. Each line names this `instance`, unless it
/// goes to a terminal. A second call in one process changes nothing: the first subscriber stays.
pub fn start(format: Format, level: LogLevel, instance: Option<&str>) -> Handle {
    let instance = instance.filter(|_| !io::stderr().is_terminal());
    let mark = instance.map(|instance| Mark::new(format, instance)).unwrap_or_default();
    let queue = Queue::spawn(io::stderr(), QUEUE_LINES, &DROPPED, mark);
    drop(EVENTS.set(queue.clone()));
    let handle = Handle::new(queue.clone());
    let reader = StderrReader::of_stderr();
    let (filter, levels) = reload::Layer::new(level.filter());
    let lines = tracing_subscriber::fmt::layer().with_writer(queue);
    let registry = tracing_subscriber::registry().with(filter).with(RepeatBound::start());
    let installed = match format {
        Format::Text => {
            let lines = lines.with_ansi(io::stderr().is_terminal()).with_target(false).fmt_fields(TextFields);
            registry.with(lines.map_event_format(|event| Prioritized { event, reader })).try_init()
        }
        Format::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            registry.with(lines.map_event_format(|event| Prioritized { event, reader })).try_init()
        }
    };
    match installed {
        Ok(()) => {
            drop(LEVEL.set(levels));
            panic::report_panics();
        }
        Err(_) => tracing::debug!("log already started"),
    }
    handle
}

/// Reports an event of the [`audit`]. It does nothing before [`start`].
pub fn report(event: AuditEvent) {
    if let Some(queue) = EVENTS.get() {
        queue.offer_event(event);
    }
}

/// Changes the least important level that is logged. It does nothing before [`start`].
pub fn set_level(level: LogLevel) {
    if let Some(levels) = LEVEL.get() {
        // This fails only if the subscriber is gone, and with it the log.
        let _ = levels.reload(level.filter());
    }
}

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
        }
    }
}
