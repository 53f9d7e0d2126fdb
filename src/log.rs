//! Logging to stderr through a thread of its own.
//!
//! A stopped terminal, or a pipe without a reader, blocks whatever thread writes to it. Therefore a logging thread
//! only formats a line and offers it to a bounded queue, and one thread writes. A line that does not fit is dropped
//! and counted, because a reactor's turn must never wait for a log. The number of dropped lines is logged once there
//! is room again, and is available from [`dropped`].

pub mod audit;
mod journal;
mod panic;
mod repeats;
mod text;

use audit::{Audit, AuditEvent};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use journal::{Prioritized, StderrReader};
use parking_lot::Mutex;
use repeats::{RepeatDecision, Repeats};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use text::TextFields;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

/// The bound on lines waiting for the writer. With [`LINE_BYTES_MAX`] it bounds the memory of a blocked stderr.
const QUEUE_LINES: usize = 4_096;
/// The bound on the bytes of one line. A longer line is dropped and counted; Seawall's own are far shorter.
const LINE_BYTES_MAX: usize = 8 << 10;
/// The longest time that the end of the process waits for stderr.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static DROPPED: AtomicU64 = AtomicU64::new(0);
/// The lines that may be repeated.
static REPEATS: OnceLock<Mutex<Repeats>> = OnceLock::new();
/// The longest delay of a line that sums up a minute of the [`audit`].
const AUDIT_PERIOD: Duration = Duration::from_secs(1);

/// The queue of the started log, for events that are counted before they become lines.
static EVENTS: OnceLock<Queue> = OnceLock::new();
/// The handle that changes the level, set by [`start`].
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// The format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Time, level, message, and fields as in logfmt, for people.
    #[default]
    Text,
    /// One JSON object per line, for machines.
    Json,
}

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
    let queue = Queue { mark, ..Queue::spawn(io::stderr(), QUEUE_LINES, &DROPPED) };
    drop(EVENTS.set(queue.clone()));
    let handle = Handle { queue: queue.clone(), flush_timeout: FLUSH_TIMEOUT };
    let reader = StderrReader::of_stderr();
    let (filter, levels) = reload::Layer::new(level.filter());
    let lines = tracing_subscriber::fmt::layer().with_writer(queue);
    let registry = tracing_subscriber::registry().with(filter).with(RepeatBound { started: now() });
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

/// Drops lines that are [repeated](mod@repeats).
struct RepeatBound {
    started: Instant,
}

impl<S: tracing::Subscriber> Layer<S> for RepeatBound {
    fn event_enabled(&self, event: &tracing::Event<'_>, _: Context<'_, S>) -> bool {
        !Repeats::apply_to(event.metadata())
            || repeats().lock().note(event, self.started.elapsed()) == RepeatDecision::Logged
    }
}

fn repeats() -> &'static Mutex<Repeats> {
    REPEATS.get_or_init(Mutex::default)
}

#[allow(clippy::disallowed_methods, reason = "the log counts minutes, and decides nothing else")]
fn now() -> Instant {
    Instant::now()
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

/// Flushes the log when dropped: waits at most one second until all logged lines are written.
#[must_use = "dropping the handle flushes the log"]
pub struct Handle {
    queue: Queue,
    flush_timeout: Duration,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // After the timeout the lines are lost with the process, because an exit that hangs would be worse.
        let _written = self.queue.flush(self.flush_timeout);
    }
}

/// An entry in the queue of the writer.
enum LogEntry {
    Line(Box<[u8]>),
    Event(Box<AuditEvent>),
    /// Nothing arrived: look at the time.
    Look,
    Flush(Sender<()>),
}

/// The result of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlushResult {
    Written,
    TimedOut,
}

/// The sending end of the queue, shared by all logging threads.
#[derive(Clone)]
struct Queue {
    entries: Sender<LogEntry>,
    dropped: &'static AtomicU64,
    mark: Mark,
}

/// The last field of each line: the instance. It may be empty.
#[derive(Clone, Default)]
struct Mark {
    field: Arc<str>,
    /// The bytes of a line that follow the field.
    after: &'static [u8],
}

impl Mark {
    fn new(format: Format, instance: &str) -> Mark {
        let quoted = serde_json::Value::from(instance).to_string();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        match format {
            Format::Json => Mark { field: format!(",\"instance\":{quoted}").into(), after: b"}\n" },
            Format::Text if instance.bytes().all(is_plain) => {
                Mark { field: format!(" instance={instance}").into(), after: b"\n" }
            }
            Format::Text => Mark { field: format!(" instance={quoted}").into(), after: b"\n" },
        }
    }

    /// The line with the field.
    fn set(&self, line: &[u8]) -> Vec<u8> {
        match line.strip_suffix(self.after) {
            Some(start) => [start, self.field.as_bytes(), self.after].concat(),
            None => line.to_vec(),
        }
    }
}

impl Queue {
    /// Creates a queue with a thread that writes to `output` until the process ends. If the thread cannot start,
    /// every line is dropped and counted, and the gateway continues.
    fn spawn(output: impl Write + Send + 'static, lines: usize, dropped: &'static AtomicU64) -> Queue {
        let (entries, waiting) = bounded(lines);
        let spawned = thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all_entries(output, &waiting, dropped));
        drop(spawned);
        Queue { entries, dropped, mark: Mark::default() }
    }

    fn offer(&self, line: &[u8]) {
        if line.len() > LINE_BYTES_MAX
            || self.entries.try_send(LogEntry::Line(one_line(self.mark.set(line)))).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn offer_event(&self, event: AuditEvent) {
        if self.entries.try_send(LogEntry::Event(Box::new(event))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything offered before is written. Each of its two steps takes at most `timeout`.
    fn flush(&self, timeout: Duration) -> FlushResult {
        let (done, finished) = bounded(1);
        let sent = self.entries.send_timeout(LogEntry::Flush(done), timeout).is_ok();
        if sent && finished.recv_timeout(timeout).is_ok() {
            FlushResult::Written
        } else {
            FlushResult::TimedOut
        }
    }
}

/// Replaces line breaks inside an event: they came from a peer and would forge a second event.
fn one_line(line: Vec<u8>) -> Box<[u8]> {
    let mut line = line.into_boxed_slice();
    if let Some((_, inside)) = line.split_last_mut() {
        inside.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    line
}

fn write_all_entries(mut output: impl Write, waiting: &Receiver<LogEntry>, dropped: &AtomicU64) {
    let mut reported = 0;
    let mut audit = Audit::default();
    let started = now();
    while let Some(entry) = next_entry(waiting, &audit) {
        match entry {
            LogEntry::Look => {}
            LogEntry::Event(event) => audit.take(*event, started.elapsed()),
            // If stderr is broken, there is no place to report that.
            LogEntry::Line(line) => drop(output.write_all(&line)),
            LogEntry::Flush(done) => {
                drop(output.flush());
                let _asker_may_have_given_up = done.try_send(());
            }
        }
        audit.report(started.elapsed());
        let repeated = repeats().lock().due(started.elapsed());
        repeated.into_iter().for_each(|(message, count)| repeats::log(&message, count));
        let now = dropped.load(Ordering::Relaxed);
        if now > reported && waiting.is_empty() {
            tracing::warn!(lines = now - reported, "log lines dropped");
            reported = now;
        }
    }
}

/// The next entry; `None` once no thread can send one. While events or repeated lines are counted, it looks at the time in between.
fn next_entry(waiting: &Receiver<LogEntry>, audit: &Audit) -> Option<LogEntry> {
    if audit.is_idle() && repeats().lock().is_idle() {
        return waiting.recv().ok();
    }
    match waiting.recv_timeout(AUDIT_PERIOD) {
        Ok(entry) => Some(entry),
        Err(RecvTimeoutError::Timeout) => Some(LogEntry::Look),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter(self)
    }
}

/// Receives one formatted event: the formatter writes each with a single call.
struct LineWriter<'a>(&'a Queue);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.offer(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;

    /// A writer that accepts a line only when the test permits it.
    struct Gate {
        permits: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(io::Error::other)?;
            self.written.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        queue: Queue,
        permits: Sender<()>,
        written: Arc<Mutex<Vec<u8>>>,
        dropped: &'static AtomicU64,
    }

    fn blocked(lines: usize) -> Bench {
        let (permits, permits_in) = bounded(64);
        let written = Arc::new(Mutex::new(Vec::new()));
        let dropped: &'static AtomicU64 = Box::leak(Box::default());
        let gate = Gate { permits: permits_in, written: Arc::clone(&written) };
        Bench { queue: Queue::spawn(gate, lines, dropped), permits, written, dropped }
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn blocked_output_drops_and_counts_lines_without_waiting() {
        let bench = blocked(2);
        for number in 0..10 {
            bench.queue.offer(format!("line {number}\n").as_bytes());
        }
        // The writer holds at most one line, the queue two.
        let dropped = bench.dropped.load(Ordering::Relaxed);
        assert!((7..=8).contains(&dropped), "{dropped}");
        for _ in 0..10 - dropped {
            bench.permits.send(()).expect("the gate lives");
        }
        assert_eq!(bench.queue.flush(PATIENCE), FlushResult::Written);
        let written = String::from_utf8(bench.written.lock().clone()).expect("text");
        assert!(written.starts_with("line 0\nline 1\n"), "{written}");
        assert_eq!(written.lines().count() as u64, 10 - dropped);
    }

    #[test]
    fn line_names_its_instance_in_both_formats() {
        let text = |instance, line: &str| {
            String::from_utf8(Mark::new(Format::Text, instance).set(line.as_bytes())).expect("text")
        };
        assert_eq!(text("gw-1", "INFO serving port=1\n"), "INFO serving port=1 instance=gw-1\n");
        assert_eq!(text("a b", "INFO serving\n"), "INFO serving instance=\"a b\"\n");
        let line = Mark::new(Format::Json, "a\"b").set(b"{\"level\":\"INFO\"}\n");
        let line: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(line["instance"], "a\"b");
        assert_eq!(Mark::default().set(b"line\n"), b"line\n");
    }

    #[test]
    fn flush_times_out_at_its_deadline() {
        let bench = blocked(1);
        bench.queue.offer(b"stuck\n");
        bench.queue.offer(b"behind it\n");
        assert_eq!(bench.queue.flush(Duration::from_millis(1)), FlushResult::TimedOut);
    }

    #[test]
    fn dropping_the_handle_writes_all_logged_lines() {
        let bench = blocked(8);
        bench.permits.send(()).expect("the gate lives");
        let handle = Handle { queue: bench.queue.clone(), flush_timeout: PATIENCE };
        bench.queue.offer(b"last words\n");
        drop(handle);
        assert_eq!(*bench.written.lock(), b"last words\n");
    }

    #[test]
    fn event_stays_one_line_and_an_oversized_one_is_dropped() {
        assert_eq!(&*one_line(b"user=a\nWARN forged\r\n".to_vec()), b"user=a WARN forged \n");
        let bench = blocked(8);
        bench.queue.offer(&vec![b'x'; LINE_BYTES_MAX + 1]);
        assert_eq!(bench.dropped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn both_formats_write_level_message_and_fields_at_once() {
        for json in [false, true] {
            let bench = blocked(8);
            bench.permits.send(()).expect("the gate lives");
            let builder = tracing_subscriber::fmt().with_writer(bench.queue.clone()).with_ansi(false);
            let subscriber: Box<dyn tracing::Subscriber + Send + Sync> = if json {
                Box::new(builder.json().flatten_event(true).finish())
            } else {
                Box::new(builder.with_target(false).finish())
            };
            tracing::subscriber::with_default(subscriber, || tracing::warn!(port = 8080, "listening"));
            assert_eq!(bench.queue.flush(PATIENCE), FlushResult::Written);
            let written = String::from_utf8(bench.written.lock().clone()).expect("text");
            let expected: [&str; 3] = if json {
                [r#""level":"WARN""#, r#""message":"listening""#, r#""port":8080"#]
            } else {
                [" WARN ", "listening", "port=8080"]
            };
            assert!(expected.iter().all(|part| written.contains(part)), "{written}");
            assert_eq!(written.matches('\n').count(), 1);
        }
    }

    #[test]
    fn repeated_warning_is_written_once_and_information_each_time() {
        let bench = blocked(16);
        (0..16).for_each(|_| bench.permits.send(()).expect("the gate lives"));
        let lines = tracing_subscriber::fmt::layer().with_writer(bench.queue.clone()).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(RepeatBound { started: now() }).with(lines);
        tracing::subscriber::with_default(subscriber, || {
            for channel in ["a", "a", "b", "a"] {
                tracing::warn!(channel, "append failed");
                tracing::info!("accepted");
            }
        });
        assert_eq!(bench.queue.flush(PATIENCE), FlushResult::Written);
        let written = String::from_utf8(bench.written.lock().clone()).expect("text");
        assert_eq!((written.matches("WARN").count(), written.matches("INFO").count()), (2, 4), "{written}");
    }
}
