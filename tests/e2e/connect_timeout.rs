//! A connection without `connect` in time is closed.

use crate::support::{Client, Frame, Gateway, RawClient, Setup};
use std::time::{Duration, Instant};

fn gateway(connect_ms: u64) -> Gateway {
    Setup::new().limit("connect_ms", connect_ms).start()
}

#[test]
fn silent_connection_is_closed_with_bye() {
    let gateway = gateway(2_500);
    let start = Instant::now();
    let mut client = Client::open(&gateway);
    client.expect_close().is(4408, "connect_timeout");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(2_400), "{waited:?}");
}

#[test]
fn pings_do_not_extend_the_timeout() {
    let gateway = gateway(2_500);
    let mut client = RawClient::upgraded(&gateway, "/ws");
    // A slow machine may write them after the close.
    for frame in [Frame::new(0x9, "x"), Frame::text(r#"{"id":1,"nonsense":{}}"#).unfinished()] {
        let _ = client.try_write(&frame.bytes());
    }
    client.expect_close().is(4408, "connect_timeout");
}

#[test]
fn connected_client_stays() {
    // Long enough for a client of a busy machine that does connect.
    let gateway = gateway(6_000);
    let mut late = Client::open(&gateway);
    let mut client = Client::connect(&gateway);
    late.expect_close().is(4408, "connect_timeout");
    assert!(client.is_open());
}
