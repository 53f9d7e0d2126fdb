//! The committed text of a generation, shared with readers without copying it.

use super::pieces::{PieceEntry, Pieces, StreamEvent, events_before, has_event, has_no_event, position};
use super::settings::EVENT_BYTES;
use crate::wire::stream::{EventKind, Position};
use std::sync::Arc;
use std::{iter, mem};

/// A text that has this many bytes becomes a block.
const BLOCK_BYTES: usize = 4 << 10;

/// The committed text and events of a generation.
///
/// A clone shares them, but for the last few kilobytes, which it copies: a token is then added without copying what is before it.
#[derive(Clone, Debug, Default)]
pub struct StreamText {
    blocks: Vec<Arc<str>>,
    /// The text after the blocks.
    tail: String,
    events: Arc<Vec<StreamEvent>>,
    text_bytes: usize,
    event_bytes: usize,
}

impl StreamText {
    /// The position after the last piece.
    pub fn next(&self) -> Position {
        position(self.end())
    }

    pub(super) fn end(&self) -> usize {
        self.text_bytes + self.events.len()
    }

    /// The bytes that text and events take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.text_bytes + self.event_bytes
    }

    /// The events in order.
    pub fn events(&self) -> &[StreamEvent] {
        &self.events
    }

    /// The events from a position on.
    pub fn events_from(&self, at: Position) -> &[StreamEvent] {
        self.events.get(events_before(&self.events, at.0 as usize)..).unwrap_or_default()
    }

    /// The text from a position on; `None` if it is inside a character or beyond the end.
    pub fn text_from(&self, at: Position) -> Option<String> {
        let at = at.0 as usize;
        let mut skipped = at.checked_sub(events_before(&self.events, at))?;
        let mut text = String::with_capacity(self.text_bytes.checked_sub(skipped)?);
        for block in self.blocks() {
            let within = skipped.min(block.len());
            text.push_str(block.get(within..)?);
            skipped -= within;
        }
        Some(text)
    }

    fn blocks(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().map(|block| &**block).chain(iter::once(&*self.tail))
    }

    /// Adds pieces that begin where the text ends.
    pub(super) fn extend(&mut self, pieces: &Pieces) {
        for entry in pieces.entries() {
            match entry {
                PieceEntry::Text { text, .. } => self.push_text(text),
                PieceEntry::Event(event) => {
                    self.event_bytes += event.data.len() + EVENT_BYTES;
                    Arc::make_mut(&mut self.events).push(event.clone());
                }
            }
        }
    }

    fn push_text(&mut self, text: &str) {
        self.text_bytes += text.len();
        self.tail.push_str(text);
        if self.tail.len() >= BLOCK_BYTES {
            self.blocks.push(mem::take(&mut self.tail).into());
        }
    }

    /// True if these bytes are the text at this position, without an event between them.
    pub(super) fn has_text(&self, at: usize, text: &[u8]) -> bool {
        if !has_no_event(&self.events, at, text.len()) {
            return false;
        }
        let Some(mut skipped) = at.checked_sub(events_before(&self.events, at)) else { return false };
        let mut rest = text;
        for block in self.blocks() {
            let within = skipped.min(block.len());
            skipped -= within;
            let known = block.as_bytes().get(within..).unwrap_or_default();
            let shared = known.len().min(rest.len());
            if known.get(..shared) != rest.get(..shared) {
                return false;
            }
            rest = rest.get(shared..).unwrap_or_default();
            if rest.is_empty() {
                return true;
            }
        }
        rest.is_empty()
    }

    /// True if this event is at this position.
    pub(super) fn has_event(&self, at: usize, kind: &EventKind, data: &str) -> bool {
        has_event(&self.events, at, kind, data)
    }
}
