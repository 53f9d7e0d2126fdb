//! Every violation of RFC 6455 is closes_with with its close code, and the close arrives.

use crate::support::frame::{BINARY, CONTINUATION, PING, TEXT};
use crate::support::wait::LATE;
use crate::support::{Closed, Frame, Gateway, RawClient, Setup};

/// Bytes sent after a violation: more than one read, less than the gateway discards while it lingers.
static GARBAGE: [u8; 100_000] = [0x5A; 100_000];

fn after(gateway: &Gateway, frames: &[Frame]) -> Closed {
    let mut client = RawClient::connected(gateway);
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    client.write(&bytes);
    client.expect_close()
}

/// The same with garbage in the same write: the close frame must still arrive.
fn after_with_garbage(gateway: &Gateway, frames: &[Frame]) -> Closed {
    let mut client = RawClient::connected(gateway);
    let mut bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    bytes.extend(GARBAGE);
    // The gateway may close before all of it is written.
    let _ = client.try_write(&bytes);
    client.expect_close()
}

#[track_caller]
fn closes_with(gateway: &Gateway, code: u16, frames: &[Frame]) {
    for closed in [after(gateway, frames), after_with_garbage(gateway, frames)] {
        assert_eq!(closed.code, code, "{closed:?} after {frames:?}");
        assert!(closed.bye.is_none(), "a protocol error is closed without bye: {closed:?}");
    }
}

#[test]
fn unmasked_frame_or_reserved_bits_or_opcode_is_a_protocol_error() {
    let gateway = Gateway::start();
    closes_with(&gateway, 1002, &[Frame::text("{}").unmasked()]);
    for bits in 1..=7 {
        closes_with(&gateway, 1002, &[Frame::text("{}").reserved(bits)]);
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        closes_with(&gateway, 1002, &[Frame::new(opcode, "x")]);
    }
}

#[test]
fn long_or_fragmented_control_frame_is_a_protocol_error() {
    let gateway = Gateway::start();
    closes_with(&gateway, 1002, &[Frame::new(PING, [b'x'; 126])]);
    closes_with(&gateway, 1002, &[Frame::new(PING, "x").declaring(1 << 40)]);
    closes_with(&gateway, 1002, &[Frame::new(PING, "x").unfinished()]);
}

#[test]
fn fragment_out_of_order_is_a_protocol_error() {
    let gateway = Gateway::start();
    closes_with(&gateway, 1002, &[Frame::new(CONTINUATION, "x")]);
    closes_with(&gateway, 1002, &[Frame::text("{").unfinished(), Frame::text("}")]);
    closes_with(&gateway, 1002, &[Frame::text("{").unfinished(), Frame::new(BINARY, "}")]);
    closes_with(
        &gateway,
        1002,
        &[Frame::text("{}").unfinished(), Frame::new(CONTINUATION, ""), Frame::new(CONTINUATION, "")],
    );
}

#[test]
fn invalid_utf8_is_closed_with_1007() {
    let gateway = Gateway::start();
    let euro = "€".as_bytes();
    closes_with(&gateway, 1007, &[Frame::text([0xFF])]);
    closes_with(&gateway, 1007, &[Frame::text([0xC0, 0xAF])]);
    closes_with(&gateway, 1007, &[Frame::text([0xED, 0xA0, 0x80])]);
    closes_with(&gateway, 1007, &[Frame::text(&euro[..2])]);
    closes_with(&gateway, 1007, &[Frame::text(&euro[..2]).unfinished(), Frame::new(CONTINUATION, "x")]);
    // A character split between two fragments is valid; the text is then only not a command.
    let mut client = RawClient::connected(&gateway);
    client.send(&Frame::text([b"\"", &euro[..1]].concat()).unfinished());
    client.send(&Frame::new(CONTINUATION, [&euro[1..], b"\""].concat()));
    assert_eq!(client.next_json()["error"]["code"], "malformed");
}

#[test]
fn first_message_has_room_for_a_connect_and_no_more() {
    let gateway = Gateway::start();
    let mut stranger = RawClient::upgraded(&gateway, "/ws");
    stranger.send(&Frame::text("x".repeat(37 << 10)));
    let closed = stranger.expect_close();
    assert_eq!((closed.code, closed.reason.contains("the bound of connect")), (1009, true), "{closed:?}");
    let data = "x".repeat(60_000);
    let publish = format!(r#"{{"id":2,"publish":{{"channel":"c","data":"{data}"}}}}"#);
    let mut eager = RawClient::upgraded(&gateway, "/ws");
    let frames = [Frame::text(r#"{"id":1,"connect":{}}"#), Frame::text(&publish)];
    eager.write(&frames.iter().flat_map(Frame::bytes).collect::<Vec<u8>>());
    assert_eq!(eager.next_json()["id"], 1);
    assert_eq!(eager.next_json()["published"]["offset"], 1);
}

#[test]
fn too_large_message_is_refused_by_its_header() {
    let gateway = Gateway::start();
    for length in [65_537, 1 << 20, 1 << 40, u64::MAX >> 1] {
        for opcode in [TEXT, BINARY] {
            let mut client = RawClient::connected(&gateway);
            client.send(&Frame::new(opcode, "").declaring(length));
            assert_eq!(client.expect_close().code, 1009, "{length}");
        }
    }
    // RFC 6455 section 5.2: the top bit must be zero.
    closes_with(&gateway, 1002, &[Frame::text("").declaring(u64::MAX)]);
    let part = Frame::text([b' '; 40_000]).unfinished();
    let rest = Frame::new(CONTINUATION, [b' '; 40_000]);
    closes_with(&gateway, 1009, &[part, rest]);
}

#[test]
fn message_of_endless_fragments_is_closed() {
    let gateway = Gateway::start();
    let mut flood = vec![Frame::text("").unfinished()];
    flood.resize(1_100, Frame::new(CONTINUATION, "").unfinished());
    assert_eq!(after(&gateway, &flood).code, 1009);
    let gateway = Setup::new().limit("message_ms", 400).start();
    after(&gateway, &[Frame::text("{").unfinished()]).is(4408, "message_timeout");
}

#[test]
fn binary_message_outside_echo_is_misuse() {
    let gateway = Gateway::start();
    after(&gateway, &[Frame::new(BINARY, "{}")]).is(4500, "misuse");
}

#[test]
fn flood_of_pings_is_closed() {
    let gateway = Gateway::start();
    let mut client = RawClient::connected(&gateway);
    let flood: Vec<u8> = (0..200).flat_map(|_| Frame::new(PING, "flood").bytes()).collect();
    client.write(&flood);
    client.expect_close().is(4429, "rate_limited");
}

#[test]
fn close_frame_is_checked_and_answered() {
    let gateway = Gateway::start();
    for code in [1000, 1001, 1011, 3000, 4000, 4999] {
        let closed = after(&gateway, &[Frame::close(code, "done")]);
        assert_eq!(closed.code, code);
        assert!(closed.bye.is_none());
    }
    assert!([1000, 1005].contains(&after(&gateway, &[Frame::new(0x8, "")]).code));
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_eq!(after(&gateway, &[Frame::close(code, "")]).code, 1002, "{code}");
    }
    assert_eq!(after(&gateway, &[Frame::new(0x8, "x")]).code, 1002, "half a code");
    let bad_reason = [&1000u16.to_be_bytes()[..], &[0xFF]].concat();
    assert_eq!(after(&gateway, &[Frame::new(0x8, bad_reason)]).code, 1007);
}

#[test]
fn frames_after_a_close_frame_are_ignored() {
    let gateway = Gateway::start();
    let mut client = RawClient::connected(&gateway);
    let publish = Frame::text(r#"{"id":7,"publish":{"channel":"c","data":1}}"#);
    client.write(&[Frame::close(1000, "").bytes(), publish.bytes()].concat());
    assert_eq!(client.expect_close().code, 1000);
    let mut other = crate::support::Client::connect(&gateway);
    let page = other.ask(serde_json::json!({"history": {"channel": "c"}}), "history");
    assert_eq!(page["head"], 0);
}

#[test]
fn vanished_client_is_cleaned_up() {
    let gateway = Gateway::start();
    for end in [0, 1, 2, 5, 20] {
        let mut client = RawClient::connected(&gateway);
        let frame = Frame::text(r#"{"id":7,"history":{"channel":"c"}}"#).bytes();
        client.write(&frame[..end]);
        client.stop_sending();
        client.drain();
    }
    // The scrape is a connection too.
    crate::support::until(crate::support::SOON, "all connections are closed", || {
        gateway.metric("seawall_connections") <= 1.0
    });
}

#[test]
fn frame_sent_byte_by_byte_is_closed_in_time() {
    let gateway = Setup::new().limit("message_ms", 500).start();
    let mut client = RawClient::connected(&gateway);
    let frame = Frame::text([b' '; 2_000]).bytes();
    let start = std::time::Instant::now();
    for byte in frame {
        if !client.is_quiet_for(std::time::Duration::from_millis(20)) || client.try_write(&[byte]).is_err() {
            break;
        }
        assert!(start.elapsed().as_secs() < 20, "{LATE}: single bytes do not extend the deadline");
    }
    client.expect_close().is(4408, "message_timeout");
}
