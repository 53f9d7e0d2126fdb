//! A connection without `connect` in time is closed.

use crate::support::{Client, Frame, Gateway, RawClient, Setup};
use std::time::{Duration, Instant};

/// The time is long enough for clients of a busy machine that do connect.
fn gateway() -> Gateway {
    Setup::new().limit("connect_ms", 2_500).start()
}

#[test]
fn silent_connection_is_closed_with_bye() {
    let gateway = gateway();
    let start = Instant::now();
    let mut client = Client::open(&gateway);
    client.expect_close().is(4408, "connect_timeout");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(2_400), "{waited:?}");
}

#[test]
fn pings_do_not_extend_the_timeout() {
    let gateway = gateway();
    let mut client = RawClient::upgraded(&gateway, "/ws");
    client.send(&Frame::new(0x9, "x"));
    client.send(&Frame::text(r#"{"id":1,"nonsense":{}}"#).unfinished());
    client.expect_close().is(4408, "connect_timeout");
}

#[test]
fn connected_client_stays() {
    let gateway = gateway();
    let mut late = Client::open(&gateway);
    let mut client = Client::connect(&gateway);
    late.expect_close().is(4408, "connect_timeout");
    assert!(client.is_open());
}
