//! The pace of a thread: how much text it may send to a stream before it knows that the rest is committed.
//!
//! The owner of a stream refuses text above twice its window, and asks for a pause at the window. A connection is slow to read, so the
//! pause comes in time. A thread is not: it could fill the queue before the first piece is looked at. So it sends at most one window, then
//! asks whether all of that is committed, and waits for the answer.

use crate::wire::stream::StreamId;
use std::collections::BTreeMap;

/// Streams of one thread that are paced. Above it the first is forgotten: its owner still refuses what does not fit.
const STREAMS_MAX: usize = 256;
/// Counted for a piece in addition to its bytes.
const PIECE_BYTES: usize = 64;

/// The text on its way to each stream.
#[derive(Debug, Default)]
pub(super) struct TextPace {
    streams: BTreeMap<StreamId, OnItsWay>,
}

#[derive(Debug, Default)]
struct OnItsWay {
    bytes: usize,
    /// The ticket of the question if they are committed.
    asked: Option<u16>,
}

/// The verdict on a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PaceVerdict {
    Send,
    /// Ask for the commit of what was sent.
    Ask,
    /// The answer has not come.
    Wait,
}

impl TextPace {
    /// Judges a piece of this many bytes.
    pub(super) fn judge(&self, id: &StreamId, bytes: usize, window: usize) -> PaceVerdict {
        match self.streams.get(id) {
            Some(OnItsWay { asked: Some(_), .. }) => PaceVerdict::Wait,
            Some(way) if way.bytes + bytes + PIECE_BYTES > window => PaceVerdict::Ask,
            Some(_) | None => PaceVerdict::Send,
        }
    }

    /// Notes a piece that was sent.
    pub(super) fn sent(&mut self, id: &StreamId, bytes: usize) {
        if let Some(way) = self.streams.get_mut(id) {
            way.bytes += bytes + PIECE_BYTES;
            return;
        }
        if self.streams.len() >= STREAMS_MAX {
            self.streams.pop_first();
        }
        self.streams.insert(id.clone(), OnItsWay { bytes: bytes + PIECE_BYTES, asked: None });
    }

    /// Notes the ticket of the question.
    pub(super) fn asked(&mut self, id: &StreamId, ticket: u16) {
        if let Some(way) = self.streams.get_mut(id) {
            way.asked = Some(ticket);
        }
    }

    /// The question was not sent.
    pub(super) fn withdraw(&mut self, ticket: u16) {
        for way in self.streams.values_mut().filter(|way| way.asked == Some(ticket)) {
            way.asked = None;
        }
    }

    /// Takes an answer, whatever it is. True if it is to a question of this.
    pub(super) fn answered(&mut self, ticket: u16) -> bool {
        let before = self.streams.len();
        self.streams.retain(|_, way| way.asked != Some(ticket));
        self.streams.len() < before
    }

    /// True while an answer is awaited.
    pub(super) fn is_waiting(&self) -> bool {
        self.streams.values().any(|way| way.asked.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, Offset};

    fn id(offset: u64) -> StreamId {
        StreamId { channel: ChannelName::parse("c").expect("valid"), offset: Offset(offset) }
    }

    #[test]
    fn window_of_each_stream_is_asked_for_before_more_is_sent() {
        let (mut pace, window) = (TextPace::default(), 1_000);
        assert_eq!(pace.judge(&id(1), 5_000, window), PaceVerdict::Send, "nothing is on its way");
        pace.sent(&id(1), 500);
        assert_eq!(pace.judge(&id(1), 300, window), PaceVerdict::Send);
        assert_eq!(pace.judge(&id(1), 400, window), PaceVerdict::Ask);
        pace.asked(&id(1), 7);
        assert_eq!((pace.judge(&id(1), 1, window), pace.is_waiting()), (PaceVerdict::Wait, true));
        assert_eq!(pace.judge(&id(2), 400, window), PaceVerdict::Send, "another stream has its own");
        assert!(!pace.answered(8) && pace.answered(7) && !pace.answered(7));
        assert_eq!((pace.judge(&id(1), 400, window), pace.is_waiting()), (PaceVerdict::Send, false));
    }

    #[test]
    fn number_of_paced_streams_is_bounded() {
        let mut pace = TextPace::default();
        (0..2 * STREAMS_MAX as u64).for_each(|offset| pace.sent(&id(offset), 1));
        assert_eq!(pace.streams.len(), STREAMS_MAX);
    }
}
