//! Durable publishes: the store's own threads, with a reactor's queues, on this machine's disk.
//!
//! Each batch is sent as a whole and awaited as a whole, so the time is that of its transaction and sync.

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use crossbeam_channel::{Sender, bounded};
use seawall::id::{ChannelName, Key, ReactorId, UserName};
use seawall::job::callers::Callers;
use seawall::job::{Append, Completion, Creation, Inbox, Read, Ticket, inbox};
use seawall::metrics::store::StoreCounters;
use seawall::session::outcome::AppendChange;
use seawall::store::sqlite::{RunningSqlite, SqliteConfig, SqliteRoom, SqliteStore};
use seawall::store::{OrderEnds, RelayEnds, Retention, StoreEnds, StreamEnds};
use seawall::stream::StreamSettings;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A longer wait for the disk is taken for a fault.
const PATIENCE: Duration = Duration::from_secs(20);
const CHANNELS: u64 = 50;

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("durable publish");
    group.sample_size(20);
    batches_of(&mut group, 1);
    batches_of(&mut group, 200);
    group.finish();
}

fn batches_of(group: &mut BenchmarkGroup<'_, WallTime>, size: u64) {
    let mut shelf = Shelf::open();
    group.throughput(Throughput::Elements(size));
    group.bench_function(format!("batch of {size}"), |bencher| bencher.iter(|| shelf.publish(size)));
    shelf.close();
}

struct Shelf {
    append: Sender<Append>,
    read: Sender<Read>,
    inbox: Inbox,
    running: RunningSqlite,
    channels: Vec<ChannelName>,
    user: UserName,
    published: u64,
    _poll: mio::Poll,
    _folder: TempDir,
}

impl Shelf {
    fn open() -> Shelf {
        // In the build folder, because a temporary folder may be in memory, where a sync costs nothing.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let retention = Retention { publications: 0, age: None };
        let config = SqliteConfig {
            data: folder.path().into(),
            retention,
            channels_max: 100,
            edits_max: 100,
            room: SqliteRoom::default(),
            readers: 1,
            streams: StreamSettings::default(),
        };
        let store = SqliteStore::open(config).expect("a store");
        let poll = mio::Poll::new().expect("a poll");
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("a waker");
        let (mailbox, inbox) = inbox(waker);
        let (append, appends) = bounded(1_024);
        let (read, reads) = bounded(1);
        let counters = Arc::new(StoreCounters::default());
        let running = store
            .start(StoreEnds {
                shared_counts: None,
                mailboxes: Arc::from([mailbox]),
                callers: Arc::new(Callers::new(0)),
                appends,
                reads,
                relay: RelayEnds::none(),
                streams: StreamEnds::none(),
                counters,
                orders: OrderEnds::alone(),
            })
            .expect("threads");
        let name = |n| ChannelName::parse(&format!("channel-{n}")).expect("a channel's name");
        Shelf {
            append,
            read,
            inbox,
            running,
            channels: (0..CHANNELS).map(name).collect(),
            user: UserName::anonymous(),
            published: 0,
            _poll: poll,
            _folder: folder,
        }
    }

    /// Publishes `size` publications and waits until all are committed.
    fn publish(&mut self, size: u64) {
        for _ in 0..size {
            self.published += 1;
            let job = self.job(self.published);
            self.append.send(job).expect("the store runs");
        }
        for _ in 0..size {
            match self.inbox.answers.recv_timeout(PATIENCE).expect("an answer") {
                Completion::Appended { outcome, .. } => drop(outcome.expect("stored")),
                other => panic!("{other:?}"),
            }
        }
        while self.inbox.live.try_recv().is_ok() {}
    }

    fn job(&self, number: u64) -> Append {
        let channel = &self.channels[(number % CHANNELS) as usize];
        Append {
            ticket: Ticket { reactor: ReactorId(0), request: number },
            channel: channel.clone(),
            user: self.user.clone(),
            key: Some(Key::parse(&format!("01J9ZK5M7Q8R3S6T{number:010}")).expect("a key")),
            change: AppendChange::Original,
            creation: Creation::Free,
            stream: None,
            claims: None,
            data: Box::from(r#"{"text":"The quick brown fox jumps over the lazy dog."}"#),
        }
    }

    fn close(self) {
        drop((self.append, self.read));
        self.running.join();
    }
}
