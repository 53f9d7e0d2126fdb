//! WebSocket frames of a client, split by the network in any way.
//!
//! The input's first byte chooses the bounds, its second the pieces; the rest is the received bytes. Checked properties:
//! the same events for every split; nothing after a close or a violation; no more bytes held than were received; no
//! message over the bounds; text is valid UTF-8.

use seawall::clock::Moment;
use seawall::close::CloseReason;
use seawall::limits::Limits;
use seawall::wire::frames::{Decoder, Frame, FrameLimits, Input};

const SMALL: FrameLimits = FrameLimits { frame_bytes: 200, message_bytes: 300, fragments: 4 };
/// The memory a decoder may hold in addition to received bytes: its own fixed part and a vector's first growth.
const OWN_BYTES_MAX: usize = 512;

/// An event of the decoder, owned.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Violation(CloseReason),
}

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let [bounds, cuts, stream @ ..] = bytes else { return };
    let limits = if bounds % 2 == 0 { SMALL } else { FrameLimits::from(&Limits::default()) };
    let whole = decode(stream, limits, || usize::MAX);
    check_bounds(&whole, limits);
    assert_eq!(decode(stream, limits, || 1), whole, "byte by byte");
    let mut random = fastrand::Rng::with_seed(u64::from(*cuts));
    for most in [3, 9, 40] {
        assert_eq!(decode(stream, limits, || random.usize(1..=most)), whole, "in pieces of up to {most}");
    }
}

/// Feeds `stream` in pieces of the sizes that `piece` returns.
fn decode(stream: &[u8], limits: FrameLimits, mut piece: impl FnMut() -> usize) -> Vec<Seen> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(piece().min(rest.len()));
        rest = after;
        let mut part = part.to_vec();
        let mut input = Input::new(&mut part);
        loop {
            let next = match decoder.next(&mut input, limits, Moment::from_micros(7)) {
                Frame::Incomplete => break,
                Frame::Text(text) => Seen::Text(text.to_owned()),
                Frame::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                Frame::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                Frame::Pong => Seen::Pong,
                Frame::Close(code) => Seen::Close(code),
                Frame::Violation(reason) => Seen::Violation(reason),
            };
            let over = matches!(next, Seen::Close(_) | Seen::Violation(_));
            seen.push(next);
            if over {
                return seen;
            }
        }
        assert!(input.is_empty(), "an incomplete frame leaves no input");
        let received = stream.len() - rest.len();
        assert!(decoder.bytes() <= OWN_BYTES_MAX + 2 * received, "{} of {received}", decoder.bytes());
        assert!(decoder.bytes() <= OWN_BYTES_MAX + 2 * limits.message_bytes as usize);
        assert!(decoder.incomplete_since().is_none() || decoder.bytes() > 0);
    }
    seen
}

fn check_bounds(seen: &[Seen], limits: FrameLimits) {
    for event in seen {
        match event {
            Seen::Text(text) => assert!(text.len() <= limits.message_bytes as usize),
            Seen::Binary(bytes) => assert!(bytes.len() <= limits.message_bytes as usize),
            Seen::Ping(payload) => assert!(payload.len() <= 125),
            Seen::Close(code) => assert!(code.is_none_or(|code| (1000..5000).contains(&code))),
            Seen::Violation(reason) => assert!(matches!(reason.code(), 1002 | 1007 | 1009)),
            Seen::Pong => {}
        }
    }
}
