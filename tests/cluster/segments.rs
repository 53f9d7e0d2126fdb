//! The writer of segments against a real Redis: what it wrote counts, or it writes under the next incarnation.

use crate::servers::{Redis, Reply};
use crate::support::wait::{LATE, SOON, size, until};
use crossbeam_channel::Receiver;
use seawall::clock::{Moment, Now};
use seawall::cluster::duty::LeaderDuty;
use seawall::cluster::instance::InstanceState;
use seawall::cluster::own_users::UserCount;
use seawall::health::definition::DependencyKind;
use seawall::health::report::Report;
use seawall::health::snapshot::Snapshot;
use seawall::id::{Incarnation, UserName};
use seawall::job::registry::{OwnSigns, RegistrySender};
use seawall::job::segments::{
    SegmentAudit, SegmentBatch, SegmentJob, SegmentKey, SegmentNews, SegmentOutcome, SegmentQueue,
    SegmentWrite, segments,
};
use seawall::job::{AuthJob, Outlook};
use seawall::metrics::scrape::{MetricSources, Metrics};
use seawall::metrics::vitals::Vitals;
use seawall::net::target::Target;
use seawall::reactor::Clock;
use seawall::registry::{RegistryParts, RegistryRedis, RunningRegistry};
use seawall::wire::slot::Partition;
use seawall::wire::user_fields::{key_of, slot_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A registry without a store, and the end of the thread that owns the content.
pub struct Writer {
    pub queue: SegmentQueue,
    registry: Option<RunningRegistry>,
    pub events: RegistrySender,
    /// Its questions to the auth worker.
    auth: Receiver<AuthJob>,
    /// Set: it panics once.
    fails: Arc<AtomicBool>,
}

impl Writer {
    pub fn start(redis: &Redis, origin: u64) -> Writer {
        Writer::start_at(redis, &redis.url(), origin)
    }

    /// A registry that reaches Redis at this address.
    pub fn start_at(redis: &Redis, url: &str, origin: u64) -> Writer {
        Writer::start_in_time(redis, url, (origin, 1))
    }

    /// A registry for which time passes this much faster.
    fn start_in_time(redis: &Redis, url: &str, (origin, speed): (u64, u64)) -> Writer {
        let (clock, fails) = (Clock::start(), Arc::new(AtomicBool::new(false)));
        let fault = Arc::clone(&fails);
        let clock = move || {
            let now = clock.read();
            assert!(!fault.swap(false, Ordering::Relaxed), "the test wants a panic");
            Now { at: Moment::from_micros(now.at.micros() * speed), ..now }
        };
        let sources = MetricSources {
            watch: Arc::default(),
            bus: None,
            cluster: Arc::default(),
            api: None,
            log_dropped: || 0,
        };
        let name: Arc<str> = Arc::from(format!("gw-{origin}"));
        let report = Report { status: 200, body: "{}".into() };
        let (events, events_in) = RegistrySender::pair();
        let (queue, inbox) = segments(origin);
        let (auth_in, auth) = crossbeam_channel::bounded(8);
        let target = Target::parse(DependencyKind::Redis, url).expect("an address");
        let parts = RegistryParts {
            redis: Some(RegistryRedis { target, prefix: Arc::from("s"), users: true }),
            duty: LeaderDuty::Free,
            signs: Arc::new(OwnSigns::new(origin, Arc::clone(&name))),
            events: events_in,
            sender: events.clone(),
            board: Arc::default(),
            counters: Arc::default(),
            url: Arc::from(""),
            metrics: Arc::new(Metrics::new(1, name, sources)),
            vitals: Arc::new(Vitals::new(1, 10, 10, 10, clock().at)),
            outlook: Arc::new(Outlook::new(Arc::new(Snapshot::ok()), report)),
            segments: Some(inbox),
            auth: auth_in,
        };
        let registry = seawall::registry::start(parts, clock).expect("a thread");
        let writer = Writer { queue, registry: Some(registry), events, auth, fails };
        until(SOON, "segments can be written", || {
            writer.queue.view().is_writable && number(redis, writer.incarnation()) != Reply::Nothing
        });
        writer
    }

    pub fn incarnation(&self) -> Incarnation {
        self.queue.view().incarnation
    }

    /// The next news that is not only a change of the view.
    pub fn news(&self) -> SegmentNews {
        let deadline = Instant::now() + SOON;
        loop {
            match self.queue.news.recv_deadline(deadline).expect("news") {
                SegmentNews::Changed => {}
                news => return news,
            }
        }
    }

    /// The next news that is not a finding of the audit either.
    pub fn answer(&self) -> SegmentNews {
        loop {
            match self.news() {
                SegmentNews::Audited { .. } => {}
                answer => return answer,
            }
        }
    }

    pub fn write(&self, incarnation: Incarnation, writes: Vec<SegmentWrite>) -> SegmentOutcome {
        let begun = Moment::from_micros(1);
        self.queue.send(SegmentJob::Write(SegmentBatch { incarnation, begun, writes })).expect("room");
        match self.answer() {
            SegmentNews::Flushed { begun: answered, outcome } if answered == begun => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Writes, which must succeed while the incarnation has its lease.
    #[track_caller]
    pub fn writes(&self, incarnation: Incarnation, writes: Vec<SegmentWrite>) {
        let outcome = self.write(incarnation, writes);
        // A writer that was not scheduled for the time of a lease has another one.
        let fault = if self.incarnation() == incarnation { "not written" } else { LATE };
        assert_eq!(outcome, SegmentOutcome::Written, "{fault}: {incarnation}");
    }

    /// The fields of a key, in order; `None` if Redis did not answer.
    fn read(&self, name: &str) -> Option<Vec<(String, String)>> {
        let asked = Moment::from_micros(2);
        self.queue.send(SegmentJob::Read { keys: vec![key(name)], asked }).expect("room");
        let SegmentNews::Read { asked: answered, fields, .. } = self.answer() else {
            panic!("no answer to a read")
        };
        assert_eq!(answered, asked);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let mut fields: Vec<_> = fields?.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        fields.sort();
        Some(fields)
    }

    /// Kills nothing but its thread, without a goodbye that counts: the lease stays.
    fn stop(mut self) {
        self.registry.take().expect("it runs").stop();
    }
}

pub fn key(name: &str) -> SegmentKey {
    let partition = Partition::of(name);
    SegmentKey { key: Arc::from(format!("s:{{{}}}:p:{name}", partition.tag())), partition }
}

/// One member of a channel.
pub fn member(incarnation: Incarnation, name: &str, user: &str) -> SegmentWrite {
    SegmentWrite {
        key: key(name),
        set: vec![
            (incarnation.to_string().into_bytes(), b"1".to_vec()),
            (format!("{incarnation}/{user}").into_bytes(), b"1,5,".to_vec()),
        ],
        remove: Vec::new(),
        publish: Some(b"delta".to_vec()),
        audit: SegmentAudit::Begin,
    }
}

fn number(redis: &Redis, incarnation: Incarnation) -> Reply {
    redis.command(&["HGET", "s:{460}:g", &incarnation.to_string()])
}

#[test]
fn segments_are_written_read_and_numbered() {
    let redis = Redis::start();
    let (one, two) = (Writer::start(&redis, 1), Writer::start(&redis, 2));
    let (first, second) = (one.incarnation(), two.incarnation());
    one.writes(first, vec![member(first, "c1", "ann")]);
    two.writes(second, vec![member(second, "c1", "bob")]);
    let expected = [
        ("1.1".to_owned(), "1".to_owned()),
        ("1.1/ann".to_owned(), "1,5,".to_owned()),
        ("2.1".to_owned(), "1".to_owned()),
        ("2.1/bob".to_owned(), "1,5,".to_owned()),
    ];
    assert_eq!(one.read("c1").as_deref(), Some(&expected[..]));
    let ends = SegmentWrite {
        set: Vec::new(),
        remove: vec![b"1.1".to_vec(), b"1.1/ann".to_vec()],
        audit: SegmentAudit::End,
        ..member(first, "c1", "ann")
    };
    one.writes(first, vec![ends]);
    assert_eq!(two.read("c1").as_deref(), Some(&expected[2..]));
    // The first one was that of the users, of whom there are none.
    assert_eq!(number(&redis, first), Reply::Text("3".into()));
    let key = key("c1").key;
    let Reply::Number(life) = redis.command(&["TTL", &key]) else { panic!("no life") };
    assert!((800..=900).contains(&life), "{life}");
}

#[test]
fn flush_of_many_keys_takes_several_pipelines_and_is_read_whole() {
    let redis = Redis::start();
    let one = Writer::start(&redis, 1);
    let incarnation = one.incarnation();
    let writes: Vec<_> =
        (0..2_048).map(|channel| member(incarnation, &format!("c{channel}"), "ann")).collect();
    one.writes(incarnation, writes);
    assert_eq!(number(&redis, incarnation), Reply::Text("6".into()), "511 writes fit into a pipeline");
    assert_eq!(one.read("c2047").map(|fields| fields.len()), Some(2));
}

#[test]
fn emptied_or_older_redis_begins_the_next_incarnation_before_anything_counts() {
    let redis = Redis::start();
    let one = Writer::start(&redis, 1);
    let first = one.incarnation();
    for user in ["ann", "bob"] {
        one.writes(first, vec![member(first, "c1", user)]);
    }
    // As an older replica has it: the lease is right, the number is not.
    assert!(!matches!(redis.command(&["HSET", "s:{460}:g", "1.1", "1"]), Reply::Error(_)));
    assert_eq!(one.write(first, vec![member(first, "c1", "cid")]), SegmentOutcome::Refused);
    let second = Incarnation { origin: 1, count: 2 };
    until(SOON, "the next incarnation has its lease", || {
        one.incarnation() == second && one.queue.view().is_writable
    });
    assert_eq!(one.write(first, vec![member(first, "c1", "cid")]), SegmentOutcome::Refused);
    one.writes(second, vec![member(second, "c1", "ann")]);
    assert!(redis.command(&["FLUSHALL"]).is_ok());
    until(SOON, "an emptied Redis is noticed", || {
        one.incarnation().count == 3 && one.queue.view().is_writable
    });
    let third = one.incarnation();
    one.writes(third, vec![member(third, "c1", "ann")]);
    assert_eq!(one.read("c1").map(|fields| fields[0].0.clone()).as_deref(), Some("1.3"));
    assert_eq!(redis.command(&["HGET", "s:{460}:i", "1.2"]), Reply::Nothing, "the old lease is removed");
}

#[test]
fn redis_out_of_reach_refuses_writes_and_reads_until_it_is_back() {
    let mut redis = Redis::start();
    let one = Writer::start(&redis, 1);
    let first = one.incarnation();
    redis.kill9();
    assert_eq!(one.write(first, vec![member(first, "c1", "ann")]), SegmentOutcome::Failed);
    assert_eq!(one.read("c1"), None);
    until(SOON, "it says so", || !one.queue.view().is_writable && !one.queue.view().is_readable);
    redis.start_again();
    until(SOON, "it is back", || one.queue.view().is_writable);
    let next = one.incarnation();
    assert!(next.count >= 2, "the emptied Redis is a doubt: {next}");
    one.writes(next, vec![member(next, "c1", "ann")]);
}

#[test]
fn panic_of_the_registry_begins_the_next_incarnation_with_all_users() {
    let redis = Redis::start();
    let (one, two) = (Writer::start(&redis, 1), Writer::start(&redis, 2));
    let count = |name: &str| {
        let user = UserName::parse(name).expect("a user name");
        UserCount { user, connections: 1, since_unix_s: 1_770_000_000 }
    };
    let field = |user: &UserName| {
        let field = format!("{}/{user}", one.incarnation());
        redis.command(&["HGET", &key_of("s", slot_of(user)), &field])
    };
    let (ann, bob) = (count("ann"), count("bob"));
    one.events.users(vec![ann.clone()]).expect("room");
    until(SOON, "the user is written", || field(&ann.user) != Reply::Nothing);
    one.queue.send(SegmentJob::Complete(one.incarnation())).expect("room");
    let parts = || two.queue.view().owners.first().map(|owner| (owner.incarnation.count, owner.parts));
    until(SOON, "it is complete", || parts().is_some_and(|(_, parts)| parts.users && parts.rosters));
    one.fails.store(true, Ordering::Relaxed);
    until(SOON, "the next incarnation has its lease", || {
        one.incarnation().count == 2 && one.queue.view().is_writable
    });
    let asked = one.auth.recv_timeout(SOON);
    assert!(matches!(asked, Ok(AuthJob::ReportAllUsers)), "{LATE}: {asked:?}");
    let next = one.incarnation();
    one.writes(next, vec![member(next, "c1", "ann")]);
    until(SOON, "the other one has heard of it", || parts().is_some_and(|(count, _)| count == 2));
    // Without the report of all users it does not say that its users are written.
    one.events.users(vec![bob.clone()]).expect("room");
    until(SOON, "the second user is written", || field(&bob.user) != Reply::Nothing);
    let begun = Instant::now();
    until(SOON, "renewals pass", || {
        assert!(parts().is_some_and(|(_, parts)| !parts.users), "{:?}", parts());
        begun.elapsed() > Duration::from_secs(3)
    });
    assert!(one.events.all_users(vec![ann.clone(), bob]));
    until(SOON, "all users are written", || {
        field(&ann.user) != Reply::Nothing && parts().is_some_and(|(_, parts)| parts.users)
    });
    one.stop();
    until(SOON, "it says goodbye as ever", || {
        two.queue.view().owners.first().is_some_and(|owner| owner.state == InstanceState::Left)
    });
}

#[test]
fn other_incarnations_are_known_with_their_state_and_complete_parts() {
    let redis = Redis::start();
    let (one, two) = (Writer::start(&redis, 1), Writer::start(&redis, 2));
    two.queue.send(SegmentJob::Complete(two.incarnation())).expect("room");
    let owner = || one.queue.view().owners.first().cloned();
    until(SOON, "it is complete", || {
        owner().is_some_and(|owner| {
            owner.parts.rosters
                && owner.incarnation == two.incarnation()
                && owner.state == InstanceState::Alive
        })
    });
    two.stop();
    until(SOON, "it said goodbye", || owner().is_some_and(|owner| owner.state == InstanceState::Left));
}

#[test]
fn audit_reports_keys_that_were_changed_and_keeps_them_alive() {
    let redis = Redis::start();
    let one = Writer::start(&redis, 1);
    let incarnation = one.incarnation();
    // So that each second has its share.
    let writes: Vec<_> = (0..600).map(|channel| member(incarnation, &format!("c{channel}"), "ann")).collect();
    one.writes(incarnation, writes);
    for channel in 0..600 {
        redis.command(&["EXPIRE", &key(&format!("c{channel}")).key, "60"]);
    }
    // Keys that were looked at before their life was shortened are not looked at again soon.
    until(SOON * 2, "a key lives longer", || {
        let SegmentNews::Audited { key, found } = one.news() else { panic!("no audit") };
        assert_eq!(found.as_deref(), Some(&b"1"[..]));
        let Reply::Number(life) = redis.command(&["TTL", &key]) else { panic!("no life") };
        life > 60
    });
    for channel in 0..600 {
        let name = format!("c{channel}");
        redis.command(&["HDEL", &self::key(&name).key, "1.1"]);
    }
    let deadline = Instant::now() + 3 * SOON;
    while !matches!(one.news(), SegmentNews::Audited { found: None, .. }) {
        assert!(Instant::now() < deadline, "{LATE}: the missing number is not reported");
    }
}

#[test]
fn all_users_are_written_again_after_a_loss() {
    let users = size("SEAWALL_REGISTRY_USERS", 20_000);
    let redis = Redis::start();
    let one = Writer::start(&redis, 1);
    let all: Vec<UserCount> = (0..users)
        .map(|n| UserCount {
            user: UserName::parse(&format!("user-{n}")).expect("a user name"),
            connections: 1,
            since_unix_s: 1_770_000_000,
        })
        .collect();
    for counts in all.chunks(1_024) {
        until(SOON, "the registry takes them", || one.events.has_room());
        one.events.users(counts.to_vec()).expect("room");
    }
    let last = all.iter().map(|count| slot_of(&count.user)).max().expect("a user");
    let in_last: Vec<_> = all.iter().filter(|count| slot_of(&count.user) == last).collect();
    // The slot that is written last has its users.
    let written = || {
        let has = |count: &&UserCount| {
            let field = format!("{}/{}", one.incarnation(), count.user);
            redis.command(&["HGET", &key_of("s", last), &field]) != Reply::Nothing
        };
        in_last.iter().all(has)
    };
    until(SOON + SOON, "all are written", written);
    assert!(redis.command(&["FLUSHALL"]).is_ok());
    let begun = Instant::now();
    until(SOON + SOON, "the next incarnation has begun", || one.incarnation().count > 1);
    let noticed = begun.elapsed();
    until(SOON + SOON, "all are written again", written);
    println!(
        "{users} users: noticed after {noticed:?}, written after another {:?}",
        begun.elapsed() - noticed
    );
}

#[test]
fn fields_of_an_incarnation_without_a_lease_are_removed_after_a_minute() {
    let redis = Redis::start();
    let one = Writer::start_in_time(&redis, &redis.url(), (1, 20));
    let dead = Incarnation { origin: 9, count: 1 };
    let keys: Vec<String> = (0..300).map(|channel| format!("c{channel}")).collect();
    let write = || {
        let incarnation = one.incarnation();
        let writes = keys.iter().map(|name| member(incarnation, name, "ann")).collect();
        (one.write(incarnation, writes) == SegmentOutcome::Written).then_some(incarnation)
    };
    for name in &keys {
        redis.command(&["HSET", &key(name).key, "9.1", "1", "9.1/old", "1,5,"]);
    }
    let has_old = |name: &String| {
        let fields = one.read(name).unwrap_or_default();
        fields.iter().any(|(field, _)| field.starts_with(&dead.to_string()))
    };
    let mut written = write();
    until(Duration::from_secs(200), "the old fields are removed", || {
        // A busy machine may stop it for four of its seconds.
        if written != Some(one.incarnation()) {
            written = write();
        }
        one.queue.news.try_iter().for_each(drop);
        keys.iter().any(|name| !has_old(name))
    });
    let mut fields = None;
    until(SOON, "an answer", || {
        one.queue.news.try_iter().for_each(drop);
        fields = one.read("c0");
        fields.is_some()
    });
    let own = |(name, _): &&(String, String)| name.starts_with("1.");
    assert_eq!(fields.expect("just seen").iter().filter(own).count() % 2, 0);
}

/// The value of a member of `INFO`.
fn info(redis: &Redis, section: &str, name: &str) -> f64 {
    let Reply::Text(all) = redis.command(&["INFO", section]) else { panic!("no {section}") };
    let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {all}"))
}

#[test]
fn membership_costs_redis_microseconds_and_few_bytes() {
    const CHANNELS: usize = 2_000;
    let members = size("SEAWALL_TEST_MEMBERS", 20);
    let redis = Redis::start();
    let one = Writer::start(&redis, 1);
    let incarnation = one.incarnation();
    let cpu_us = || (info(&redis, "cpu", "used_cpu_user") + info(&redis, "cpu", "used_cpu_sys")) * 1e6;
    let (bytes, before) = (info(&redis, "memory", "used_memory"), cpu_us());
    for user in 0..members {
        let each = |channel| member(incarnation, &format!("c{channel}"), &format!("user-{user}"));
        one.writes(incarnation, (0..CHANNELS).map(each).collect());
    }
    let changes = (members * CHANNELS) as f64;
    let (cpu_us, bytes) =
        ((cpu_us() - before) / changes, (info(&redis, "memory", "used_memory") - bytes) / changes);
    println!("{changes} memberships: {cpu_us:.2} µs of Redis and {bytes:.0} bytes each");
    // A processor that is shared is slower. The keys count too, and a hash that is still small is packed.
    assert!(bytes < 120.0, "{bytes} bytes");
    assert!(cpu_us < 30.0, "{LATE}: {cpu_us} µs");
}
