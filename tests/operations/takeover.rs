//! A successor listens on the same port while the first process leaves it: no connection is refused or reset meanwhile.

use crate::servers::Postgres;
use crate::support::{Client, Gateway, SOON, Setup, until};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Threads that open connections, one after another, as fast as they can.
const CONNECTORS: usize = 12;
/// Connections that each of them opens before it sends a request on the first.
const BATCH: usize = 40;
/// Successive takeovers.
const ROUNDS: usize = 4;
const REQUEST: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn instance(server: &Postgres, listen: Option<SocketAddr>) -> Setup {
    let setup = Setup::new()
        .env("SEAWALL_STORE_URL", &server.url())
        .with_slow_store()
        .env("SEAWALL_SERVER_TAKEOVER", "true")
        .arguments(&["--reactors", "2"])
        // Long enough for the last accepted clients to get a response.
        .drain("accept", 200)
        .drain("spread", 1_000)
        .drain("close", 20_000)
        .drain("exit", 28_000);
    match listen {
        Some(address) => setup.listen(address),
        None => setup,
    }
}

/// Opens connections and sends a request on each; anything but a response is a fault.
fn ask(address: SocketAddr) -> Vec<Result<(), String>> {
    let describe = |what: &str, error: std::io::Error| format!("{what}: {:?}", error.kind());
    // All are opened first, so that many wait in the accept queue: the kernel completes handshakes without the gateway.
    let opened: Vec<Result<TcpStream, String>> = (0..BATCH)
        .map(|_| TcpStream::connect_timeout(&address, SOON).map_err(|error| describe("connect", error)))
        .collect();
    let answered = |stream: Result<TcpStream, String>| {
        let mut stream = stream?;
        stream.set_read_timeout(Some(SOON)).map_err(|error| describe("timeout", error))?;
        stream.write_all(REQUEST).map_err(|error| describe("write", error))?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|error| describe("read", error))?;
        // A draining process may close a connection before its first request, but must not reset one.
        let is_well = answer.is_empty() || answer.starts_with(b"HTTP/1.1 200");
        if is_well { Ok(()) } else { Err("another answer".into()) }
    };
    opened.into_iter().map(answered).collect()
}

#[test]
fn no_connection_is_refused_or_reset_during_successive_takeovers() {
    let server = Postgres::start();
    let mut gateway = instance(&server, None).start();
    let address = gateway.address;
    let (done, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    let faults: Mutex<BTreeMap<String, u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTORS {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for asked in ask(address) {
                        match asked {
                            Ok(()) => opened.fetch_add(1, Ordering::Relaxed),
                            Err(fault) => {
                                let mut faults = faults.lock().expect("no holder panics");
                                *faults.entry(fault).or_default() += 1;
                                0
                            }
                        };
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            let successor = instance(&server, Some(address)).start();
            let goal = opened.load(Ordering::Relaxed) + 200;
            until(SOON, "both processes are reached", || opened.load(Ordering::Relaxed) > goal);
            let (code, _) = gateway.ends_after(Signal::TERM);
            assert_eq!(code, Some(0), "round {round}: {}", gateway.output());
            gateway = successor;
            let goal = opened.load(Ordering::Relaxed) + 200;
            until(SOON, "the successor is reached", || opened.load(Ordering::Relaxed) > goal);
        }
        done.store(true, Ordering::Relaxed);
    });
    let faults = faults.into_inner().expect("no holder panicked");
    assert!(faults.is_empty(), "of {} connections: {faults:?}", opened.into_inner());
    Client::connect(&gateway);
}

#[test]
fn second_process_without_takeover_is_refused_and_so_is_takeover_with_sqlite() {
    let server = Postgres::start();
    let gateway = instance(&server, None).start();
    let alone = instance(&server, Some(gateway.address)).env("SEAWALL_SERVER_TAKEOVER", "false");
    let Err(refused) = alone.try_start() else {
        panic!("two processes share a port although one did not allow it")
    };
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.output.contains("cannot listen on"), "{}", refused.output);

    let Err(refused) = Setup::new().env("SEAWALL_SERVER_TAKEOVER", "true").try_start() else {
        panic!("a takeover with an embedded store")
    };
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.output.contains("the embedded store has one owner"), "{}", refused.output);
}

#[test]
fn moving_client_reaches_the_successor_at_the_same_address() {
    let server = Postgres::start();
    let mut gateway = instance(&server, None).start();
    let mut resident = Client::connect(&gateway);
    assert_eq!(resident.publish("c", json!("before")), 1);
    let successor = instance(&server, Some(gateway.address)).start();
    gateway.signal(Signal::TERM);
    resident.next_push("drain");
    // The listener was closed before the first `drain` was sent.
    let mut moved = Client::connect(&successor);
    assert_eq!(moved.publish("c", json!("after")), 2);
    for _ in 0..20 {
        let another = Client::connect(&gateway);
        assert_eq!(another.connected["instance"], moved.connected["instance"]);
    }
    assert_ne!(resident.connected["instance"], moved.connected["instance"]);
    assert!(resident.is_open(), "the old connection stays until the new one works");
    resident.close();
    until(SOON, "the first process has exited", || !gateway.is_running());
}
