//! SIGTERM and SIGINT end the gateway in order: pending publishes are answered, all clients get `bye`, exit code 0.

use crate::support::wait::LATE;
use crate::support::{Client, Gateway, RawClient, Setup};
use rustix::process::Signal;
use seawall_fault::HeldPort;
use serde_json::json;

fn ends_in_order(signal: Signal) {
    // Nothing waits for the exit.
    let mut gateway = Setup::new().unlimited().drain("exit", 120_000).start();
    let mut publisher = Client::connect(&gateway);
    let mut idle = Client::connect(&gateway);
    let _silent = RawClient::to(&gateway);
    publisher.subscribe("c");
    let ids: Vec<u64> = (0..50)
        .map(|n| publisher.send(json!({"publish": {"channel": "c", "key": n.to_string(), "data": n}})))
        .collect();
    // The first reply shows that the rest is being processed.
    assert!(publisher.reply(ids[0]).get("published").is_some());
    let stored = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let stored = 1 + ids[1..].iter().filter(|id| is_stored(&mut publisher, **id)).count();
            expect_restart(&mut publisher);
            stored
        });
        let idle = scope.spawn(|| expect_restart(&mut idle));
        assert_eq!(gateway.ends_after(signal).0, Some(0), "{}", gateway.output());
        idle.join().expect("the idle client got bye");
        publisher.join().expect("the publisher got bye")
    });
    let gateway = gateway.setup().clone().start();
    let mut client = Client::connect(&gateway);
    let page = client.ask(json!({"history": {"channel": "c"}}), "history");
    assert_eq!(page["head"], stored, "exactly the acknowledged publications are stored");
}

fn is_stored(client: &mut Client, id: u64) -> bool {
    let Some(reply) = client.try_reply(id) else { panic!("no answer to {id}") };
    match reply["error"]["code"].as_str() {
        None => true,
        Some("draining" | "unavailable") => false,
        Some(other) => panic!("{other}"),
    }
}

fn expect_restart(client: &mut Client) {
    let closed = client.expect_close();
    closed.is(1012, "restart");
    assert!(closed.bye.as_ref().is_some_and(|bye| bye["retry_ms"].is_u64()), "{closed:?}");
}

#[test]
fn sigterm_ends_the_gateway_in_order() {
    ends_in_order(Signal::TERM);
}

#[test]
fn sigint_ends_the_gateway_in_order() {
    ends_in_order(Signal::INT);
}

#[test]
fn client_that_never_reads_does_not_delay_the_exit() {
    let setup = Setup::new().unlimited().limit("stall_ms", 120_000);
    let mut gateway = setup.drain("exit", 1_950).start();
    let upgrade = crate::support::Upgrade::default().receive_buffer(4096);
    let mut stalled = Client::open_with(gateway.address, &upgrade).with_connect(json!({}));
    stalled.subscribe("c");
    let mut publisher = Client::connect(&gateway);
    for _ in 0..100 {
        publisher.publish("c", json!("x".repeat(30_000)));
    }
    let (code, _) = gateway.ends_after(Signal::TERM);
    let said = gateway.output();
    assert!(!said.contains("unsent_closes=2 "), "{LATE}: the close of the publisher\n{said}");
    // It did not read its close, and the exit code says so.
    assert_eq!(code, Some(1));
    assert!(said.contains("unsent_closes=1 "), "{said}");
}

#[test]
fn gateway_restarts_at_once_on_the_same_port() {
    // Without a holder, another test could have the port in between.
    let port = HeldPort::loopback().expect("a port");
    let mut gateway = Setup::new().listen(port.address()).start();
    let _client = Client::connect(&gateway);
    gateway.ends_after(Signal::TERM);
    let again = gateway.setup().clone().start();
    assert_eq!(again.address, port.address());
    Client::connect(&again);
}

#[test]
fn hundreds_of_clients_are_closed_with_bye() {
    let mut gateway = Setup::new().arguments(&["--reactors", "2"]).drain("exit", 28_000).start();
    let mut clients: Vec<RawClient> = (0..300).map(|_| RawClient::connected(&gateway)).collect();
    let closes = std::thread::spawn(move || {
        for client in &mut clients {
            client.expect_close().is(1012, "restart");
        }
    });
    assert_eq!(gateway.ends_after(Signal::TERM).0, Some(0));
    closes.join().expect("all clients got bye");
}
