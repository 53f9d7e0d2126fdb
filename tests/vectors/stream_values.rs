//! The values of `pushes.json` that are about streams.

use seawall::id::{ChannelName, CommandId, Offset};
use seawall::wire::push::{self, CommandError};
use seawall::wire::stream::{
    BegunStream, Generation, Position, StreamEnd, StreamFault, StreamId, StreamMark, StreamOutcome,
    StreamState, WholeStream,
};
use serde::Deserialize;

/// The stream of a `published`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BegunValue {
    r#gen: u32,
    next: u32,
    state: Option<String>,
    edit: Option<u64>,
}

/// A stream and a place in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReachedValue {
    /// Absent in the push `appended`.
    id: Option<u64>,
    channel: String,
    offset: u64,
    r#gen: u32,
    next: u32,
}

/// The stream of an `error`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultyStreamValue {
    channel: String,
    offset: u64,
    r#gen: Option<u32>,
    gap: Option<u32>,
    diverged: Option<u32>,
    state: Option<String>,
    edit: Option<u64>,
}

impl BegunValue {
    pub(super) fn begun(&self) -> BegunStream {
        let ended = self.state.as_deref().zip(self.edit).map(|(state, edit)| (end_of(state), Offset(edit)));
        BegunStream { generation: Generation(self.r#gen), next: Position(self.next), ended }
    }
}

impl ReachedValue {
    /// Encodes the push if there is no id, else the reply of this kind.
    pub(super) fn encode(&self, out: &mut Vec<u8>, outcome: fn(Generation, Position) -> StreamOutcome) {
        let stream = stream_id(&self.channel, self.offset);
        let (generation, next) = (Generation(self.r#gen), Position(self.next));
        match self.id {
            None => push::appended(out, &stream, generation, next),
            Some(id) => push::stream_answered(out, CommandId(id), &stream, &outcome(generation, next)),
        }
    }
}

impl FaultyStreamValue {
    pub(super) fn encode(&self, out: &mut Vec<u8>, id: Option<CommandId>, error: &CommandError<'_>) {
        let ended = self.state.as_deref().zip(self.edit);
        let fault = match (self.r#gen, self.gap, self.diverged, ended) {
            (Some(number), None, None, None) => Some(StreamFault::Stale { generation: Generation(number) }),
            (None, Some(next), None, None) => Some(StreamFault::Gap { next: Position(next) }),
            (None, None, Some(next), None) => Some(StreamFault::Diverged { next: Position(next) }),
            (None, None, None, Some((state, edit))) => {
                Some(StreamFault::AlreadyEnded { end: end_of(state), edit: Offset(edit) })
            }
            (None, None, None, None) => None,
            _ => panic!("one fault at a time"),
        };
        push::stream_error(out, id, &stream_id(&self.channel, self.offset), fault.as_ref(), error);
    }
}

pub(super) fn stream_id(channel: &str, offset: u64) -> StreamId {
    let channel = ChannelName::parse(channel).expect("a channel's name");
    StreamId { channel, offset: Offset(offset) }
}

pub(super) fn end_of(word: &str) -> StreamEnd {
    StreamEnd::ALL.into_iter().find(|end| end.word() == word).expect("an end")
}

/// The mark with this word.
pub(super) fn mark(word: Option<&str>) -> StreamMark {
    StreamMark::ALL.into_iter().find(|mark| mark.word() == word).expect("a mark")
}

/// A stream with this frame; the frame alone is encoded.
pub(super) fn whole(frame: Vec<u8>) -> WholeStream {
    let (generation, next) = (Generation::FIRST, Position::ZERO);
    WholeStream {
        id: stream_id("c1", 1),
        generation,
        next,
        state: StreamState::Streaming,
        frame: frame.into(),
    }
}
