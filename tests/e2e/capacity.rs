//! A gateway at its bounds refuses with a reason and continues.

use crate::support::{Client, SOON, Setup, until};
use serde_json::json;

#[test]
fn connection_over_the_bound_is_refused_and_others_stay() {
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
    until(SOON, "another client fits again", || {
        let mut next = Client::open(&gateway);
        next.send(json!({"connect": {}}));
        next.try_reply(1).is_some_and(|reply| reply.get("connected").is_some())
    });
}

#[test]
fn refusals_leave_no_socket_open() {
    let gateway = Setup::new().limit("connections", 2).start();
    let _held = [Client::connect(&gateway), Client::connect(&gateway)];
    let before = gateway.open_sockets();
    for _ in 0..300 {
        // Some may be refused with 503 before the upgrade.
        if let Ok(mut client) = Client::try_open(gateway.address, &Default::default()) {
            client.expect_close().is(1013, "over_capacity");
        }
    }
    until(SOON, "every refused connection is closed", || gateway.open_sockets() <= before);
}
