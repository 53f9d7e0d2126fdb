//! The source address of connections.

use crate::postgres::rig::{KEEP_ALL, PostgresConfig, Rig, config, plain};
use crate::postgres::security::rule;
use crate::servers::Postgres;
use seawall::health::finding::Fault;
use seawall::job::AppendError;
use seawall::net::target::{DependencyKind, Target};
use seawall::probe::Probe;
use seawall::store::postgres::new_epoch;
use std::net::{IpAddr, TcpListener};
use std::time::Duration;

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

fn from(server: &Postgres, source: &str) -> PostgresConfig {
    PostgresConfig { source: address(source), ..config(server.url(), KEEP_ALL, 1_000) }
}

#[test]
fn store_and_probe_connect_from_the_source_address() {
    let server = Postgres::start();
    rule(&server, "local all all trust\nhost all all 127.0.0.2/32 trust\n");
    let mut rig = Rig::postgres_with(from(&server, "127.0.0.2")).ready();
    rig.offset(plain("c", "1"));
    let target = Target::parse(DependencyKind::Postgres, &server.url()).expect("an address");
    let mut probe = Probe::new(target.with_source(address("127.0.0.2")), "one");
    assert!(probe.look(Duration::from_secs(10)).result.is_ok());
    let seen = server.sql(
        "SELECT DISTINCT application_name, client_addr FROM pg_stat_activity WHERE usename = 'seawall' ORDER BY 1",
    );
    assert_eq!(seen, "seawall|127.0.0.2\nseawall-probe|127.0.0.2");
    rig.close();
}

#[test]
fn http_probe_connects_from_the_source_address() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let place = listener.local_addr().expect("bound");
    let peer = std::thread::spawn(move || listener.accept().map(|(_, peer)| peer.ip()));
    let target = Target::parse(DependencyKind::Http, &format!("http://{place}/health")).expect("an address");
    let _ = Probe::new(target.with_source(address("127.0.0.2")), "one").look(Duration::from_secs(2));
    assert_eq!(peer.join().expect("no panic").ok(), address("127.0.0.2"));
}

#[test]
fn unusable_source_address_is_named_in_the_error() {
    let server = Postgres::start();
    for (source, words) in [("192.0.2.1", "no address of this machine"), ("::1", "family")] {
        let error =
            new_epoch(&server.url(), address(source)).expect_err("the address is unusable").to_string();
        assert!(error.contains(words) && error.contains("server.source_address"), "{error}");
        let target = Target::parse(DependencyKind::Postgres, &server.url()).expect("an address");
        let found = Probe::new(target.with_source(address(source)), "one").look(Duration::from_secs(5));
        let cause = found.result.expect_err("the address is unusable");
        assert_eq!(cause.fault, Fault::Unreachable);
        assert!(cause.text.contains(words) && cause.text.contains("server.source_address"), "{cause:?}");
    }
    let mut rig = Rig::postgres_with(from(&server, "192.0.2.1"));
    assert!(matches!(rig.append(plain("c", "1")), Err(AppendError::Unavailable { .. })));
    rig.close();
}
