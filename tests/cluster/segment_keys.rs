//! Keys that cannot be read or written, and a slow Redis: neither costs more than what is there.

use crate::cluster::segments::{Writer, key, member};
use crate::servers::{Redis, Reply};
use crate::support::wait::{LATE, SOON, until};
use seawall::clock::Moment;
use seawall::cluster::own_users::UserCount;
use seawall::id::UserName;
use seawall::job::directory::UserDirectory;
use seawall::job::segments::{SegmentJob, SegmentNews, SegmentOutcome};
use seawall::wire::user_fields::{key_of, slot_of};
use seawall_fault::{Mode, Pace, Proxy};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Makes a key something else than a hash.
fn spoil(redis: &Redis, key: &str) {
    assert!(redis.command(&["SET", key, "x"]).is_ok());
}

/// The names of the keys that are read, of these channels.
fn read(one: &Writer, names: &[String]) -> BTreeSet<String> {
    let asked = Moment::from_micros(3);
    let keys = names.iter().map(|name| key(name)).collect();
    one.queue.send(SegmentJob::Read { keys, asked }).expect("room");
    let mut found = BTreeSet::new();
    for name in names {
        match one.answer() {
            SegmentNews::Read { key: answered, fields, .. } => {
                assert_eq!(answered, key(name).key);
                found.extend(fields.map(|_| name.clone()));
            }
            other => panic!("{other:?}"),
        }
    }
    found
}

/// The bytes that Redis has sent to all its clients.
fn bytes_sent(redis: &Redis) -> u64 {
    let Reply::Text(stats) = redis.command(&["INFO", "stats"]) else { panic!("no stats") };
    let mut lines = stats.lines();
    let sent = lines.find_map(|line| line.strip_prefix("total_net_output_bytes:")).expect("a number");
    sent.parse().expect("a number")
}

#[test]
fn roster_that_cannot_be_read_or_written_fails_no_other() {
    let redis = Redis::start();
    let one = Writer::start(&redis, 1);
    let names: Vec<String> = (0..40).map(|number| format!("c{number}")).collect();
    spoil(&redis, &key("c7").key);
    let long = "for n = 1, 17 do redis.call('HSET', KEYS[1], '9.1/u' .. n, string.rep('x', 1048576)) end";
    assert_eq!(redis.command(&["EVAL", long, "1", &key("c9").key]), Reply::Nothing);
    // A busy machine may stop it until its lease is late.
    until(SOON, "they are written", || {
        let incarnation = one.incarnation();
        let writes = names.iter().map(|name| member(incarnation, name, "ann")).collect();
        one.write(incarnation, writes) == SegmentOutcome::Written
    });
    let others: BTreeSet<String> =
        names.iter().filter(|name| !["c7", "c9"].contains(&name.as_str())).cloned().collect();
    // A busy machine may need more than a second for one of the long answers, which shows nothing of its length.
    until(SOON * 2, "all others are read, and the long one rests", || {
        let sent = bytes_sent(&redis);
        read(&one, &names) == others && bytes_sent(&redis) - sent < 1 << 20
    });
    assert!(matches!(redis.command(&["DEL", &key("c7").key, &key("c9").key]), Reply::Number(2)));
    until(SOON, "there is none, which is an answer", || read(&one, &names).contains("c7"));
}

#[test]
fn audit_goes_on_behind_keys_that_are_no_hashes() {
    // A writer that was not scheduled for the time of a lease has another incarnation, for which nothing was written.
    assert!((0..3).any(|_| audits_go_on()), "the lease is lost again and again");
}

/// False if the incarnation that wrote is over.
fn audits_go_on() -> bool {
    let redis = Redis::start();
    let one = Writer::start(&redis, 1);
    let incarnation = one.incarnation();
    let mut names: Vec<String> = (0..6_000).map(|number| format!("c{number}")).collect();
    // The audit looks at some twenty a second, in this order.
    names.sort_by_key(|name| key(name).key);
    let spoiled: BTreeSet<_> = names.iter().step_by(5).map(|name| key(name).key).collect();
    spoiled.iter().for_each(|key| spoil(&redis, key));
    for names in names.chunks(2_000) {
        let writes = names.iter().map(|name| member(incarnation, name, "ann")).collect();
        if one.write(incarnation, writes) != SegmentOutcome::Written {
            assert_ne!(one.incarnation(), incarnation);
            return false;
        }
    }
    for _ in 0..30 {
        let found = loop {
            match one.queue.news.recv_timeout(SOON) {
                Ok(SegmentNews::Changed) => {}
                Ok(news) => break news,
                Err(_) => {
                    assert_ne!(one.incarnation(), incarnation, "{LATE}: no audit");
                    return false;
                }
            }
        };
        let SegmentNews::Audited { key, found } = found else { panic!("{found:?}") };
        assert!(!spoiled.contains(&key), "{key}: {found:?}");
        assert_eq!(found.as_deref(), Some(&b"1"[..]));
    }
    true
}

#[test]
fn user_whose_bucket_is_no_hash_is_unknown_and_the_others_are_found() {
    let redis = Redis::start();
    let one = Writer::start(&redis, 1);
    let [ann, bob] = ["ann", "bob"].map(|name| UserName::parse(name).expect("a user name"));
    spoil(&redis, &key_of("s", slot_of(&bob)));
    let count =
        |user: &UserName| UserCount { user: user.clone(), connections: 1, since_unix_s: 1_770_000_000 };
    one.events.users(vec![count(&ann), count(&bob)]).expect("room");
    let directory = UserDirectory::new(one.events.clone());
    let mut found = None;
    until(SOON, "the first user is known completely", || {
        found = directory.look_up(vec![ann.clone(), bob.clone()]);
        found.as_ref().is_some_and(|found| found[0].is_complete)
    });
    let facts: Vec<_> =
        found.into_iter().flatten().map(|user| (user.is_online(), user.is_complete)).collect();
    assert_eq!(facts, [(Some(true), true), (Some(true), false)]);
}

#[test]
fn many_questions_about_users_delay_no_lease_of_a_slow_redis() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address()).expect("the proxy starts");
    let one = Writer::start_at(&redis, &redis.url_through(proxy.address()), 1);
    proxy.set(Mode::Slow(Pace { bytes_per_s: None, latency: Duration::from_millis(20) }));
    let directory = UserDirectory::new(one.events.clone());
    let users =
        |n: usize| (0..100).map(|m| UserName::parse(&format!("u{n}-{m}")).expect("a user name")).collect();
    // Askers that gave up cost nothing, so these wait.
    let pending: Vec<_> = (0..300).filter_map(|n| directory.ask(users(n))).collect();
    assert_eq!(pending.len(), 300);
    let begun = Instant::now();
    until(SOON, "renewals pass", || {
        assert_eq!(one.incarnation().count, 1, "{LATE}: the lease");
        begun.elapsed() > Duration::from_secs(7)
    });
    let mut pending = pending.into_iter();
    assert!(pending.next().and_then(|first| first.wait(SOON)).is_some_and(|found| found.len() == 100));
    drop(pending);
    until(SOON, "a question is answered once the others are taken back", || {
        directory.look_up(users(1)).is_some()
    });
}
