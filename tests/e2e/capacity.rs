//! A gateway at its bounds refuses with a reason and continues.

use crate::support::token::{SECRET, token_of};
use crate::support::{Client, RawClient, SOON, Setup, until};
use serde_json::json;
use std::net::TcpStream;

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
        // A refused client may be closed before it has sent anything.
        let answered = next.try_send(json!({"connect": {}})).ok().and_then(|id| next.try_reply(id));
        answered.is_some_and(|reply| reply.get("connected").is_some())
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

#[test]
fn clients_without_a_token_do_not_keep_a_holder_of_one_out() {
    let gateway = Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).limit("connections", 64).start();
    let holder = || Client::open(&gateway).with_connect(json!({"token": token_of("ann")}));
    let mut early = holder();
    let mut silent = Vec::new();
    let mut upgraded = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(gateway.address).expect("the kernel accepts"));
        let mut client = RawClient::to(&gateway);
        let _may_be_displaced = client.try_write(crate::support::raw::UPGRADE.as_bytes());
        upgraded.push(client);
    }
    // Until the whole crowd has arrived, it displaces clients that are not connected yet. Each look at the metrics is a connection as well.
    let mut looks = 0.0;
    until(SOON, "all are accepted", || {
        looks += 1.0;
        gateway.metric("seawall_connections_accepted_total") >= 201.0 + looks
    });
    until(SOON, "the oldest are displaced", || gateway.metric("seawall_connections_displaced_total") > 100.0);
    let mut late: Vec<Client> = (0..10).map(|_| holder()).collect();
    assert!(early.is_open());
    for client in &mut late {
        assert!(client.is_open(), "a client with a good token is served");
    }
    until(SOON, "at most a quarter is unconnected, and the reader of the metric", || {
        gateway.metric("seawall_connections_unconnected") <= 16.0 + 2.0
    });
}
