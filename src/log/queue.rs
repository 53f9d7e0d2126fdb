//! The queue between the threads that log and the one that writes.

use super::audit::{Audit, AuditEvent};
use super::line::{Mark, one_line};
use super::repeat_bound::{now, shared};
use super::repeats;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// The bound on lines waiting for the writer. With [`LINE_BYTES_MAX`] it bounds the memory of a blocked stderr.
pub(super) const QUEUE_LINES: usize = 4_096;
/// The bound on the bytes of one line. A longer line is dropped and counted; Seawall's own are far shorter.
const LINE_BYTES_MAX: usize = 8 << 10;
/// The longest time that the end of the process waits for stderr.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest delay of a line that sums up a minute of the [`audit`](super::audit).
const AUDIT_PERIOD: Duration = Duration::from_secs(1);

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
pub(super) struct Queue {
    entries: Sender<LogEntry>,
    dropped: &'static AtomicU64,
    mark: Mark,
}

impl Queue {
    /// Creates a queue with a thread that writes to `output` until the process ends. If the thread cannot start,
    /// every line is dropped and counted, and the gateway continues. Each line ends with the mark.
    pub(super) fn spawn(
        output: impl Write + Send + 'static,
        lines: usize,
        dropped: &'static AtomicU64,
        mark: Mark,
    ) -> Queue {
        let (entries, waiting) = bounded(lines);
        let spawned = thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all_entries(output, &waiting, dropped));
        drop(spawned);
        Queue { entries, dropped, mark }
    }

    fn offer(&self, line: &[u8]) {
        if line.len() > LINE_BYTES_MAX
            || self.entries.try_send(LogEntry::Line(one_line(self.mark.set(line)))).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn offer_event(&self, event: AuditEvent) {
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
        let repeated = shared().lock().due(started.elapsed());
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
    if audit.is_idle() && shared().lock().is_idle() {
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
pub(super) struct LineWriter<'a>(&'a Queue);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.offer(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

impl Handle {
    pub(super) fn new(queue: Queue) -> Handle {
        Handle { queue, flush_timeout: FLUSH_TIMEOUT }
    }
}

#[cfg(test)]
mod tests {
    use super::super::repeat_bound::RepeatBound;
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt as _;

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
        Bench { queue: Queue::spawn(gate, lines, dropped, Mark::default()), permits, written, dropped }
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
    fn flush_times_out_at_its_deadline() {
        let bench = blocked(1);
        bench.queue.offer(b"stuck\n");
        bench.queue.offer(b"behind it\n");
        assert_eq!(bench.queue.flush(Duration::from_millis(1)), FlushResult::TimedOut);
    }

    #[test]
    fn oversized_event_is_dropped() {
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
        let subscriber = tracing_subscriber::registry().with(RepeatBound::start()).with(lines);
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
