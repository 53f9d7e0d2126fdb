//! The store's threads, driven through the queues and mailboxes that a reactor has.

use super::super::checkpoint::{WAL_BOUNDS, WalBounds};
use super::super::connection::{self, FILE_NAME};
use super::super::{RunningSqlite, SqliteConfig, SqliteRoom, SqliteStore};
use super::support::{append, changing, delete, edit, name, offsets, plain, request};
use crate::id::{Offset, ReactorId};
use crate::job::callers::Callers;
use crate::job::stream::StreamWork;
use crate::job::{
    Append, AppendChange, AppendError, Broadcast, Completion, Inbox, Read, Span, Ticket, inbox,
};
use crate::limits::APPEND_BATCH_MAX;
use crate::metrics::store::StoreCounters;
use crate::metrics::streams::StreamCounters;
use crate::store::wall_clock::{BROKEN, WallClock};
use crate::store::{OrderEnds, RelayEnds, Retention, StoreEnds, StreamEnds};
use crate::stream::StreamSettings;
use crossbeam_channel::{Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Rig {
    pub(super) folder: TempDir,
    clock: Arc<AtomicU64>,
    pub(super) counters: Arc<StoreCounters>,
    pub(super) append: Sender<Append>,
    pub(super) callers: Arc<Callers>,
    pub(super) read: Sender<Read>,
    pub(super) streams: Sender<StreamWork>,
    pub(super) stream_bytes: Arc<AtomicUsize>,
    pub(super) of_streams: Arc<StreamCounters>,
    pub(super) inboxes: Vec<Inbox>,
    _polls: Vec<mio::Poll>,
    running: RunningSqlite,
}

pub(super) fn rig(reactors: usize, retention: Retention) -> Rig {
    rig_in(tempfile::tempdir().expect("a folder"), reactors, retention, 1_000)
}

pub(super) fn rig_in(folder: TempDir, reactors: usize, retention: Retention, now_ms: u64) -> Rig {
    rig_waiting(folder, reactors, retention, now_ms, Duration::from_millis(100))
}

/// The same with this time for a lost producer to come back.
pub(super) fn rig_waiting(
    folder: TempDir,
    reactors: usize,
    retention: Retention,
    now_ms: u64,
    orphan: Duration,
) -> Rig {
    let config = SqliteConfig {
        data: folder.path().to_owned(),
        retention,
        channels_max: 100,
        edits_max: 100,
        room: SqliteRoom::default(),
        readers: 2,
        // A deadline is a hundredth of the default, so that a test need not wait for it.
        streams: StreamSettings { orphan, cancel: Duration::from_millis(50), ..StreamSettings::default() },
    };
    let clock = Arc::new(AtomicU64::new(now_ms));
    let mut store = SqliteStore::open_with(config, WallClock::Set(Arc::clone(&clock))).expect("a store");
    store.wal = WalBounds {
        passive_bytes: 256 << 10,
        restart_bytes: 1 << 20,
        truncate_bytes: 4 << 20,
        quiet_looks: 2,
        erased_after: Duration::from_millis(500),
        ..WAL_BOUNDS
    };
    let polls: Vec<mio::Poll> = (0..reactors).map(|_| mio::Poll::new().expect("a poll")).collect();
    let (mailboxes, inboxes): (Vec<_>, Vec<_>) = polls
        .iter()
        .map(|poll| inbox(mio::Waker::new(poll.registry(), mio::Token(0)).expect("a waker")))
        .unzip();
    let (append, appends) = bounded(4_096);
    let (read, reads) = bounded(4_096);
    let (streams, work) = bounded(4_096);
    let of_streams = Arc::new(StreamCounters::default());
    let counters = Arc::new(StoreCounters::default());
    let (callers, stream_bytes) = (Arc::new(Callers::new(0)), Arc::<AtomicUsize>::default());
    let queued_bytes = Arc::clone(&stream_bytes);
    let running = store
        .start(StoreEnds {
            shared_counts: None,
            mailboxes: mailboxes.into(),
            callers: Arc::clone(&callers),
            appends,
            reads,
            relay: RelayEnds::none(),
            streams: StreamEnds { work, queued_bytes, counters: Arc::clone(&of_streams) },
            counters: Arc::clone(&counters),
            orders: OrderEnds::alone(),
        })
        .expect("threads start");
    Rig {
        folder,
        clock,
        counters,
        append,
        callers,
        read,
        streams,
        stream_bytes,
        of_streams,
        inboxes,
        _polls: polls,
        running,
    }
}

pub(super) const KEEP_ALL: Retention = Retention { publications: 0, age: None };

impl Rig {
    pub(super) fn send(&self, reactor: u16, request: u64, job: Append) {
        let ticket = Ticket { reactor: ReactorId(reactor), request };
        self.append.send(Append { ticket, ..job }).expect("the worker lives");
    }

    pub(super) fn answer(&self, reactor: usize) -> Completion {
        self.inboxes[reactor].answers.recv_timeout(PATIENCE).expect("an answer")
    }

    fn outcome(&self, reactor: usize) -> Result<u64, AppendError> {
        match self.answer(reactor) {
            Completion::Appended { outcome, .. } => outcome.map(|appended| appended.offset.0),
            other => panic!("{other:?}"),
        }
    }

    fn heads(&self, channel: &str) -> (u64, u64) {
        let ticket = Ticket { reactor: ReactorId(0), request: 9 };
        self.read
            .send(Read::Heads { ticket, channels: vec![(name(channel), Offset::ZERO)] })
            .expect("readers live");
        match self.answer(0) {
            Completion::Heads { outcome, .. } => {
                let position = outcome.expect("heads are read")[0].1;
                (position.head.0, position.floor.0)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn close(self) -> (TempDir, Vec<Inbox>) {
        self.callers.producers().stop();
        drop((self.append, self.read, self.streams));
        self.running.join();
        (self.folder, self.inboxes)
    }
}

#[test]
fn append_is_answered_to_its_reactor_and_announced_once_to_all() {
    let rig = rig(2, KEEP_ALL);
    rig.send(0, 1, append("c", "ann", Some("k"), "1"));
    assert_eq!(rig.outcome(0), Ok(1));
    rig.send(1, 2, append("c", "ann", Some("k"), "1"));
    assert_eq!(rig.outcome(1), Ok(1));
    rig.send(1, 3, plain("c", "2"));
    assert_eq!(rig.outcome(1), Ok(2));
    let (folder, inboxes) = rig.close();
    for inbox in inboxes {
        let announced: Vec<u64> = inbox
            .live
            .try_iter()
            .flat_map(|live| match live {
                Broadcast::Published(batch) => batch.iter().map(|one| one.offset.0).collect::<Vec<_>>(),
                other => panic!("nothing of the kind was asked for: {other:?}"),
            })
            .collect();
        assert_eq!(announced, [1, 2]);
    }
    drop(folder);
}

#[test]
fn closing_the_queues_commits_answers_and_empties_the_write_ahead_log() {
    let rig = rig(1, KEEP_ALL);
    let count = APPEND_BATCH_MAX as u64 + 300;
    for request in 0..count {
        rig.send(0, request, plain("c", "1"));
    }
    let counters = Arc::clone(&rig.counters);
    let (folder, inboxes) = rig.close();
    assert_eq!(inboxes[0].answers.try_iter().count() as u64, count);
    assert_eq!(counters.appends.load(Ordering::Relaxed), count);
    let wal = std::fs::metadata(folder.path().join(FILE_NAME).with_extension("db-wal"));
    assert!(wal.map_or(0, |wal| wal.len()) == 0);
    let file = connection::reader(&folder.path().join(FILE_NAME)).expect("the file");
    let rows: i64 =
        file.query_row("SELECT count(*) FROM publications", [], |row| row.get(0)).expect("a count");
    assert_eq!(rows as u64, count);
}

#[test]
fn outage_is_answered_unavailable_pages_continue_and_recovery_needs_no_append() {
    let rig = rig(1, KEEP_ALL);
    rig.send(0, 1, plain("c", "1"));
    assert_eq!(rig.outcome(0), Ok(1));
    let thief = connection::writer(&rig.folder.path().join(FILE_NAME)).expect("another program");
    thief.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    rig.send(0, 2, plain("c", "2"));
    rig.read.send(Read::Page(request("c", Span::After(Offset::ZERO)))).expect("readers live");
    match rig.answer(0) {
        Completion::Page { outcome, .. } => assert_eq!(offsets(&outcome.expect("a page")), [1]),
        other => panic!("{other:?}"),
    }
    assert!(matches!(rig.outcome(0), Err(AppendError::Unavailable { retry_ms: 1.. })));
    wait_until(|| rig.counters.failing.load(Ordering::Relaxed) == 1);
    thief.execute_batch("ROLLBACK").expect("the lock is free");
    wait_until(|| rig.counters.failing.load(Ordering::Relaxed) == 0);
    rig.send(0, 3, plain("c", "2"));
    assert_eq!(rig.outcome(0), Ok(2));
    rig.close();
}

#[test]
fn panic_leaves_no_append_unanswered_and_the_store_continues() {
    let rig = rig(1, KEEP_ALL);
    rig.clock.store(BROKEN, Ordering::SeqCst);
    rig.send(0, 1, plain("c", "1"));
    assert!(matches!(rig.outcome(0), Err(AppendError::Unconfirmed { retry_ms: 1.. })));
    rig.clock.store(1, Ordering::SeqCst);
    rig.send(0, 2, plain("c", "1"));
    assert_eq!(rig.outcome(0), Ok(1));
    rig.close();
}

#[test]
fn old_publications_are_deleted_without_appends() {
    let rig = rig(1, Retention { publications: 0, age: Some(Duration::from_millis(500)) });
    rig.send(0, 1, plain("c", "1"));
    assert_eq!(rig.outcome(0), Ok(1));
    rig.clock.store(2_000, Ordering::SeqCst);
    wait_until(|| rig.heads("c") == (1, 2));
    wait_until(|| rig.counters.retention_deletes.load(Ordering::Relaxed) == 1);
    rig.close();
}

#[test]
fn clock_far_ahead_for_a_while_deletes_nothing() {
    const DAY_MS: u64 = 86_400_000;
    let rig = rig(1, Retention { publications: 0, age: Some(Duration::from_secs(90 * 86_400)) });
    for request in 1..=300 {
        rig.send(0, request, append("c", "ann", Some(&format!("k{request}")), "1"));
        assert_eq!(rig.outcome(0), Ok(request));
    }
    let rests = || rig.counters.retention_rests.load(Ordering::Relaxed);
    rig.clock.store(1_000 + 100 * DAY_MS, Ordering::SeqCst);
    wait_until(|| rests() == 1);
    // A round with the wrong clock is over when the next one has begun.
    rig.send(0, 301, plain("d", "1"));
    assert_eq!(rig.outcome(0), Ok(1));
    rig.clock.store(2_000, Ordering::SeqCst);
    wait_until(|| rests() == 0);
    assert_eq!(rig.heads("c"), (300, 1));
    rig.send(0, 302, append("c", "ann", Some("k1"), "1"));
    assert_eq!(rig.outcome(0), Ok(1), "the key is still known");
    let counters = &rig.counters;
    let deleted = counters.retention_deletes.load(Ordering::Relaxed);
    assert_eq!((deleted, counters.keys_forgotten.load(Ordering::Relaxed)), (0, 0));
    rig.close();
}

#[test]
fn start_with_a_clock_far_past_the_last_use_deletes_nothing_at_once() {
    let retention = Retention { publications: 5, age: Some(Duration::from_secs(90 * 86_400)) };
    let first = rig(1, retention);
    first.send(0, 1, plain("c", "1"));
    assert_eq!(first.outcome(0), Ok(1));
    let (folder, _) = first.close();
    let rig = rig_in(folder, 1, retention, 1_000 + 100 * 86_400_000);
    wait_until(|| rig.counters.retention_rests.load(Ordering::Relaxed) == 1);
    // Publishing with the wrong clock, and starting again, proves nothing about it.
    rig.send(0, 2, plain("c", "2"));
    assert_eq!(rig.outcome(0), Ok(2));
    let (folder, _) = rig.close();
    let rig = rig_in(folder, 1, retention, 2_000 + 100 * 86_400_000);
    wait_until(|| rig.counters.retention_rests.load(Ordering::Relaxed) == 1);
    // Retention by number goes on, and its second round comes after a whole first one.
    for round in 1..=2 {
        for request in 0..6 {
            rig.send(0, request, plain("d", "1"));
            assert!(rig.outcome(0).is_ok());
        }
        wait_until(|| rig.heads("d") == (6 * round, 6 * round - 4));
    }
    assert_eq!(rig.heads("c"), (2, 1));
    rig.close();
}

#[test]
fn write_ahead_log_stays_bounded_under_sustained_appends() {
    let rig = rig(1, KEEP_ALL);
    let data = format!("\"{}\"", "x".repeat(30_000));
    let mut longest = 0;
    for request in 0..4_000 {
        rig.send(0, request, plain("c", &data));
        if request >= 8 {
            assert!(rig.outcome(0).is_ok());
        }
        longest = longest.max(rig.counters.wal_bytes.load(Ordering::Relaxed));
    }
    let written = 4_000 * data.len() as u64;
    let wal = rig.folder.path().join(FILE_NAME).with_extension("db-wal");
    let length = std::fs::metadata(wal).expect("the log").len();
    assert!(longest >= 1 << 20, "the bound was met: {longest}");
    assert!(length < written / 2, "{length} of {written}");
    rig.close();
}

#[test]
fn idle_store_has_a_complete_file_without_its_write_ahead_log() {
    let rig = rig(1, KEEP_ALL);
    rig.send(0, 1, plain("c", "\"a-rare-word\""));
    assert_eq!(rig.outcome(0), Ok(1));
    let path = rig.folder.path().join(FILE_NAME);
    wait_until(|| {
        let file = std::fs::read(&path).expect("the file");
        file.windows(11).any(|window| window == b"a-rare-word")
    });
    rig.close();
}

/// The number of times that `text` is in the files of the store.
fn found(folder: &TempDir, text: &str) -> usize {
    let files =
        std::fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("a file").path());
    files
        .map(|path| {
            let file = std::fs::read(path).unwrap_or_default();
            file.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
        })
        .sum()
}

#[test]
fn deleted_text_leaves_all_files_while_appends_continue() {
    let rig = rig(1, KEEP_ALL);
    // Longer than a page, so that most of it lies on pages of its own.
    let secret = "a-secret-word ".repeat(1_500);
    // One commit each: text that is written and deleted in one commit never reaches the log.
    for (request, change) in [(1, AppendChange::Original), (2, edit(1)), (3, delete(1))] {
        let data = if request == 3 { "null".to_owned() } else { format!("\"{secret}\"") };
        rig.send(0, request, changing(change, plain("c", &data)));
        assert_eq!(rig.outcome(0), Ok(request));
    }
    assert!(found(&rig.folder, "a-secret-word") > 0, "the log still holds it");
    let mut request = 4;
    wait_until(|| {
        rig.send(0, request, plain("c", "1"));
        assert_eq!(rig.outcome(0), Ok(request));
        request += 1;
        found(&rig.folder, "a-secret-word") == 0
    });
    rig.close();
}

#[test]
fn expired_text_leaves_all_files() {
    let rig = rig(1, Retention { publications: 0, age: Some(Duration::from_secs(10)) });
    let secret = "a-secret-word ".repeat(1_500);
    rig.send(0, 1, plain("c", &format!("\"{secret}\"")));
    assert_eq!(rig.outcome(0), Ok(1));
    rig.clock.store(30_000, Ordering::SeqCst);
    wait_until(|| found(&rig.folder, "a-secret-word") == 0);
    rig.close();
}

#[test]
fn write_ahead_log_returns_its_space_after_a_long_reader() {
    let rig = rig(1, KEEP_ALL);
    rig.send(0, 1, plain("c", "1"));
    assert_eq!(rig.outcome(0), Ok(1));
    let path = rig.folder.path().join(FILE_NAME);
    let length = || std::fs::metadata(path.with_extension("db-wal")).expect("the log").len();
    // The start empties the log once, whatever its length.
    wait_until(|| length() == 0);
    let reader = connection::reader(&path).expect("a reader");
    reader.execute_batch("BEGIN; SELECT count(*) FROM publications").expect("a long read");
    let data = format!("\"{}\"", "x".repeat(30_000));
    for request in 2..=400 {
        rig.send(0, request, plain("c", &data));
        assert_eq!(rig.outcome(0), Ok(request));
    }
    assert!(length() > 8 << 20, "{}", length());
    drop(reader);
    wait_until(|| length() < 1 << 20);
    rig.close();
}

pub(super) fn wait_until(mut condition: impl FnMut() -> bool) {
    let (_hold, never) = bounded::<()>(0);
    for _ in 0..PATIENCE.as_millis() / 20 {
        if condition() {
            return;
        }
        let _ = never.recv_timeout(Duration::from_millis(20));
    }
    panic!("not in time: the condition, after {PATIENCE:?}");
}
