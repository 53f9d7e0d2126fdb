//! One instance: a ledger, and the part of its writer that does what the ledger asks for.

use super::store::Store;
use crate::clock::Moment;
use crate::stream::*;
use crate::wire::stream::StreamId;
use std::collections::BTreeMap;
use std::time::Duration;

pub type Output = StreamOutput<u32>;

/// The connection to the store during a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Works,
    /// It is cut before the commit.
    CutBefore,
    /// It is cut after the commit, before the answer.
    CutAfter,
    /// It works, but every second part of the flush is held up.
    HeldUp,
}

/// The piece that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    AtTheEnd,
    /// A repeat, or an overlap.
    Back,
    /// Another text than that of the other producers.
    OtherText,
}

pub struct Instance {
    pub ledger: Ledger<u32>,
    pub silence: SilenceWatch,
    /// Ends whose commit is unknown.
    doubtful: BTreeMap<StreamId, EndRow>,
}

impl Instance {
    pub fn new(settings: StreamSettings, now: Moment) -> Instance {
        let (silence, doubtful) = (SilenceWatch::default(), BTreeMap::new());
        Instance { ledger: Ledger::of_several(settings, now), silence, doubtful }
    }

    /// Loads a stream. False if it is not open.
    pub fn load(&mut self, id: &StreamId, store: &Store, now: Moment, out: &mut Output) -> bool {
        match store.load(id) {
            Loaded::Open(loaded) => {
                self.doubtful.remove(id);
                self.ledger.loaded(*loaded, now, out).expect("rows that adjoin");
                true
            }
            Loaded::Ended(fate, _) => {
                let (row, _) = store.streams[id].end.as_ref().expect("it has ended");
                match self.doubtful.remove(id) {
                    Some(own) if own.data == row.data && own.end == row.end => {
                        self.ledger.finished(id, fate, now, out);
                    }
                    Some(_) | None => {
                        let _ = self.ledger.ended(id, fate, out);
                    }
                }
                false
            }
            Loaded::Absent => false,
        }
    }

    /// Loads the streams that may be otherwise in the store.
    pub fn catch_up(&mut self, store: &Store, now: Moment, out: &mut Output) {
        let behind = |ledger: &Ledger<u32>| ledger.behind().next().cloned();
        while let Some(id) = behind(&self.ledger) {
            self.load(&id, store, now, out);
        }
    }

    pub fn flush(&mut self, store: &mut Store, line: Line, now: Moment, out: &mut Output) {
        if matches!(line, Line::Works | Line::HeldUp) {
            self.catch_up(store, now, out);
        }
        let flush = self.ledger.cut(now);
        if line == Line::CutBefore && !flush.writes_nothing() {
            return self.doubt(flush);
        }
        if line == Line::HeldUp {
            return self.flush_in_parts(flush, store, now, out);
        }
        let fates = store.commit(&flush, now);
        if line == Line::CutAfter && !flush.writes_nothing() {
            return self.doubt(flush);
        }
        self.settle(flush, &fates, store, now, out);
        self.catch_up(store, now, out);
    }

    fn flush_in_parts(&mut self, flush: Flush, store: &mut Store, now: Moment, out: &mut Output) {
        let (rest, ends) = flush.split_ends(|_| true);
        let parts = rest.divide(1, usize::MAX).into_iter().chain(ends);
        for (number, part) in parts.filter(|part| !part.is_empty()).enumerate() {
            if number % 2 == 0 {
                self.ledger.put_off(part, now + Duration::from_millis(70), out);
            } else {
                let fates = store.commit(&part, now);
                self.settle(part, &fates, store, now, out);
            }
        }
        self.catch_up(store, now, out);
    }

    fn settle(&mut self, flush: Flush, fates: &FlushFates, store: &mut Store, now: Moment, out: &mut Output) {
        let touches = flush.touches.clone();
        self.ledger.settled_partly(flush, fates, now, out);
        for id in touches {
            let touched = store.touch(&id, now);
            self.ledger.touched(&id, touched);
        }
    }

    fn doubt(&mut self, flush: Flush) {
        self.ledger.doubtful(&flush);
        self.doubtful.extend(flush.ends.into_iter().map(|row| (row.id.clone(), row)));
    }
}
