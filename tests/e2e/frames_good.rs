//! Everything RFC 6455 allows is accepted, however the bytes are split.

use crate::support::frame::{BINARY, CONTINUATION, PING, PONG, TEXT};
use crate::support::{Client, Frame, Gateway, RawClient, Setup, Upgrade};
use serde_json::json;
use tungstenite::Message;

fn echo() -> (Gateway, RawClient) {
    let gateway = Setup::new().arguments(&["--echo"]).start();
    let client = RawClient::upgraded(&gateway, "/echo");
    (gateway, client)
}

#[test]
fn echo_returns_text_and_binary_of_any_length() {
    let (_gateway, mut client) = echo();
    for length in [0, 1, 2, 125, 126, 127, 1_000, 65_535, 65_536] {
        for opcode in [TEXT, BINARY] {
            let payload: Vec<u8> = (0..length).map(|n| b'a' + (n % 26) as u8).collect();
            client.send(&Frame::new(opcode, &payload));
            let frame = client.next_frame();
            assert_eq!((frame.opcode, frame.payload == payload), (opcode, true), "{length}");
        }
    }
    let bytes: Vec<u8> = (0..=255).collect();
    client.send(&Frame::new(BINARY, &bytes));
    assert_eq!(client.next_frame().payload, bytes);
}

#[test]
fn fragments_are_joined_and_a_ping_between_them_is_answered() {
    let (_gateway, mut client) = echo();
    client.send(&Frame::text("one ").unfinished());
    client.send(&Frame::new(CONTINUATION, "").unfinished());
    client.send(&Frame::new(PING, "now"));
    client.send(&Frame::new(CONTINUATION, "two").unfinished());
    client.send(&Frame::new(CONTINUATION, ""));
    let pong = client.next_frame();
    assert_eq!(
        (pong.opcode, pong.payload.as_slice()),
        (PONG, &b"now"[..]),
        "the pong comes before the message"
    );
    let text = client.next_frame();
    assert_eq!((text.opcode, text.payload.as_slice()), (TEXT, &b"one two"[..]));
}

#[test]
fn frames_sent_byte_by_byte_or_many_at_once_are_read() {
    let (_gateway, mut client) = echo();
    for byte in [Frame::text("slowly").bytes(), Frame::new(BINARY, [7; 130]).bytes()].concat() {
        client.write(&[byte]);
    }
    assert_eq!(client.next_frame().payload, b"slowly");
    assert_eq!(client.next_frame().payload, [7; 130]);
    let many: Vec<u8> = (0..500).flat_map(|n| Frame::text(format!("message {n}")).bytes()).collect();
    client.write(&many);
    for n in 0..500 {
        assert_eq!(client.next_frame().payload, format!("message {n}").as_bytes());
    }
}

#[test]
fn split_at_any_byte_gives_the_same_message() {
    let (_gateway, mut client) = echo();
    let bytes =
        [Frame::text("ab").unfinished().bytes(), Frame::new(CONTINUATION, [b'c'; 126]).bytes()].concat();
    for at in 1..bytes.len() {
        client.write(&bytes[..at]);
        client.write(&bytes[at..]);
        assert_eq!(client.next_frame().payload.len(), 128, "{at}");
    }
}

#[test]
fn unsolicited_pong_is_ignored() {
    let (_gateway, mut client) = echo();
    client.send(&Frame::new(PONG, "unasked"));
    client.send(&Frame::text("next"));
    assert_eq!(client.next_frame().payload, b"next");
}

#[test]
fn close_on_echo_is_answered() {
    let (_gateway, mut client) = echo();
    client.send(&Frame::close(1000, "enough"));
    assert_eq!(client.expect_close().code, 1000);
}

#[test]
fn largest_message_is_published_whole() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.subscribe("c");
    let overhead = json!({"id": 10, "publish": {"channel": "c", "data": ""}}).to_string().len();
    let text = "x".repeat(65_536 - overhead - 8);
    client.publish("c", json!(text));
    assert_eq!(client.next_push("publication")["data"], json!(text));
}

#[test]
fn tungstenite_client_is_echoed() {
    let gateway = Setup::new().arguments(&["--echo"]).start();
    let mut client = Client::open_with(gateway.address, &Upgrade::default().path("/echo"));
    for message in [Message::text("héllo"), Message::binary(vec![0, 255]), Message::text("")] {
        client.send_message(message.clone());
        assert_eq!(client.next_message(), message);
    }
}
