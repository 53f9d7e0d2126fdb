//! Pings and beats.

use crate::support::frame::{PING, PONG};
use crate::support::{Client, Frame, Gateway, RawClient, SOON, Setup, until};
use serde_json::json;
use std::time::{Duration, Instant};

/// Closes a client that does not answer a ping within this time.
fn pinging(pong_ms: u64) -> Gateway {
    Setup::new().limit("ping_ms", 300).limit("pong_ms", pong_ms).start()
}

#[test]
fn client_that_answers_pings_stays_connected_and_gets_beats() {
    let gateway = pinging(30_000);
    let start = Instant::now();
    let mut client = Client::connect(&gateway);
    assert_eq!(client.connected["ping_ms"], 300);
    for _ in 0..5 {
        assert!(client.next_push("beat")["revision"].is_u64());
    }
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(900), "beats come each ping_ms, not faster: {waited:?}");
    assert!(client.is_open());
}

#[test]
fn silent_client_is_pinged_then_closed() {
    let gateway = pinging(400);
    let mut client = RawClient::connected(&gateway);
    let mut pinged = false;
    while !pinged {
        pinged = client.next_frame().opcode == PING;
    }
    client.expect_close().is(4408, "no_sign_of_life");
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let gateway = pinging(8_000);
    let mut client = RawClient::connected(&gateway);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        // The client sends a frame for each frame of the server, but never answers a ping.
        client.next_frame();
        client.send(&Frame::new(PONG, ""));
    }
    client.send(&Frame::text(r#"{"id":9,"history":{"channel":"c"}}"#));
    until(SOON, "the reply arrives", || client.next_json()["id"] == 9);
}

#[test]
fn ping_is_answered_with_its_payload() {
    let gateway = Gateway::start();
    let mut client = RawClient::connected(&gateway);
    let payload = [b'p'; 125];
    client.send(&Frame::new(PING, payload));
    let frame = client.next_frame();
    assert_eq!((frame.opcode, frame.payload.as_slice()), (PONG, payload.as_slice()));
}

#[test]
fn beat_carries_the_heads_that_moved() {
    let gateway = pinging(30_000);
    let mut client = Client::connect(&gateway);
    client.subscribe("c");
    client.subscribe("quiet");
    client.publish("c", json!(1));
    client.publish("c", json!(2));
    // Heads are read from the store every ten seconds.
    until(SOON * 2, "a beat with the head", || {
        let beat = client.next_push("beat");
        assert!(beat["heads"].get("quiet").is_none(), "it did not move: {beat}");
        beat["heads"]["c"] == 2
    });
}
