//! A server that is killed, hangs, is read-only or is down: acknowledged publications are stored once, and every
//! request is answered in time.

use crate::postgres::rig::{KEEP_ALL, Outcome, PATIENCE, Rig, append, config, keyed, plain};
use crate::servers::Postgres;
use crate::support::wait::{self, LATE};
use seawall::job::{AppendError, Attempt};
use seawall::store::postgres::SILENCE_MAX;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The gateway's bound on a reply, after which the reactor answers whatever the store does.
const REPLY_MAX: Duration = Duration::from_millis(4_500);
/// The store gives up before that, unless a call is in progress: the call ends at its own deadline. The rest of both is
/// a margin for a busy machine.
const ANSWER_MAX: Duration = REPLY_MAX.saturating_add(SILENCE_MAX);
/// Added where a single late answer would fail a test.
const BUSY: Duration = Duration::from_secs(6);
const CHANNELS: u64 = 6;

/// Publishes under its own keys, with a bounded number pending, and records the outcomes.
struct Publisher {
    rig: Rig,
    sent: u64,
    waiting: HashMap<u64, (u64, Instant)>,
    acknowledged: HashMap<u64, u64>,
    open: Vec<u64>,
    /// The times until an answer of publishes with an unknown outcome.
    given_up: Vec<Duration>,
    slowest: Duration,
}

impl Publisher {
    fn new(rig: Rig) -> Publisher {
        let (waiting, acknowledged) = (HashMap::new(), HashMap::new());
        let (open, given_up, slowest) = (Vec::new(), Vec::new(), Duration::ZERO);
        Publisher { rig, sent: 0, waiting, acknowledged, open, given_up, slowest }
    }

    fn job(n: u64) -> seawall::job::Append {
        append(&format!("c{}", n % CHANNELS), "ann", Some(&format!("k{n}")), &n.to_string())
    }

    /// Publishes for this time.
    fn run(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            while self.waiting.len() < 64 {
                let request = self.rig.send(Publisher::job(self.sent));
                self.waiting.insert(request, (self.sent, Instant::now()));
                self.sent += 1;
            }
            if let Some((request, outcome)) = self.rig.next(Duration::from_millis(50)) {
                self.note(request, &outcome);
            }
        }
    }

    /// Publishes until this is so.
    #[track_caller]
    fn run_until(&mut self, what: &str, is_so: impl Fn(&Publisher) -> bool) {
        wait::until(PATIENCE, what, || {
            let holds = is_so(self);
            if !holds {
                self.run(Duration::from_millis(200));
            }
            holds
        });
    }

    fn reconnects(&self) -> u64 {
        self.rig.counters.reconnects.load(Ordering::Relaxed)
    }

    /// Reads answers while the server is being changed, so that the time of the change does not count as latency.
    fn listen_while(&mut self, change: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let changing = scope.spawn(change);
            while !changing.is_finished() {
                if let Some((request, outcome)) = self.rig.next(Duration::from_millis(20)) {
                    self.note(request, &outcome);
                }
            }
        });
    }

    fn note(&mut self, request: u64, outcome: &Outcome) {
        let (n, since) = self.waiting.remove(&request).expect("answered once");
        let took = since.elapsed();
        self.slowest = self.slowest.max(took);
        match outcome {
            Ok(appended) => drop(self.acknowledged.insert(n, appended.offset.0)),
            // Certainly not stored: the comparison with the log at the end would find it otherwise.
            Err(AppendError::Unavailable { .. }) => {}
            Err(AppendError::Unconfirmed { .. }) => {
                self.given_up.push(took);
                self.open.push(n);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Reads the last answers, repeats publishes with an unknown outcome, and compares all with the log.
    fn check(mut self) {
        while !self.waiting.is_empty() {
            let (request, outcome) = self.rig.next(PATIENCE).expect("every request is answered");
            self.note(request, &outcome);
        }
        assert!(self.slowest < ANSWER_MAX + BUSY, "{LATE}: {:?}", self.slowest);
        assert!(!self.acknowledged.is_empty());
        for n in std::mem::take(&mut self.open) {
            let mut outcome = self.rig.append(Publisher::job(n));
            let deadline = Instant::now() + PATIENCE;
            while outcome.is_err() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
                outcome = self.rig.append(Publisher::job(n));
            }
            self.acknowledged.insert(n, outcome.unwrap_or_else(|error| panic!("{LATE}: {error:?}")).offset.0);
        }
        let mut kept = HashMap::new();
        for channel in 0..CHANNELS {
            let all = self.rig.all(&format!("c{channel}"));
            for (place, value) in all.iter().enumerate() {
                assert_eq!(value["offset"], place as u64 + 1, "a gap");
                let n = value["data"].as_u64().expect("a number");
                assert!(kept.insert(n, place as u64 + 1).is_none(), "{n} is stored twice");
            }
        }
        assert_eq!(kept, self.acknowledged, "stored and acknowledged differ");
        self.rig.close();
    }
}

#[test]
fn killed_server_loses_and_duplicates_nothing_acknowledged() {
    let mut server = Postgres::start_with(&[("fsync", "on")]);
    let mut publisher = Publisher::new(Rig::postgres(&server, KEEP_ALL, 1_000).ready());
    for _ in 0..3 {
        publisher.run(Duration::from_millis(400));
        publisher.listen_while(|| server.kill9());
        publisher.run(Duration::from_millis(300));
        publisher.listen_while(|| server.start_again());
    }
    publisher.run(Duration::from_millis(2_500));
    publisher.run_until("it has connected again", |publisher| publisher.reconnects() >= 3);
    publisher.check();
}

#[test]
fn sessions_terminated_under_load_lose_no_keyed_publication() {
    let server = Postgres::start();
    let mut publisher = Publisher::new(Rig::postgres(&server, KEEP_ALL, 1_000).ready());
    for _ in 0..10 {
        publisher.run(Duration::from_millis(150));
        server
            .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'seawall'");
    }
    publisher.run(Duration::from_millis(500));
    assert!(publisher.reconnects() >= 10, "{LATE}: {} reconnects", publisher.reconnects());
    let unconfirmed = publisher.rig.counters.unconfirmed.load(Ordering::Relaxed);
    assert_eq!(unconfirmed, 0, "{LATE}: each is repeated soon");
    publisher.check();
}

#[test]
fn frozen_server_delays_no_answer_over_the_bound_and_recovers_when_it_continues() {
    let server = Postgres::start();
    let mut publisher = Publisher::new(Rig::postgres(&server, KEEP_ALL, 1_000).ready());
    publisher.run(Duration::from_millis(300));
    server.sigstop();
    // Longer than the longest answer may take, so that an answer that waits for the server would be too late.
    publisher.run(ANSWER_MAX + Duration::from_secs(1));
    let mut given_up = std::mem::take(&mut publisher.given_up);
    given_up.sort_unstable();
    // Single answers may be late on a busy machine, but not half of them.
    let median = *given_up.get(given_up.len() / 2).expect("pending appends were given up");
    assert!(median < REPLY_MAX, "{LATE}: {median:?}");
    let abandoned = publisher.rig.counters.connections_abandoned.load(Ordering::Relaxed);
    assert!(abandoned >= 2, "{LATE}: {abandoned} connections given up");
    let begun = Instant::now();
    assert!(publisher.rig.heads(&["c0"]).is_err());
    assert!(begun.elapsed() < ANSWER_MAX + BUSY, "{LATE}: {:?}", begun.elapsed());
    server.sigcont();
    let before = publisher.acknowledged.len();
    publisher.run(Duration::from_secs(3));
    publisher.run_until("it recovers by itself", |publisher| publisher.acknowledged.len() > before);
    publisher.check();
}

#[test]
fn store_starts_without_its_database_and_refuses_at_once_until_it_is_up() {
    let mut server = Postgres::start();
    server.stop();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000);
    for _ in 0..20 {
        wait::in_time(Duration::from_millis(500), || {
            let begun = Instant::now();
            assert!(matches!(rig.append(plain("c", "1")), Err(AppendError::Unavailable { .. })));
            begun.elapsed()
        });
    }
    assert!(rig.heads(&["c"]).is_err());
    assert_eq!(rig.counters.failing.load(Ordering::Relaxed), 1);
    server.start_again();
    let mut rig = rig.ready();
    assert_eq!(rig.offset(plain("c", "1")), 1);
    assert_eq!(rig.counters.failing.load(Ordering::Relaxed), 0);
    rig.close();
}

#[test]
fn standby_and_server_without_durable_commits_are_refused_until_that_changes() {
    let mut server = Postgres::start();
    server.stop();
    server.become_standby();
    server.start_again();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000);
    assert!(matches!(rig.append(plain("c", "1")), Err(AppendError::Unavailable { .. })));
    server.promote();
    server.sql("ALTER ROLE seawall SET synchronous_commit = off");
    let other = config(server.url(), KEEP_ALL, 1_000);
    let mut unsafe_rig = Rig::postgres_with(other);
    assert!(matches!(unsafe_rig.append(plain("c", "1")), Err(AppendError::Unavailable { .. })));
    server.sql("ALTER ROLE seawall RESET synchronous_commit");
    rig = rig.ready();
    assert_eq!(rig.offset(plain("c", "1")), 1);
    unsafe_rig.close();
    rig.close();
}

#[test]
fn bad_row_in_a_batch_is_refused_alone() {
    let server = Postgres::start();
    let config = crate::postgres::rig::PostgresConfig { writers: 1, ..config(server.url(), KEEP_ALL, 1_000) };
    let mut rig = Rig::postgres_with(config).ready();
    let sent: Vec<_> = (0..50)
        .map(
            |n| if n == 23 { rig.send(plain("c", "\"\0\"")) } else { rig.send(keyed("c", &format!("k{n}"))) },
        )
        .collect();
    for (n, request) in sent.into_iter().enumerate() {
        let outcome = rig.outcome(request);
        if n == 23 {
            assert!(matches!(outcome, Err(AppendError::Unavailable { .. })), "{outcome:?}");
        } else {
            assert_eq!(outcome.map(|it| it.attempt), Ok(Attempt::First), "{n}");
        }
    }
    assert_eq!(rig.all("c").len(), 49);
    assert_eq!(rig.counters.reconnects.load(Ordering::Relaxed), 0, "the connection is kept");
    rig.close();
}

#[test]
fn read_only_server_refuses_publications_and_serves_pages() {
    let server = Postgres::start();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    rig.offset(plain("c", "1"));
    server.read_only();
    wait::until(wait::SOON, "publications are refused", || rig.append(plain("c", "1")).is_err());
    assert!(matches!(rig.append(plain("c", "1")), Err(AppendError::Unavailable { .. })));
    assert!(!rig.all("c").is_empty());
    server.read_write();
    wait::until(wait::SOON, "publications are stored again", || rig.append(plain("c", "1")).is_ok());
    assert_eq!(rig.counters.failing.load(Ordering::Relaxed), 0);
    rig.close();
}
