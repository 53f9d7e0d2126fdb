//! Commands: parsing text to values.

use super::{Path, text_frame};
use seawall::clock::Moment;
use seawall::limits::Limits;
use seawall::wire::command::{self, Command, CommandBounds};
use seawall::wire::frames::{Decoder, Frame, FrameLimits, Input};
use std::hint::black_box;

/// A `publish` as a chat client sends it.
pub const PUBLISH: &str = r#"{"id":4,"publish":{"channel":"room:lobby","key":"01J9ZK5M7Q8R3S6T4V2W1X0Y9Z","data":{"text":"The quick brown fox jumps over the lazy dog."}}}"#;
const SUBSCRIBE: &str =
    r#"{"id":2,"subscribe":{"channel":"room:lobby","recover":{"epoch":"k3f9","offset":41}}}"#;
const HISTORY: &str = r#"{"id":5,"history":{"channel":"room:lobby","before":58,"limit":50}}"#;

const BOUNDS: CommandBounds = CommandBounds { json_depth: 32, subscriptions: 128 };

fn parsed(text: &str) -> Command<'_> {
    command::parse(text, BOUNDS).expect("a good command").command
}

/// Parses a `publish`.
pub struct ParsePublish;

impl Path for ParsePublish {
    fn prepare() -> ParsePublish {
        ParsePublish
    }

    fn once(&mut self) {
        assert!(matches!(black_box(parsed(black_box(PUBLISH))), Command::Publish(_)));
    }
}

/// Parses a `subscribe`.
pub struct ParseSubscribe;

impl Path for ParseSubscribe {
    fn prepare() -> ParseSubscribe {
        ParseSubscribe
    }

    fn once(&mut self) {
        assert!(matches!(black_box(parsed(black_box(SUBSCRIBE))), Command::Subscribe(_)));
    }
}

/// Parses a `history`.
pub struct ParseHistory;

impl Path for ParseHistory {
    fn prepare() -> ParseHistory {
        ParseHistory
    }

    fn once(&mut self) {
        assert!(matches!(black_box(parsed(black_box(HISTORY))), Command::History { .. }));
    }
}

/// Decodes a frame and parses its `publish`.
pub struct DecodePublish {
    decoder: Decoder,
    bytes: Vec<u8>,
    limits: FrameLimits,
}

impl Path for DecodePublish {
    fn prepare() -> DecodePublish {
        let limits = FrameLimits::from(&Limits::default());
        DecodePublish { decoder: Decoder::default(), bytes: text_frame(PUBLISH), limits }
    }

    fn once(&mut self) {
        let mut input = Input::new(black_box(&mut self.bytes));
        match self.decoder.next(&mut input, self.limits, Moment::ZERO) {
            Frame::Text(text) => assert!(matches!(black_box(parsed(text)), Command::Publish(_))),
            other => panic!("{other:?}"),
        }
    }
}
