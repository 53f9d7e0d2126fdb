//! Adjoining pieces of one generation: joined text, and events between its bytes.

use super::settings::EVENT_BYTES;
use crate::wire::stream::{EventKind, Position};

/// An event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEvent {
    pub at: Position,
    pub kind: EventKind,
    /// JSON, byte for byte as received.
    pub data: Box<str>,
}

/// A part of [`Pieces`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceEntry<'a> {
    Text { at: Position, text: &'a str },
    Event(&'a StreamEvent),
}

/// Pieces that adjoin, from one position to another. Tokens that arrive one after the other are one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    at: usize,
    text: String,
    /// In the order of their positions.
    events: Vec<StreamEvent>,
    event_bytes: usize,
}

/// A position from the sum of lengths, which bounds keep far below 2^32.
pub(super) fn position(sum: usize) -> Position {
    Position(u32::try_from(sum).unwrap_or(u32::MAX))
}

impl Pieces {
    /// No pieces, at this position.
    pub(super) fn empty(at: usize) -> Pieces {
        Pieces { at, ..Pieces::default() }
    }

    /// The position of the first piece.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The position after the last piece.
    pub(super) fn next(&self) -> usize {
        self.at + self.text.len() + self.events.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.events.is_empty()
    }

    /// The bytes that the pieces take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.event_bytes
    }

    pub(super) fn push_text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) fn push_event(&mut self, kind: EventKind, data: Box<str>) {
        self.event_bytes += data.len() + EVENT_BYTES;
        self.events.push(StreamEvent { at: position(self.next()), kind, data });
    }

    /// Adds pieces that begin where these end.
    pub(super) fn extend(&mut self, later: Pieces) {
        self.text.push_str(&later.text);
        self.event_bytes += later.event_bytes;
        self.events.extend(later.events);
    }

    /// Text and events in order.
    pub fn entries(&self) -> impl Iterator<Item = PieceEntry<'_>> {
        let texts = (0..=self.events.len()).map(|index| {
            let start = match index.checked_sub(1).and_then(|before| self.events.get(before)) {
                Some(event) => event.at.0 as usize + 1,
                None => self.at,
            };
            let end = self.events.get(index).map_or(self.next(), |event| event.at.0 as usize);
            let bytes = start - self.at - index..end - self.at - index;
            (position(start), self.text.get(bytes).unwrap_or_default())
        });
        let events = self.events.iter().map(Some).chain([None]);
        texts.zip(events).flat_map(|((at, text), event)| {
            let text = (!text.is_empty()).then_some(PieceEntry::Text { at, text });
            text.into_iter().chain(event.map(PieceEntry::Event))
        })
    }

    /// The pieces from a position on; `None` if it is inside a character or beyond the end.
    pub(super) fn after(&self, at: usize) -> Option<Pieces> {
        let known = self.events.partition_point(|event| (event.at.0 as usize) < at);
        let start = at.checked_sub(self.at)?.checked_sub(known)?;
        let events = self.events.get(known..)?;
        Some(Pieces {
            at,
            text: self.text.get(start..)?.to_string(),
            events: events.to_vec(),
            event_bytes: events.iter().map(|event| event.data.len() + EVENT_BYTES).sum(),
        })
    }

    /// True if the text at this position, as far as it is within these pieces, begins with these bytes.
    pub(super) fn has_text(&self, at: usize, text: &[u8]) -> bool {
        has_no_event(&self.events, at, text.len())
            && at.checked_sub(self.at + events_before(&self.events, at)).is_some_and(|start| {
                let known = self.text.as_bytes().get(start..).unwrap_or_default();
                known.get(..text.len()).is_some_and(|known| known == text)
            })
    }

    /// True if this event is at this position.
    pub(super) fn has_event(&self, at: usize, kind: &EventKind, data: &str) -> bool {
        has_event(&self.events, at, kind, data)
    }
}

/// The number of events below a position.
pub(super) fn events_before(events: &[StreamEvent], at: usize) -> usize {
    events.partition_point(|event| (event.at.0 as usize) < at)
}

/// True if no event is at one of `length` positions.
pub(super) fn has_no_event(events: &[StreamEvent], at: usize, length: usize) -> bool {
    events.get(events_before(events, at)).is_none_or(|event| event.at.0 as usize >= at + length)
}

/// True if this event is at this position.
pub(super) fn has_event(events: &[StreamEvent], at: usize, kind: &EventKind, data: &str) -> bool {
    events
        .get(events_before(events, at))
        .is_some_and(|event| event.at.0 as usize == at && event.kind == *kind && *event.data == *data)
}
