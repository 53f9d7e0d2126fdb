//! Connections that come and go leave nothing behind.

use crate::support::{Client, Frame, Gateway, RawClient, SOON, Setup, until};
use serde_json::json;

/// One connection's whole life: each way to end it in turn.
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
fn thousands_of_visits_cost_no_memory_and_no_socket() {
    let gateway = Setup::new().arguments(&["--reactors", "2"]).start();
    let mut settled = (0, 0);
    for round in 0..6 {
        for n in 0..500 {
            visit(&gateway, n);
        }
        until(SOON, "all are gone", || gateway.metric("seawall_connections") <= 1.0);
        assert_eq!(gateway.metric("seawall_subscriptions"), 0.0);
        if round == 1 {
            settled = (gateway.rss_bytes(), gateway.open_sockets());
        }
    }
    let (memory, sockets) = settled;
    let grown = gateway.rss_bytes().saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} bytes more after 2,000 further visits");
    until(SOON, "no socket is left over", || gateway.open_sockets() <= sockets);
    let mut client = Client::connect(&gateway);
    client.subscribe("c1");
    client.publish("c1", json!(1));
    assert_eq!(client.offsets(1), [1]);
}
