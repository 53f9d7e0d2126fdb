use super::*;
use proptest::prelude::*;
use std::io::{Read, Write};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message as Oracle};

const LIMITS: FrameLimits = FrameLimits { frame_bytes: 4096, message_bytes: 8192, fragments: 8 };

/// A decoded frame, owned.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Violation(CloseReason),
}

/// Feeds `bytes` in pieces of `piece` bytes.
fn decode(bytes: &[u8], piece: usize) -> Vec<Seen> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        let mut part = part.to_vec();
        let mut input = Input::new(&mut part);
        loop {
            match decoder.next(&mut input, LIMITS, Moment::ZERO) {
                Frame::Incomplete => break,
                Frame::Text(text) => seen.push(Seen::Text(text.to_owned())),
                Frame::Binary(bytes) => seen.push(Seen::Binary(bytes.to_vec())),
                Frame::Ping(bytes) => seen.push(Seen::Ping(bytes.to_vec())),
                Frame::Pong => seen.push(Seen::Pong),
                Frame::Close(code) => {
                    seen.push(Seen::Close(code));
                    return seen;
                }
                Frame::Violation(reason) => {
                    seen.push(Seen::Violation(reason));
                    return seen;
                }
            }
        }
        assert!(input.is_empty(), "incomplete means that all input was taken");
    }
    seen
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x9A, 0x00, 0xFF];
    let mut out = vec![first];
    match payload.len() {
        n if n < 126 => out.push(0x80 | n as u8),
        n if n < 65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    out
}

/// Decodes `bytes` whole and in pieces; every split must give the same result.
fn at_every_split(bytes: &[u8]) -> Vec<Seen> {
    let whole = decode(bytes, usize::MAX);
    for piece in 1..=bytes.len().min(64) {
        assert_eq!(decode(bytes, piece), whole, "in pieces of {piece}");
    }
    whole
}

#[test]
fn whole_frames_are_decoded_until_the_close() {
    let mut bytes = frame(0x81, "hé".as_bytes());
    bytes.extend(frame(0x82, &[0, 255, 7]));
    bytes.extend(frame(0x89, b"p"));
    bytes.extend(frame(0x8A, b""));
    bytes.extend(frame(0x88, &[0x03, 0xE8]));
    bytes.extend(frame(0x81, b"never read"));
    assert_eq!(
        at_every_split(&bytes),
        vec![
            Seen::Text("hé".into()),
            Seen::Binary(vec![0, 255, 7]),
            Seen::Ping(b"p".to_vec()),
            Seen::Pong,
            Seen::Close(Some(1000)),
        ]
    );
}

#[test]
fn control_frame_between_fragments_is_accepted() {
    let mut bytes = frame(0x01, b"a\xc3");
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x00, b""));
    bytes.extend(frame(0x80, b"\xa9b"));
    bytes.extend(frame(0x81, b"next"));
    assert_eq!(
        at_every_split(&bytes),
        vec![Seen::Ping(b"ping".to_vec()), Seen::Text("aéb".into()), Seen::Text("next".into())]
    );
}

#[test]
fn idle_decoder_holds_no_memory() {
    let mut decoder = Decoder::default();
    let bytes = frame(0x81, b"hello");
    for part in bytes.chunks(3) {
        let mut part = part.to_vec();
        let mut input = Input::new(&mut part);
        while !matches!(decoder.next(&mut input, LIMITS, Moment::ZERO), Frame::Incomplete) {}
    }
    let mut nothing = [];
    let _ = decoder.next(&mut Input::new(&mut nothing), LIMITS, Moment::ZERO);
    assert_eq!(decoder.bytes(), 0);
}

#[test]
fn announced_length_reserves_no_memory() {
    let mut decoder = Decoder::default();
    let mut bytes = frame(0x82, &[0; 4096]);
    bytes.truncate(10);
    let _ = decoder.next(&mut Input::new(&mut bytes), LIMITS, Moment::from_micros(7));
    assert!(decoder.bytes() < 512);
    assert_eq!(decoder.incomplete_since(), Some(Moment::from_micros(7)));
    // Half a header and half a ping count as well.
    for bytes in [&frame(0x82, b"x")[..1], &frame(0x89, b"ping")[..8]] {
        let mut decoder = Decoder::default();
        let _ = decoder.next(&mut Input::new(&mut bytes.to_vec()), LIMITS, Moment::from_micros(9));
        assert_eq!(decoder.incomplete_since(), Some(Moment::from_micros(9)));
    }
}

#[test]
fn frame_with_two_faults_gets_the_same_error_however_it_is_split() {
    for first in [0x0B, 0x09, 0x83, 0xC1, 0xFB, 0xFE, 0x89, 0x81] {
        for second in [0x00, 0x7E, 0x7F, 0xFE, 0xFF] {
            at_every_split(&[first, second, 0x65, 0xFF, 0, 0, 0xC5, 0x80, 0, 0, 0, 0, 0, 0]);
        }
    }
}

#[test]
fn violation_closes_with_its_code() {
    let unmasked = {
        let mut bytes = vec![];
        crate::wire::server_frame::write(&mut bytes, crate::wire::server_frame::Opcode::Text, b"");
        bytes
    };
    let mut fragments = frame(0x01, b"");
    (0..8).for_each(|_| fragments.extend(frame(0x00, b"")));
    let mut too_long = frame(0x01, &[b'x'; 4096]);
    too_long.extend(frame(0x00, &[b'x'; 4096]));
    too_long.extend(frame(0x80, b"x"));
    let mut nested = frame(0x01, b"a");
    nested.extend(frame(0x81, b"b"));
    let long_form = |form: u8, length: &[u8]| [&[0x82, 0x80 | form], length, &[0; 4]].concat();
    let split_utf8 = [frame(0x01, b"\xc3"), frame(0x80, b"(")].concat();
    let table: Vec<(Vec<u8>, u16)> = vec![
        (unmasked, 1002),
        (frame(0xC1, b"a"), 1002),
        (frame(0xA1, b"a"), 1002),
        (frame(0x91, b"a"), 1002),
        (frame(0x83, b"a"), 1002),
        (frame(0x8B, b"a"), 1002),
        (frame(0x09, b"a"), 1002),
        (frame(0x89, &[0; 126]), 1002),
        (frame(0x80, b"a"), 1002),
        (nested, 1002),
        (frame(0x88, b"a"), 1002),
        (long_form(126, &[0, 125]), 1002),
        (long_form(127, &[0, 0, 0, 0, 0, 0, 255, 255]), 1002),
        (long_form(127, &[255; 8]), 1002),
        (frame(0x88, &[0x03, 0xED]), 1002),
        (frame(0x88, &[0, 0]), 1002),
        (frame(0x88, &[0x03, 0xE8, 0xFF]), 1007),
        (frame(0x81, b"\xff"), 1007),
        (split_utf8, 1007),
        (frame(0x82, &[0; 4097]), 1009),
        (too_long, 1009),
        (fragments, 1009),
    ];
    for (bytes, code) in table {
        match at_every_split(&bytes).last() {
            Some(Seen::Violation(reason)) => assert_eq!(reason.code(), code, "{reason:?}"),
            other => panic!("{other:?} for {:?}", &bytes[..bytes.len().min(20)]),
        }
    }
}

/// A finite stream that tungstenite reads from; it discards what is written.
struct Memory(std::io::Cursor<Vec<u8>>);

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(into) {
            Ok(0) => Err(std::io::ErrorKind::WouldBlock.into()),
            read => read,
        }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The result of tungstenite's decoder for the same bytes; `Err` holds the frames before its error.
fn oracle(bytes: &[u8]) -> Result<Vec<Seen>, Vec<Seen>> {
    let config = WebSocketConfig::default().max_frame_size(Some(4096)).max_message_size(Some(8192));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut stream = Memory(std::io::Cursor::new(bytes.to_vec()));
    let mut seen = Vec::new();
    loop {
        match context.read(&mut stream) {
            Ok(Oracle::Text(text)) => seen.push(Seen::Text(text.as_str().to_owned())),
            Ok(Oracle::Binary(bytes)) => seen.push(Seen::Binary(bytes.to_vec())),
            Ok(Oracle::Ping(bytes)) => seen.push(Seen::Ping(bytes.to_vec())),
            Ok(Oracle::Pong(_)) => seen.push(Seen::Pong),
            Ok(Oracle::Close(frame)) => {
                seen.push(Seen::Close(frame.map(|frame| frame.code.into())));
                return Ok(seen);
            }
            Ok(Oracle::Frame(_)) => return Err(seen),
            Err(Error::Io(_)) => return Ok(seen),
            Err(_) => return Err(seen),
        }
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        6 => "[a-zé]{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..300),
        1 => prop::collection::vec(any::<u8>(), 4000..4200),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

proptest! {
    /// tungstenite decodes the same frames, however they are split.
    #[test]
    fn agrees_with_tungstenite(frames in prop::collection::vec(any_frame(), 1..8), piece in 1usize..600) {
        let bytes = frames.concat();
        let ours = decode(&bytes, piece);
        let (ours, failed) = match ours.split_last() {
            Some((Seen::Violation(_), before)) => (before.to_vec(), true),
            _ => (ours, false),
        };
        match oracle(&bytes) {
            // tungstenite answers a forbidden close code by itself and reports a close, not an error.
            Ok(theirs) if failed => {
                prop_assert!(matches!(theirs.last(), Some(Seen::Close(_))));
                prop_assert_eq!(&ours[..], &theirs[..theirs.len() - 1]);
            }
            Ok(theirs) => prop_assert_eq!(&ours, &theirs),
            Err(theirs) => {
                prop_assert_eq!(ours, theirs);
                prop_assert!(failed);
            }
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1usize..100) {
        let _ = decode(&bytes, piece);
    }
}
