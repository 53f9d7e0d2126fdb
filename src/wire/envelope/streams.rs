//! The bodies of messages about streams.

use super::fault::EnvelopeFault;
use crate::id::{ChannelName, Offset};
use crate::wire::server_frame;
use crate::wire::stream::{Generation, News, Position, StreamId, StreamNews, StreamState};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

/// All of an entry before its frames.
const ENTRY_BYTES: usize = 26;

const PIECES: u8 = 0;
const RESTARTED: u8 = 1;
const STATE: u8 = 2;

pub(super) fn write_entry(out: &mut Vec<u8>, news: &StreamNews) {
    let (kind, state, at, next) = match &news.news {
        News::Pieces { at, next, .. } => (PIECES, 0, *at, *next),
        News::Restarted(_) => (RESTARTED, 0, Position::ZERO, Position::ZERO),
        News::State(state, _) => (STATE, state.code(), Position::ZERO, Position::ZERO),
    };
    let frames = news.news.frames();
    out.extend_from_slice(&news.id.offset.0.to_le_bytes());
    out.extend_from_slice(&news.generation.0.to_le_bytes());
    out.extend_from_slice(&[kind, state]);
    out.extend_from_slice(&at.0.to_le_bytes());
    out.extend_from_slice(&next.0.to_le_bytes());
    out.extend_from_slice(&u32::try_from(frames.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(frames);
}

/// Reads changes of streams of this channel.
pub(super) fn entries(mut body: &[u8], channel: &ChannelName) -> Result<Vec<StreamNews>, EnvelopeFault> {
    let mut news = Vec::new();
    while !body.is_empty() {
        let (head, rest) = body.split_at_checked(ENTRY_BYTES).ok_or(EnvelopeFault::Length)?;
        let number = |at: usize| {
            head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        let (frames, rest) = rest.split_at_checked(number(22) as usize).ok_or(EnvelopeFault::Length)?;
        let offset = Offset(u64::from(number(4)) << 32 | u64::from(number(0)));
        let entry = StreamEntry {
            channel,
            offset,
            generation: Generation(number(8)),
            at: Position(number(14)),
            next: Position(number(18)),
            frames,
        };
        let (kind, state) = (head.get(12).copied(), head.get(13).copied());
        let id = StreamId { channel: channel.clone(), offset };
        news.push(StreamNews { id, generation: entry.generation, news: entry.news(kind, state)? });
        body = rest;
    }
    Ok(news)
}

/// One entry, before its frames are compared with what it says.
struct StreamEntry<'a> {
    channel: &'a ChannelName,
    offset: Offset,
    generation: Generation,
    at: Position,
    next: Position,
    frames: &'a [u8],
}

impl StreamEntry<'_> {
    fn news(&self, kind: Option<u8>, state: Option<u8>) -> Result<News, EnvelopeFault> {
        let frames = || Arc::from(self.frames);
        let is_nowhere = self.at == Position::ZERO && self.next == Position::ZERO;
        let (news, is_right) = match (kind, state) {
            (Some(PIECES), Some(0)) => {
                (News::Pieces { at: self.at, next: self.next, frames: frames() }, self.has_pieces())
            }
            (Some(RESTARTED), Some(0)) if is_nowhere => {
                (News::Restarted(frames()), self.is_one(|frame| frame.at == Some(0)))
            }
            (Some(STATE), Some(code)) if is_nowhere => {
                let state = StreamState::of_code(code.into()).ok_or(EnvelopeFault::Kind)?;
                let word = Some(state.word());
                let is_right = self.is_one(|frame| frame.at.is_none() && frame.state.as_deref() == word);
                (News::State(state, frames()), is_right)
            }
            (Some(_) | None, _) => return Err(EnvelopeFault::Kind),
        };
        if is_right { Ok(news) } else { Err(EnvelopeFault::Frame) }
    }

    /// True exactly when the frames are whole, and adjoin from `at` to `next`.
    fn has_pieces(&self) -> bool {
        let (mut reached, mut bytes) = (self.at.0, 0);
        for frame in server_frame::split(self.frames) {
            match self.head(frame) {
                Some(StreamHead { at: Some(at), next: Some(next), .. }) if at == reached && next > at => {
                    (reached, bytes) = (next, bytes + frame.len());
                }
                Some(_) | None => return false,
            }
        }
        self.at < self.next && reached == self.next.0 && bytes == self.frames.len()
    }

    fn is_one(&self, is_right: impl Fn(&StreamHead<'_>) -> bool) -> bool {
        self.head(self.frames).is_some_and(|head| is_right(&head))
    }

    /// The head of exactly one frame about this stream.
    fn head<'f>(&self, frame: &'f [u8]) -> Option<StreamHead<'f>> {
        let StreamPush { stream } = serde_json::from_slice(server_frame::text(frame)?).ok()?;
        let is_here = stream.channel == self.channel.as_str() && stream.offset == self.offset.0;
        (is_here && stream.generation == self.generation.0).then_some(stream)
    }
}

/// The members of a push `stream` that a reader compares.
#[derive(Deserialize)]
struct StreamPush<'a> {
    #[serde(borrow)]
    stream: StreamHead<'a>,
}

#[derive(Deserialize)]
struct StreamHead<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    offset: u64,
    #[serde(rename = "gen")]
    generation: u32,
    at: Option<u32>,
    next: Option<u32>,
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
}

pub(super) fn write_hint(out: &mut Vec<u8>, id: &StreamId) {
    out.extend_from_slice(&id.offset.0.to_le_bytes());
    out.extend_from_slice(id.channel.as_str().as_bytes());
}

pub(super) fn hint(body: &[u8]) -> Option<StreamId> {
    let (offset, name) = body.split_first_chunk::<8>()?;
    let channel = ChannelName::parse_any(std::str::from_utf8(name).ok()?).ok()?;
    Some(StreamId { channel, offset: Offset(u64::from_le_bytes(*offset)) })
}
