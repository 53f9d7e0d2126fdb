//! A signal ends the gateway in order: what is on its way is answered, everybody is told, exit code 0.

use crate::support::{Client, Gateway, RawClient, Setup};
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

fn ends_in_order(signal: Signal) {
    let mut gateway = Setup::new().unhurried().start();
    let mut publisher = Client::connect(&gateway);
    let mut idle = Client::connect(&gateway);
    let _silent = RawClient::to(&gateway);
    publisher.subscribe("c");
    let ids: Vec<u64> = (0..50)
        .map(|n| publisher.send(json!({"publish": {"channel": "c", "key": n.to_string(), "data": n}})))
        .collect();
    // The first answer shows that the rest is on its way.
    assert!(publisher.reply(ids[0]).get("published").is_some());
    let stored = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let stored = 1 + ids[1..].iter().filter(|id| is_stored(&mut publisher, **id)).count();
            expect_restart(&mut publisher);
            stored
        });
        let idle = scope.spawn(|| expect_restart(&mut idle));
        let (code, took) = gateway.ends_after(signal);
        assert_eq!(code, Some(0), "{}", gateway.output());
        assert!(took < Duration::from_secs(2), "{took:?}");
        idle.join().expect("the idle one is told");
        publisher.join().expect("the publisher is told")
    });
    let gateway = gateway.setup().clone().start();
    let mut client = Client::connect(&gateway);
    let page = client.ask(json!({"history": {"channel": "c"}}), "history");
    assert_eq!(page["head"], stored, "exactly what was acknowledged");
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
fn sigterm_ends_it_in_order() {
    ends_in_order(Signal::TERM);
}

#[test]
fn sigint_ends_it_in_order() {
    ends_in_order(Signal::INT);
}

#[test]
fn a_peer_that_never_reads_does_not_hold_it_up() {
    let mut gateway = Setup::new().unhurried().start();
    let upgrade = crate::support::Upgrade::default().receive_buffer(4096);
    let mut deaf = Client::open_with(gateway.address, &upgrade).with_connect(json!({}));
    deaf.subscribe("c");
    let mut publisher = Client::connect(&gateway);
    for _ in 0..100 {
        publisher.publish("c", json!("x".repeat(30_000)));
    }
    let (code, took) = gateway.ends_after(Signal::TERM);
    assert!(took < Duration::from_secs(5), "{took:?}");
    // It did not take its close, and that is said.
    assert_eq!(code, Some(1));
    assert!(gateway.output().contains("unsent_closes=1 "), "{}", gateway.output());
}

#[test]
fn it_can_start_again_at_once_on_the_same_port() {
    let mut gateway = Gateway::start();
    let _client = Client::connect(&gateway);
    let address = gateway.address;
    gateway.ends_after(Signal::TERM);
    let again = gateway.setup().clone().listen(address).start();
    assert_eq!(again.address, address);
    Client::connect(&again);
}

#[test]
fn hundreds_are_told() {
    let mut gateway = Setup::new().arguments(&["--reactors", "2"]).start();
    let mut clients: Vec<RawClient> = (0..300).map(|_| RawClient::connected(&gateway)).collect();
    let told = std::thread::spawn(move || {
        for client in &mut clients {
            client.expect_close().is(1012, "restart");
        }
    });
    let (code, took) = gateway.ends_after(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    told.join().expect("everybody is told");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut gateway = Gateway::start();
    let _clients: Vec<RawClient> = (0..20).map(|_| RawClient::connected(&gateway)).collect();
    gateway.signal(Signal::TERM);
    let (_, took) = gateway.ends_after(Signal::TERM);
    assert!(took < Duration::from_secs(2), "{took:?}");
}
