//! Causes that block a worker: a commit that hangs, a lock held by another session, a lost answer, a silent host.

use crate::postgres::rig::{KEEP_ALL, PATIENCE, PostgresConfig, Rig, append, config, keyed, plain};
use crate::servers::Postgres;
use crate::support::wait::{LATE, SOON, comes_true, until};
use seawall::id::Offset;
use seawall::job::{Append, AppendChange, AppendError, Attempt, Authority, Broadcast};
use seawall_fault::{Direction, Mode, Proxy};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The number of server processes that serve the store.
fn backends(server: &Postgres) -> usize {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seawall'";
    server.sql(count).parse().expect("a number")
}

/// A rig whose workers are all connected, and the number of connections.
fn whole(server: &Postgres, config: PostgresConfig) -> (Rig, usize) {
    let count = config.writers + config.readers + 1;
    let rig = Rig::postgres_with(config).ready();
    until(SOON, "every worker is connected", || backends(server) == count);
    (rig, count)
}

fn delete(channel: &str, target: u64) -> Append {
    let change = AppendChange::Delete(Offset(target), Authority::Author);
    Append { change, ..append(channel, "ann", None, "null") }
}

#[test]
fn hanging_commit_keeps_no_connection_on_the_server() {
    let server = Postgres::start();
    let (mut rig, whole) = whole(&server, config(server.url(), KEEP_ALL, 100));
    server.hang_commits();
    let abandoned = |rig: &Rig| rig.counters.connections_abandoned.load(Ordering::Relaxed);
    let deadline = Instant::now() + PATIENCE * 2;
    let mut n = 0;
    while abandoned(&rig) < 4 {
        assert!(Instant::now() < deadline, "{LATE}: {} were abandoned", abandoned(&rig));
        n += 1;
        let sent: Vec<u64> = (0..4).map(|c| rig.send(keyed(&format!("c{c}"), &format!("k{n}")))).collect();
        for request in sent {
            let _ = rig.outcome(request);
        }
        until(SOON, "at most two more connections than workers are left", || backends(&server) <= whole + 2);
    }
    server.let_commits_go();
    until(SOON, "there are as many as at first", || {
        let _ = rig.append(keyed("c0", "after"));
        backends(&server) == whole
    });
    rig.close();
}

/// Client connections to the server that the kernel lists as established.
fn open_connections(server: &Postgres) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux lists its sockets");
    let port = format!(":{:04X}", server.address().port());
    let is_open = |line: &&str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        cells.get(2).is_some_and(|remote| remote.ends_with(&port)) && cells.get(3) == Some(&"01")
    };
    table.lines().filter(is_open).count()
}

#[test]
fn frozen_server_costs_each_worker_one_connection() {
    let server = Postgres::start();
    let (mut rig, whole) = whole(&server, config(server.url(), KEEP_ALL, 100));
    server.sigstop();
    let abandoned = |rig: &Rig| rig.counters.connections_abandoned.load(Ordering::Relaxed);
    let deadline = Instant::now() + PATIENCE;
    // Two workers that append and two that read.
    while abandoned(&rig) < 4 {
        assert!(Instant::now() < deadline, "{LATE}: {} were abandoned", abandoned(&rig));
        let sent: Vec<u64> = (0..4).map(|c| rig.send(plain(&format!("c{c}"), "1"))).collect();
        let _ = rig.heads(&["c0"]);
        for request in sent {
            let _ = rig.outcome(request);
        }
    }
    let mut most = 0;
    let too_many = comes_true(Duration::from_secs(3), || {
        most = most.max(open_connections(&server));
        most > whole
    });
    server.sigcont();
    assert!(!too_many, "{most} connections of {whole} workers");
    rig.close();
}

#[test]
fn connection_lost_during_a_migration_ends_no_worker() {
    let server = Postgres::start();
    // The advisory lock that migrations take.
    let holder = server.hold("SELECT pg_advisory_lock(x'53656157616c6c30'::bigint)");
    let proxy = Proxy::start(server.address()).expect("a port");
    let mut rig = Rig::postgres_with(config(server.url_through(proxy.address()), KEEP_ALL, 100));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'seawall'";
    for _ in 0..3 {
        until(SOON, "several wait for the lock", || server.sql(waiting).parse::<u64>().is_ok_and(|n| n >= 3));
        // The end of the connection is reported twice: by the call, and by the end of the migration.
        proxy.cut();
    }
    drop(holder);
    rig = rig.ready();
    // All workers of each kind are connected.
    until(SOON, "every worker is connected", || backends(&server) == 5);
    rig.close();
}

#[test]
fn append_with_a_lost_answer_is_acknowledged_and_broadcast_as_the_first_attempt() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.address()).expect("a port");
    let (mut rig, _) = whole(&server, config(server.url_through(proxy.address()), KEEP_ALL, 100));
    while rig.inbox.live.try_recv().is_ok() {}
    proxy.set(Mode::HalfOpen(Direction::Answers));
    let request = rig.send(keyed("c", "k"));
    let stored = || server.sql("SELECT count(*) FROM seawall.publications WHERE key = 'k'") == "1";
    until(SOON, "it is stored", stored);
    proxy.reset();
    proxy.set(Mode::Pass);
    let appended = rig.outcome(request).expect("settled by a repeat");
    assert_eq!((appended.offset, appended.attempt), (Offset(1), Attempt::First));
    let live = rig.inbox.live.recv_timeout(PATIENCE).expect("broadcast, because no other instance will");
    assert!(matches!(&live, Broadcast::Published(all) if all.len() == 1 && all[0].offset == Offset(1)));
    assert_eq!(rig.append(keyed("c", "k")).map(|it| it.attempt), Ok(Attempt::Repeat));
    assert!(stored());
    rig.close();
}

#[test]
fn append_that_waits_for_a_lock_does_not_delay_new_ones() {
    let server = Postgres::start();
    let one = PostgresConfig { writers: 1, ..config(server.url(), KEEP_ALL, 100) };
    let (mut rig, _) = whole(&server, one);
    let target = rig.offset(plain("c", "\"held\""));
    let held = format!("SELECT 1 FROM seawall.publications WHERE \"offset\" = {target} FOR UPDATE");
    let holder = server.hold(&held);
    let begun = Instant::now();
    let first = rig.send(delete("c", target));
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'seawall'";
    until(SOON, "the first append waits", || server.sql(waits) == "1");
    // These collect behind it and form one batch.
    let second = rig.send(delete("c", target));
    let new: Vec<u64> = (0..5).map(|n| rig.send(keyed("c", &format!("k{n}")))).collect();
    for request in new {
        let outcome = rig.outcome(request);
        // After four and a half seconds it would be refused as too late.
        let fault = if begun.elapsed() < Duration::from_secs(4) {
            "an append waited for the lock of another"
        } else {
            LATE
        };
        assert!(outcome.is_ok(), "{fault}: {outcome:?}");
    }
    for request in [first, second] {
        assert!(matches!(rig.outcome(request), Err(AppendError::Unavailable { .. })));
    }
    drop(holder);
    until(SOON, "the change is made", || rig.append(delete("c", target)).is_ok());
    rig.close();
}

/// The configuration of a store with two hosts, the first behind this proxy.
fn two_hosts(server: &Postgres, first: &Proxy) -> PostgresConfig {
    let hosts = format!("{},{}", first.address(), server.address());
    let url = server.url().replace(&server.address().to_string(), &hosts);
    config(url, KEEP_ALL, 100)
}

#[test]
fn unresponsive_first_host_does_not_hide_the_second() {
    let server = Postgres::start();
    for mode in [Mode::Refuse, Mode::Unanswered, Mode::BlackHole, Mode::Stall] {
        let first = Proxy::start(server.address()).expect("a port");
        first.set(mode);
        let begun = Instant::now();
        let mut rig = Rig::postgres_with(two_hosts(&server, &first)).ready();
        assert!(begun.elapsed() < Duration::from_secs(25), "{LATE}: {mode}: {:?}", begun.elapsed());
        assert!(rig.append(plain("c", "1")).is_ok(), "{mode}");
        rig.close();
    }
}

#[test]
fn reader_without_a_connection_leaves_reads_to_the_connected_ones() {
    let server = Postgres::start();
    // Eight workers compete for five connections: at least one of six readers has none, and at least three have one.
    server.sql("ALTER ROLE seawall CONNECTION LIMIT 5");
    let many = PostgresConfig { writers: 1, readers: 6, ..config(server.url(), KEEP_ALL, 100) };
    let mut rig = Rig::postgres_with(many);
    until(SOON, "a reader is connected", || rig.heads(&["c"]).is_ok());
    for n in 0..200 {
        assert!(rig.heads(&["c"]).is_ok(), "read {n} was refused by a reader without a connection");
    }
    server.sql("ALTER ROLE seawall CONNECTION LIMIT -1");
    until(SOON, "every worker is connected", || backends(&server) == 8);
    server.sql("ALTER ROLE seawall NOLOGIN");
    server.sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'seawall'");
    let begun = Instant::now();
    assert!(rig.heads(&["c"]).is_err(), "no reader is connected");
    assert!(begun.elapsed() < SOON / 3, "{LATE}: {:?}", begun.elapsed());
    server.sql("ALTER ROLE seawall LOGIN");
    until(SOON, "a reader is connected again", || rig.heads(&["c"]).is_ok());
    rig.close();
}
