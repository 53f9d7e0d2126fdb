//! At its bound the gateway says so, and goes on.

use crate::support::{Client, SOON, Setup, until};
use serde_json::json;

#[test]
fn the_one_too_many_is_told_and_the_others_go_on() {
    let gateway = Setup::new().limit("connections", 50).start();
    let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(&gateway)).collect();
    for _ in 0..5 {
        let mut extra = Client::open(&gateway);
        let closed = extra.expect_close();
        closed.is(1013, "over_capacity");
        assert!(closed.reason.contains("limits.connections"), "{closed:?}");
        assert!(closed.bye.as_ref().is_some_and(|bye| bye["retry_ms"].as_u64() > Some(0)), "{closed:?}");
    }
    for client in &mut clients {
        assert!(client.is_open());
    }
    assert_eq!(clients[0].publish("c", json!(1)), 1);
    clients.pop();
    until(SOON, "a place is free again", || {
        let mut next = Client::open(&gateway);
        next.send(json!({"connect": {}}));
        next.try_reply(1).is_some_and(|reply| reply.get("connected").is_some())
    });
}

#[test]
fn many_refusals_leave_nothing_behind() {
    let gateway = Setup::new().limit("connections", 2).start();
    let _held = [Client::connect(&gateway), Client::connect(&gateway)];
    let before = gateway.open_sockets();
    for _ in 0..300 {
        // Some may be refused with 503 before the upgrade.
        if let Ok(mut client) = Client::try_open(gateway.address, &Default::default()) {
            client.expect_close().is(1013, "over_capacity");
        }
    }
    until(SOON, "every refused one is gone", || gateway.open_sockets() <= before);
}
