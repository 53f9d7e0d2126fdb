//! The promises of `docs/streams.md`, checked after each step.

use super::reader::{Reading, of_end};
use super::source::Source;
use super::world::World;
use crate::id::Offset;
use crate::stream::pieces::{PieceEntry, Pieces, position};
use crate::stream::{Flush, StreamEvent};
use crate::wire::stream::Generation;
use serde_json::{Value, json};

impl World {
    /// S4, S5: an end has exactly the joined pieces of its generation, and was due.
    pub(super) fn check_ends(&self, flush: &Flush) {
        for row in &flush.ends {
            let ended = &self.store.ended[&row.id];
            let (text, events) = of_end(&ended.row.data, self.keeps[&row.id]);
            let stored = self.store.pieces(&row.id, ended.row.generation);
            assert!(text.starts_with(&plain(&stored)), "the end continues the stored text");
            if let Some(events) = events {
                let source = Source::new(row.id.offset.0, ended.row.generation.0);
                let all = source.until(position(text.len() + events.len()));
                assert_eq!(text, plain(&all), "S5: byte for byte");
                assert_eq!(events, values(&all), "S5: events");
            }
            if ended.row.cause.is_some() {
                assert!(self.now >= self.begun[&row.id], "{ended:?}");
            }
        }
    }

    /// The promises that hold after every step.
    pub fn check(&self) {
        for ((id, generation), next) in &self.acknowledged {
            let stored = position(self.store.pieces(id, *generation).next());
            let kept = match self.store.ended.get(id) {
                // An end without its events does not show their positions.
                Some(ended) if ended.row.generation == *generation => continue,
                Some(_) | None => stored,
            };
            assert!(kept >= *next, "S3: {next} of {id:?} was acknowledged, {kept} is stored");
        }
        for reader in &self.readers {
            for (offset, reading) in &reader.streams {
                self.check_reading(*offset, reading);
            }
        }
        let first = &self.readers[0];
        for id in self.store.open.keys() {
            // The first reader misses nothing.
            let shared = self.ledger.shared(id).expect("open in the store, so open");
            if let Some(reading) = first.streams.get(&id.offset.0) {
                assert!(
                    reading.next <= shared.text.next().0.into()
                        || reading.generation != u64::from(shared.generation.0)
                );
            }
        }
        self.check_bounds();
        assert_eq!(self.ledger.open_streams(), self.store.open.len());
    }

    /// S6, and every producer may go on when nothing waits.
    fn check_bounds(&self) {
        let waiting = self.ledger.shares.total().waiting;
        // All streams are of one user.
        assert!(self.ledger.bytes() <= self.settings.memory_bytes / 2, "S6: memory");
        assert!(waiting <= self.settings.pending_bytes / 2, "S6: pending");
        for stream in self.ledger.streams.values() {
            assert!(stream.counted.waiting <= self.settings.window_bytes * 2, "S6: window");
        }
        if waiting == 0 && self.ledger.list.is_empty() {
            assert!(self.paused.is_empty(), "{:?} is paused for ever", self.paused);
        }
        for ended in self.store.ended.values() {
            assert!(ended.row.data.len() <= self.settings.message_bytes, "S6: the end is a message");
        }
    }

    /// S1, S2: a prefix, as long as its position says.
    fn check_reading(&self, offset: u64, reading: &Reading) {
        let mut id = self.id(0);
        id.offset = Offset(offset);
        let generation = Generation(u32::try_from(reading.generation).expect("small"));
        let stored = self.store.pieces(&id, generation);
        assert_eq!(reading.next as usize, reading.text.len() + reading.events.len(), "S2: no hole");
        assert!(plain(&stored).starts_with(&reading.text), "S1: {:?} of {stored:?}", reading.text);
        assert!(values(&stored).starts_with(&reading.events), "S1: events");
        let source = Source::new(offset, generation.0).until(position(reading.next as usize));
        assert_eq!(reading.text, plain(&source), "the text is that of the source");
    }
}

/// The joined text.
pub(super) fn plain(pieces: &Pieces) -> String {
    let texts = pieces.entries().map(|entry| match entry {
        PieceEntry::Text { text, .. } => text,
        PieceEntry::Event(_) => "",
    });
    texts.collect()
}

/// The events as an end has them.
fn values(pieces: &Pieces) -> Vec<Value> {
    let events = pieces.entries().filter_map(|entry| match entry {
        PieceEntry::Event(event) => Some(event),
        PieceEntry::Text { .. } => None,
    });
    let value = |event: &StreamEvent| {
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        json!([event.at.0, event.kind.as_str(), data])
    };
    events.map(value).collect()
}
