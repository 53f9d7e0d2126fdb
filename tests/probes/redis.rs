//! Redis, and the states in which it answers PING but does not work.

use crate::servers::Redis;
use crate::support::{
    BRIEF, DeafProxy, fails, fails_within, parrot, probe, silent_in_time, unused_address, well,
};
use seawall::health::finding::Fault;
use seawall::net::target::DependencyKind;
use seawall::probe::LOOKS_PER_CONNECTION;
use std::sync::atomic::Ordering;

#[test]
fn probe_leaves_no_key_and_succeeds_after_a_restart() {
    let mut redis = Redis::start();
    let mut probe = probe(DependencyKind::Redis, &redis.url());
    assert_eq!(well(&mut probe), None);
    assert_eq!(format!("{:?}", redis.command(&["DBSIZE"])), "Number(0)");
    redis.kill9();
    fails(&mut probe, Fault::Refused, &["refuses", &redis.address().to_string()]);
    redis.start_again();
    well(&mut probe);
    redis.end_subscriptions();
    // A subscription that was cut between two probes is renewed within the probe.
    well(&mut probe);
}

#[test]
fn connections_are_kept_and_replaced_from_time_to_time() {
    let redis = Redis::start();
    let proxy = DeafProxy::before(redis.address());
    let mut probe = probe(DependencyKind::Redis, &redis.url_through(proxy.address));
    for _ in 0..LOOKS_PER_CONNECTION {
        well(&mut probe);
    }
    assert_eq!(proxy.connections.load(Ordering::SeqCst), 2);
    well(&mut probe);
    assert_eq!(proxy.connections.load(Ordering::SeqCst), 4);
}

#[test]
fn frozen_server_is_reported_in_time_and_recovers_at_once() {
    let redis = Redis::start();
    let mut probe = probe(DependencyKind::Redis, &redis.url());
    well(&mut probe);
    redis.sigstop();
    silent_in_time(&mut probe, Fault::Timeout);
    redis.sigcont();
    well(&mut probe);
}

#[test]
fn dead_pub_sub_with_a_working_ping_is_a_delivery_fault() {
    let redis = Redis::start();
    let proxy = DeafProxy::before(redis.address());
    let mut probe = probe(DependencyKind::Redis, &redis.url_through(proxy.address));
    well(&mut probe);
    proxy.is_deaf.store(true, Ordering::SeqCst);
    let cause = fails_within(&mut probe, BRIEF * 4, Fault::Delivery, &["did not arrive", "counted 1"]);
    assert!(cause.look_at.contains("pub/sub"), "{cause:?}");
    silent_in_time(&mut probe, Fault::Delivery);
    proxy.is_deaf.store(false, Ordering::SeqCst);
    well(&mut probe);
}

#[test]
fn missing_right_to_channels_is_reported() {
    let redis = Redis::start();
    let mut probe = probe(DependencyKind::Redis, &redis.url());
    well(&mut probe);
    redis.deny_channels();
    fails(&mut probe, Fault::Schema, &["NOPERM", "channels"]);
    redis.allow_channels();
    well(&mut probe);
}

#[test]
fn replica_full_memory_and_loading_are_distinguished() {
    let mut redis = Redis::start();
    let mut probe = probe(DependencyKind::Redis, &redis.url());
    well(&mut probe);
    redis.read_only();
    fails(&mut probe, Fault::Standby, &["replica"]);
    redis.without_primary();
    fails(&mut probe, Fault::Standby, &[]);
    redis.read_write();
    redis.out_of_memory();
    fails(&mut probe, Fault::MemoryFull, &["OOM", "maxmemory"]);
    redis.enough_memory();
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    fails(&mut probe, Fault::ReadOnly, &["NOREPLICAS"]);
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    well(&mut probe);
    redis.restart_loading(300);
    fails(&mut probe, Fault::NotReady, &["LOADING"]);
}

#[test]
fn wrong_missing_and_right_passwords_are_distinguished() {
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "requirepass", "hunter22"]);
    let with = |password: &str| redis.url().replace("redis://", &format!("redis://:{password}@"));
    well(&mut probe(DependencyKind::Redis, &with("hunter22")));
    fails(&mut probe(DependencyKind::Redis, &redis.url()), Fault::Credentials, &["NOAUTH"]);
    let cause =
        fails(&mut probe(DependencyKind::Redis, &with("swordfish")), Fault::Credentials, &["WRONGPASS"]);
    assert!(!cause.text.contains("swordfish"), "{cause:?}");
}

#[test]
fn unix_socket_and_database_number_are_valid_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let redis = Redis::start_with(&[("unixsocket", socket.to_str().unwrap())]);
    well(&mut probe(DependencyKind::Redis, &format!("unix://{}", socket.display())));
    well(&mut probe(DependencyKind::Redis, &format!("redis://{}/3", redis.address())));
    let many = format!("redis://{}/99", redis.address());
    fails(&mut probe(DependencyKind::Redis, &many), Fault::Schema, &["DB index"]);
    let gone = folder.path().join("gone.sock").display().to_string();
    fails(&mut probe(DependencyKind::Redis, &format!("unix://{gone}")), Fault::Refused, &[&gone]);
}

#[test]
fn server_without_a_free_connection_is_reported() {
    let redis = Redis::start_with(&[("maxclients", "2")]);
    let held: Vec<_> = (0..2).map(|_| std::net::TcpStream::connect(redis.address()).unwrap()).collect();
    fails(
        &mut probe(DependencyKind::Redis, &redis.url()),
        Fault::ConnectionLimit,
        &["max number of clients"],
    );
    drop(held);
}

#[test]
fn non_redis_answer_and_refused_connection_are_distinguished() {
    let garbage = parrot(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    fails(
        &mut probe(DependencyKind::Redis, &format!("redis://{garbage}")),
        Fault::Protocol,
        &["something else"],
    );
    let endless = parrot(b"$2000000000\r\n");
    fails_within(
        &mut probe(DependencyKind::Redis, &format!("redis://{endless}")),
        BRIEF,
        Fault::Timeout,
        &[],
    );
    let (_port, gone) = unused_address();
    fails(&mut probe(DependencyKind::Redis, &format!("redis://{gone}")), Fault::Refused, &["refuses"]);
}
