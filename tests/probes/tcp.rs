//! TCP ports, certificates, source addresses, and an unresolvable name.

use crate::servers::Http;
use crate::support::{
    BRIEF, GRACE, PATIENT, certificate, dripper, fails, fails_within, parrot, probe, silent_in_time,
    tls_server, unused_address, well,
};
use crate::wait::in_time;
use seawall::health::definition::Criticality;
use seawall::health::finding::Fault;
use seawall::net::target::{DependencyKind, Target};
use seawall::probe::Probe;
use seawall::probe::doctor::{Patient, look_at_all};
use seawall::probe::table::diagnose;
use std::io::Write as _;
use std::net::{IpAddr, TcpListener};
use std::time::{Duration, Instant};

#[test]
fn open_port_is_healthy_and_closed_port_is_refused() {
    let http = Http::start();
    assert_eq!(well(&mut probe(DependencyKind::Tcp, &http.address().to_string())), None);
    let (_port, address) = unused_address();
    let address = address.to_string();
    fails(&mut probe(DependencyKind::Tcp, &address), Fault::Refused, &[&address]);
}

#[test]
fn certificate_is_verified_with_its_authority_and_name() {
    let certified = certificate();
    let port = tls_server(&certified).port();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(certified.cert.pem().as_bytes()).unwrap();
    let target = |address: &str| Target::parse(DependencyKind::Tcp, address).unwrap();
    let trusted = target(&format!("tls://localhost:{port}")).with_ca_file(file.path().into());
    well(&mut Probe::new(trusted, "test-1"));
    fails(
        &mut probe(DependencyKind::Tcp, &format!("tls://localhost:{port}")),
        Fault::Tls,
        &["TLS", "localhost"],
    );
    let other_name = target(&format!("tls://127.0.0.1:{port}")).with_ca_file(file.path().into());
    fails(&mut Probe::new(other_name, "test-1"), Fault::Tls, &["127.0.0.1"]);
    let no_file = target(&format!("tls://localhost:{port}")).with_ca_file("/nowhere/ca.pem".into());
    fails(&mut Probe::new(no_file, "test-1"), Fault::Tls, &["/nowhere/ca.pem"]);
}

#[test]
fn peer_without_tls_and_peer_silent_in_the_handshake_are_distinguished() {
    let address = parrot(b"220 mail.example ESMTP\r\n");
    fails(&mut probe(DependencyKind::Tcp, &format!("tls://{address}")), Fault::Tls, &["TLS"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    silent_in_time(&mut probe(DependencyKind::Tcp, &format!("tls://{address}")), Fault::Timeout);
}

#[test]
fn peer_that_sends_byte_by_byte_does_not_prolong_a_probe() {
    let drips: [(DependencyKind, &str, &[u8]); 4] = [
        (
            DependencyKind::Http,
            "http://",
            b"HTTP/1.1 200 OK\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        ),
        (
            DependencyKind::Clickhouse,
            "http://",
            b"HTTP/1.1 200 OK\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        ),
        (DependencyKind::Redis, "redis://", b"$60000\r\n"),
        // The first byte refuses TLS.
        (DependencyKind::Postgres, "postgres://a@", b"NN\0\0\x10\0"),
    ];
    for (kind, scheme, bytes) in drips {
        let address = format!("{scheme}{}", dripper(bytes));
        in_time(BRIEF + GRACE, || {
            let started = Instant::now();
            fails_within(&mut probe(kind, &address), BRIEF, Fault::Timeout, &["in time"]);
            assert!(started.elapsed() >= BRIEF, "{kind:?} {:?}", started.elapsed());
            started.elapsed()
        });
    }
}

#[test]
fn probe_connects_from_its_source_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target = |source: &str| {
        let source: IpAddr = source.parse().unwrap();
        Target::parse(DependencyKind::Tcp, &address).unwrap().with_source(Some(source))
    };
    well(&mut Probe::new(target("127.0.0.7"), "test-1"));
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip().to_string(), "127.0.0.7");
    fails(
        &mut Probe::new(target("192.0.2.1"), "test-1"),
        Fault::Unreachable,
        &["server.source_address", "192.0.2.1"],
    );
    fails(&mut Probe::new(target("::1"), "test-1"), Fault::Unreachable, &["family"]);
}

#[test]
fn unresolvable_name_is_unreachable() {
    let timeout = Duration::from_secs(2);
    fails_within(
        &mut probe(DependencyKind::Tcp, "no-such-host.invalid:1"),
        timeout,
        Fault::Unreachable,
        &["no-such-host.invalid"],
    );
}

#[test]
fn doctor_probes_all_at_once_and_keeps_their_order() {
    let http = Http::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let patient = |name: &str, criticality, address: &str, timeout| Patient {
        name: name.into(),
        criticality,
        kind: DependencyKind::Http,
        address: address.into(),
        probe: Box::new(probe(DependencyKind::Http, address)),
        timeout,
    };
    let mut rows = Vec::new();
    let brief = BRIEF * 3;
    in_time(brief * 2, || {
        let patients = vec![
            patient("backend", Criticality::Optional, &silent, brief),
            patient("auth", Criticality::Critical, &http.url("/"), PATIENT),
            patient("analytics", Criticality::Optional, &silent, brief),
        ];
        let started = Instant::now();
        rows = look_at_all(patients);
        started.elapsed()
    });
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["backend", "auth", "analytics"]);
    let diagnosis = diagnose(&rows);
    assert_eq!(diagnosis.exit_code, 1);
    assert!(diagnosis.text.contains("The service goes on without backend, analytics."), "{}", diagnosis.text);
}
