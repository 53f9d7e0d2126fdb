//! A store of streams as the writer keeps it: rows, and ends that are stored once.

use crate::clock::Moment;
use crate::id::Offset;
use crate::stream::pieces::Pieces;
use crate::stream::{EndFate, EndRow, Flush, Ledger, PartRow, StoredStream, decode};
use crate::wire::stream::{Generation, StreamId};
use std::collections::BTreeMap;

/// The end of a stream.
#[derive(Clone, Debug)]
pub struct StoredEnd {
    pub row: EndRow,
    pub fate: EndFate,
}

#[derive(Default)]
pub struct Store {
    pub open: BTreeMap<StreamId, StoredStream>,
    pub rows: Vec<PartRow>,
    pub ended: BTreeMap<StreamId, StoredEnd>,
    edits: u64,
}

impl Store {
    /// Commits a flush. A stream that has ended takes nothing, and keeps its end.
    pub fn commit(&mut self, flush: &Flush) -> Vec<EndFate> {
        for row in &flush.restarts {
            if let Some(stream) = self.open.get_mut(&row.id) {
                assert!(row.generation >= stream.generation, "generations only grow");
                stream.generation = row.generation;
            }
        }
        for row in &flush.rows {
            if let Some(stream) = self.open.get(&row.id) {
                assert_eq!(row.generation, stream.generation, "rows are of the newest generation");
                self.rows.push(row.clone());
            }
        }
        for row in &flush.states {
            if let Some(stream) = self.open.get_mut(&row.id) {
                stream.state = row.state;
            }
        }
        flush.ends.iter().map(|row| self.end(row)).collect()
    }

    pub fn end(&mut self, row: &EndRow) -> EndFate {
        if let Some(ended) = self.ended.get(&row.id) {
            return ended.fate;
        }
        self.open.remove(&row.id).expect("the stream was open");
        self.edits += 1;
        let fate = EndFate { end: row.end, edit: Offset(1_000_000 + self.edits) };
        let ended = StoredEnd { row: row.clone(), fate };
        self.ended.insert(row.id.clone(), ended);
        fate
    }

    /// The committed pieces of a generation.
    pub fn pieces(&self, id: &StreamId, generation: Generation) -> Pieces {
        let mut pieces = Pieces::empty(0);
        for row in self.rows.iter().filter(|row| row.id == *id && row.generation == generation) {
            let decoded = decode(row.at, row.next, &row.body).expect("a body");
            if decoded.next() > pieces.next() {
                pieces.extend(decoded.after(pieces.next()).expect("no hole between rows"));
            }
        }
        pieces
    }

    /// A ledger after a start.
    pub fn restore(&self, mut ledger: Ledger<u32>, now: Moment) -> Ledger<u32> {
        for stream in self.open.values() {
            ledger.restore(stream.clone(), now);
        }
        for row in &self.rows {
            ledger.restore_part(row).expect("rows without a hole");
        }
        ledger
    }
}
