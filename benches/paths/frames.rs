//! Frames in and out: the work of an echo.

use super::{Path, text_frame};
use seawall::clock::Moment;
use seawall::limits::Limits;
use seawall::wire::frames::{Decoder, Frame, FrameLimits, Input};
use seawall::wire::outbox::{Arena, Outbox};
use seawall::wire::server_frame::{self, Opcode};
use std::hint::black_box;

const NOW: Moment = Moment::from_micros(3_600_000_000);

fn limits() -> FrameLimits {
    FrameLimits::from(&Limits::default())
}

/// A text of this many bytes.
pub fn text(bytes: usize) -> String {
    "The quick brown fox jumps over the lazy dog. ".chars().cycle().take(bytes).collect()
}

/// Decodes a text frame that arrived in one read.
pub struct Decode<const BYTES: usize> {
    decoder: Decoder,
    bytes: Vec<u8>,
    limits: FrameLimits,
}

impl<const BYTES: usize> Path for Decode<BYTES> {
    fn prepare() -> Decode<BYTES> {
        Decode { decoder: Decoder::default(), bytes: text_frame(&text(BYTES)), limits: limits() }
    }

    fn once(&mut self) {
        let mut input = Input::new(black_box(&mut self.bytes));
        let frame = self.decoder.next(&mut input, self.limits, NOW);
        assert!(matches!(black_box(frame), Frame::Text(text) if text.len() == BYTES));
        assert_eq!(self.decoder.next(&mut input, self.limits, NOW), Frame::Incomplete);
    }
}

/// Decodes a text frame that arrived in two reads.
pub struct DecodeSplit<const BYTES: usize>(Decode<BYTES>);

impl<const BYTES: usize> Path for DecodeSplit<BYTES> {
    fn prepare() -> DecodeSplit<BYTES> {
        DecodeSplit(Decode::prepare())
    }

    fn once(&mut self) {
        let Decode { decoder, bytes, limits } = &mut self.0;
        let middle = bytes.len() / 2;
        let (one, other) = black_box(bytes).split_at_mut(middle);
        let mut input = Input::new(one);
        assert_eq!(decoder.next(&mut input, *limits, NOW), Frame::Incomplete);
        let mut input = Input::new(other);
        let frame = decoder.next(&mut input, *limits, NOW);
        assert!(matches!(black_box(frame), Frame::Text(text) if text.len() == BYTES));
        assert_eq!(decoder.next(&mut input, *limits, NOW), Frame::Incomplete);
    }
}

/// Decodes a frame, writes it into the arena, and lets the kernel take it in one slice.
pub struct Echo<const BYTES: usize> {
    decode: Decode<BYTES>,
    arena: Arena,
    outbox: Outbox,
}

impl<const BYTES: usize> Path for Echo<BYTES> {
    fn prepare() -> Echo<BYTES> {
        let mut path = Echo { decode: Decode::prepare(), arena: Arena::default(), outbox: Outbox::default() };
        path.once();
        path
    }

    fn once(&mut self) {
        let Decode { decoder, bytes, limits } = &mut self.decode;
        let (start, out) = Outbox::mark(&mut self.arena);
        let mut input = Input::new(black_box(bytes));
        while let Frame::Text(text) = decoder.next(&mut input, *limits, NOW) {
            server_frame::write(out, Opcode::Text, text.as_bytes());
        }
        self.outbox.push_from(&self.arena, start);
        let taken = self.outbox.single(&self.arena).map_or(0, <[u8]>::len);
        self.outbox.advance(black_box(taken));
        self.arena.clear(64 << 10);
        assert!(taken > BYTES && self.outbox.is_empty());
    }
}
