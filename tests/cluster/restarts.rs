//! The threads of rosters after a panic, against a real Redis: what they knew is read and repeated again.

use crate::servers::{Redis, Reply};
use crate::support::wait::{SOON, until};
use arc_swap::ArcSwap;
use seawall::clock::Now;
use seawall::follow::slot_map::SlotMap;
use seawall::health::definition::DependencyKind;
use seawall::id::{ChannelName, Incarnation, ReactorId, UserName};
use seawall::job::bus::{SharedKey, SharedSlots};
use seawall::job::presence::{PresenceJob, PresenceQueue, presence};
use seawall::job::segments::{SegmentInbox, SegmentJob, SegmentNews, SegmentOutcome, SegmentView, segments};
use seawall::job::{self, Broadcast, Inbox};
use seawall::net::target::Target;
use seawall::presence::{PresenceParts, PresenceRules, SharingParts};
use seawall::reactor::Clock;
use seawall::roster::{ConnectionId, PageWish, RosterEvent, RosterRules, SharingBounds, Shown, WatchNumber};
use seawall::wire::command::WatchDetail;
use seawall::wire::envelope::{self, BusKey, CanaryNote, Origin};
use seawall::wire::partitions::PartitionSet;
use seawall::wire::slot::Partition;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ORIGIN: u64 = 1;
const CHANNEL: &str = "c";
const REACTOR: ReactorId = ReactorId(0);
/// The threads that a test can make panic.
const THREADS: [&str; 3] = ["", "presence", "presence-listen"];

/// The owner of rosters, between a reactor and a registry that the test plays.
struct Owner {
    redis: Redis,
    queue: PresenceQueue,
    reactor: Inbox,
    registry: SegmentInbox,
    key: Arc<BusKey>,
    canaries: u64,
    count: u32,
    /// The rosters that were read.
    reads: usize,
    /// The incarnation of the last write.
    written: u32,
    /// The number of the thread that panics the next time that it reads the clock.
    fails: Arc<AtomicUsize>,
    _poll: mio::Poll,
}

impl Owner {
    fn start() -> Owner {
        let redis = Redis::start();
        let (clock, fails) = (Clock::start(), Arc::new(AtomicUsize::new(0)));
        let fault = Arc::clone(&fails);
        let clock = move || -> Now {
            let thread = std::thread::current();
            let number = THREADS.iter().position(|name| thread.name() == Some(name)).unwrap_or(0);
            let fails = fault.compare_exchange(number, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            assert!(number == 0 || !fails, "the test wants a panic");
            clock.read()
        };
        let poll = mio::Poll::new().expect("a poll");
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("a waker");
        let (mailbox, reactor) = job::inbox(waker);
        let (queue, inbox) = presence(1);
        let (segments, registry) = segments(ORIGIN);
        let key = Arc::new(BusKey::new(&[7; BusKey::BYTES]));
        let shared_key = SharedKey::default();
        shared_key.store(Some(Arc::clone(&key)));
        let rosters = RosterRules { grace: Duration::from_secs(10), members_max: 1_000 };
        let sharing = SharingParts {
            target: Target::parse(DependencyKind::Redis, &redis.url()).expect("an address"),
            prefix: Arc::from("s"),
            origin: Origin(ORIGIN),
            key: shared_key,
            slots: SharedSlots::new(ArcSwap::from_pointee(SlotMap::empty())),
            segments,
        };
        let parts = PresenceParts {
            rules: PresenceRules { rosters, sharing: SharingBounds { views_bytes: 1 << 20 } },
            sharing: Some(sharing),
            cluster: None,
            inbox,
            mailboxes: Arc::from([mailbox]),
            counters: Arc::default(),
            clock,
        };
        parts.start().expect("the threads start");
        let (canaries, count, reads, written) = (0, 1, 0, 0);
        let owner = Owner {
            redis,
            queue,
            reactor,
            registry,
            key,
            canaries,
            count,
            reads,
            written,
            fails,
            _poll: poll,
        };
        owner.publish_view();
        owner
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation { origin: ORIGIN, count: self.count }
    }

    fn publish_view(&self) {
        self.registry.publish(SegmentView {
            incarnation: self.incarnation(),
            is_writable: true,
            is_readable: true,
            failing: PartitionSet::EMPTY,
            owners: Vec::new(),
        });
    }

    /// Does the work of the registry and of the bus.
    fn serve(&mut self) {
        let jobs: Vec<SegmentJob> = self.registry.jobs.try_iter().collect();
        for job in jobs {
            match job {
                SegmentJob::Write(batch) => {
                    let is_current = batch.incarnation == self.incarnation();
                    self.written = batch.incarnation.count;
                    let outcome = if is_current { SegmentOutcome::Written } else { SegmentOutcome::Refused };
                    self.registry.tell(SegmentNews::Flushed { begun: batch.begun, outcome });
                }
                SegmentJob::Read { keys, asked } => {
                    self.reads += keys.len();
                    for key in keys {
                        self.registry.tell(SegmentNews::Read {
                            key: key.key,
                            asked,
                            fields: Some(Vec::new()),
                        });
                    }
                }
                SegmentJob::BeginAgain => {
                    self.count += 1;
                    self.publish_view();
                }
                SegmentJob::Complete(_) | SegmentJob::Behind(_) => {}
            }
        }
        self.canaries += 1;
        let note = CanaryNote { number: self.canaries, dropped: 0 };
        let mut message = Vec::new();
        envelope::canary(&mut message, &self.key, Origin(ORIGIN), "s:canary", note);
        self.redis.publish("s:canary", &message);
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Owner) -> bool) {
        until(SOON, what, || {
            self.serve();
            is_so(self)
        });
    }

    fn send(&self, event: RosterEvent) {
        self.queue.send(PresenceJob::Event(event)).expect("room");
    }

    fn watch(&self) {
        let (channel, detail, number) = (channel(), WatchDetail::Members, WatchNumber::default());
        self.send(RosterEvent::Watch { channel, reactor: REACTOR, detail, number });
    }

    fn enter(&self) {
        let shown = Arc::new(Shown { user: UserName::parse("ann").expect("a user"), info: None });
        let connection = ConnectionId { name: 1, reactor: REACTOR };
        self.send(RosterEvent::Present { channel: channel(), connection, shown, state: None });
    }

    fn page(&self) -> Value {
        let page = self.queue.page(PageWish { channel: channel(), after: None, limit: 10 });
        page.map_or(Value::Null, |page| serde_json::from_slice(&page).expect("JSON"))
    }

    fn is_complete(&self) -> bool {
        self.page()["complete"] == true
    }

    /// The connections that follow the topic of the channel.
    fn subscribers(&self) -> Reply {
        let topic = format!("s:{{{}}}:p:{CHANNEL}", Partition::of(CHANNEL).tag());
        match self.redis.command(&["PUBSUB", "NUMSUB", &topic]) {
            Reply::List(parts) => parts.into_iter().nth(1).expect("a number"),
            other => panic!("{other:?}"),
        }
    }

    fn fail(&self, thread: &str) {
        let number = THREADS.iter().position(|name| *name == thread).expect("a thread");
        self.fails.store(number, Ordering::Relaxed);
    }

    fn has_failed(&self) -> bool {
        self.fails.load(Ordering::Relaxed) == 0
    }
}

fn channel() -> ChannelName {
    ChannelName::parse(CHANNEL).expect("a name")
}

#[test]
fn panic_of_the_listener_makes_rosters_incomplete_until_it_listens_again() {
    let mut owner = Owner::start();
    owner.watch();
    owner.until("the roster is complete", |owner| owner.is_complete());
    owner.until("it is followed", |owner| owner.subscribers() == Reply::Number(1));
    let reads = owner.reads;
    owner.fail("presence-listen");
    // It may be complete again before this thread looks.
    owner.until("it is not complete, or was not", |owner| {
        owner.has_failed() && (!owner.is_complete() || owner.reads > reads)
    });
    owner.until("it is complete again, and one listener is left", |owner| {
        owner.is_complete() && owner.subscribers() == Reply::Number(1)
    });
    assert!(owner.reads > reads, "something may have been missed");
}

#[test]
fn panic_of_presence_begins_the_next_incarnation_with_what_reactors_repeat() {
    let mut owner = Owner::start();
    owner.watch();
    owner.enter();
    owner.until("the user is seen and written", |owner| {
        owner.written == 1 && owner.page()["users"] == 1 && owner.is_complete()
    });
    while owner.reactor.live.try_recv().is_ok() {}
    owner.fail("presence");
    owner.until("the reactor is to repeat everything", |owner| {
        owner.reactor.live.try_iter().any(|live| matches!(live, Broadcast::Recount))
    });
    owner.until("the registry begins the next incarnation", |owner| owner.count == 2);
    assert_eq!((owner.written, &owner.page()["users"]), (1, &0.into()));
    owner.send(RosterEvent::Recounting { reactor: REACTOR });
    owner.enter();
    owner.send(RosterEvent::Recounted { reactor: REACTOR });
    owner.watch();
    owner.until("the user is seen and written again", |owner| {
        owner.written == 2 && owner.page()["users"] == 1 && owner.is_complete()
    });
    owner.until("one listener is left", |owner| owner.subscribers() == Reply::Number(1));
}
