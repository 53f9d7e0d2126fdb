//! Connections that open and close leave nothing behind.

use crate::support::{Client, Frame, Gateway, RawClient, SOON, Setup, until};
use serde_json::json;

/// The whole life of one connection; `n` selects one of four ways to end it.
fn visit(gateway: &Gateway, n: usize) {
    let mut client = RawClient::connected(gateway);
    client.send(&Frame::text(format!(r#"{{"id":2,"subscribe":{{"channel":"c{}"}}}}"#, n % 7)));
    match n % 4 {
        0 => assert_eq!(client.next_json()["id"], 2),
        1 => client.send(&Frame::close(1000, "")),
        2 => client.stop_sending(),
        _ => {}
    }
}

#[test]
fn thousands_of_short_connections_leak_no_memory_and_no_socket() {
    let gateway = Setup::new().arguments(&["--reactors", "2"]).start();
    let mut settled = (0, 0);
    for round in 0..6 {
        for n in 0..500 {
            visit(&gateway, n);
        }
        until(SOON, "all connections are closed", || gateway.metric("seawall_connections") <= 1.0);
        gateway.shows("seawall_subscriptions", 0.0);
        if round == 1 {
            settled = (gateway.rss_bytes(), gateway.open_sockets());
        }
    }
    let (memory, sockets) = settled;
    let grown = gateway.rss_bytes().saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} bytes more after 2,000 further connections");
    until(SOON, "no socket stays open", || gateway.open_sockets() <= sockets);
    let mut client = Client::connect(&gateway);
    client.subscribe("c1");
    client.publish("c1", json!(1));
    assert_eq!(client.offsets(1), [1]);
}
