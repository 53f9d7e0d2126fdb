//! Six writers of the same streams at once, with stale ends, restarts, ends, edits and deletes: no hole, no repeat, no second end, and
//! no deadlock.

use super::super::super::connection::StoreConnection;
use super::super::super::epoch::KnownEpoch;
use super::super::super::fault::{CallFault, Fate};
use super::super::load;
use super::support::{Store, begin, commit, delete, edit, end, fence, id, restart, row, state, write};
use crate::id::Offset;
use crate::random::Random;
use crate::stream::{
    EndFate, Flush, FlushFates, Loaded, PartRow, RestartFate, RowFate, StoredEndFate, decode,
};
use crate::wire::stream::{StreamId, StreamMark, StreamState};
use std::collections::{BTreeMap, BTreeSet};

const WRITERS: u64 = 6;
const CHANNELS: u64 = 5;
const STREAMS: u64 = 40;
/// Streams in one flush.
const AT_ONCE: u64 = 12;
/// Flushes of each writer.
const FLUSHES: u32 = 50;
const SEED: u64 = 18;

/// The generation and end of a stream as one writer knows them; `None`: it has ended.
type Known = Option<(u32, u32)>;

/// One instance.
struct Writer {
    number: u64,
    random: Random,
    connection: StoreConnection,
    known: BTreeMap<StreamId, Known>,
    /// The rows and ends that the store has confirmed.
    rows: Vec<PartRow>,
    ends: Vec<(StreamId, EndFate)>,
    pieces: u64,
}

impl Writer {
    fn run(mut self) -> Writer {
        for _ in 0..FLUSHES {
            self.turn();
        }
        self
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random.u64() % below
    }

    fn turn(&mut self) {
        let mut open: Vec<(StreamId, (u32, u32))> =
            self.known.iter().filter_map(|(id, known)| Some((id.clone(), (*known)?))).collect();
        self.random.shuffle(&mut open);
        open.truncate(AT_ONCE as usize);
        if self.draw(24) == 0 {
            self.change(&open);
            return;
        }
        let flush = self.contents(&open);
        let written = settled(|| write(&mut self.connection, &flush));
        if let Some(fates) = written.map(|written| written.fates) {
            self.take(&flush, &fates);
        }
    }

    /// An end or a restart of some of the streams, and a row of the others.
    fn contents(&mut self, open: &[(StreamId, (u32, u32))]) -> Flush {
        let mut flush = Flush::default();
        for (id, (generation, next)) in open {
            self.pieces += 1;
            let text = format!("[{}.{}é]", self.number, self.pieces);
            match self.draw(128) {
                0 => flush.ends.push(end(id, fence(*generation, *next))),
                1..=4 => {
                    flush.restarts.push(restart(id, *generation));
                    flush.rows.push(row(id, generation + 1, 0, &text));
                }
                5..=8 => {
                    flush.states.push(state(id, StreamState::Paused, Some(fence(*generation, *next))));
                    flush.rows.push(row(id, *generation, *next, &text));
                }
                _ => flush.rows.push(row(id, *generation, *next, &text)),
            }
        }
        flush
    }

    /// Learns what became of a flush. Most of the time, only what is lost is read again, so other ends become stale.
    fn take(&mut self, flush: &Flush, fates: &FlushFates) {
        let mut lost = Vec::new();
        for (row, fate) in flush.rows.iter().zip(&fates.rows) {
            match fate {
                RowFate::Stored => {
                    self.known.insert(row.id.clone(), Some((row.generation.0, row.next.0)));
                    self.rows.push(row.clone());
                }
                RowFate::Lost => lost.push(row.id.clone()),
            }
        }
        for (row, fate) in flush.restarts.iter().zip(&fates.restarts) {
            let its_row =
                self.rows.iter().any(|stored| stored.id == row.id && stored.generation == row.generation);
            assert!(*fate == RestartFate::Stored || !its_row || lost.contains(&row.id), "{row:?}: {fate:?}");
        }
        for (row, fate) in flush.ends.iter().zip(&fates.ends) {
            match fate {
                StoredEndFate::Stored(fate, _) => {
                    self.ends.push((row.id.clone(), *fate));
                    self.known.insert(row.id.clone(), None);
                }
                StoredEndFate::Moved => lost.push(row.id.clone()),
                StoredEndFate::Ended(_) => {
                    self.known.insert(row.id.clone(), None);
                }
            }
        }
        self.read_again(&lost);
    }

    fn read_again(&mut self, lost: &[StreamId]) {
        let Some(loaded) = settled(|| load(&mut self.connection, &KnownEpoch::default(), lost)) else {
            return;
        };
        for (id, loaded) in lost.iter().zip(loaded) {
            let known = match loaded {
                Loaded::Open(stream) => {
                    let next = stream.parts.last().map_or(0, |part| part.next.0);
                    Some((stream.stream.generation.0, next))
                }
                Loaded::Ended(..) | Loaded::Absent => None,
            };
            self.known.insert(id.clone(), known);
        }
    }

    /// Edits and deletes begins, in no order.
    fn change(&mut self, open: &[(StreamId, (u32, u32))]) {
        let few = open.iter().take(2).map(|(id, _)| id);
        let jobs: Vec<_> =
            few.map(|id| if self.random.u64().is_multiple_of(2) { edit(id) } else { delete(id) }).collect();
        let Some(outcomes) = settled(|| commit(&mut self.connection, &jobs)) else { return };
        for ((id, _), settled) in open.iter().zip(outcomes) {
            if let (StreamMark::Ended(end), Ok(appended)) = (settled.mark, &settled.outcome) {
                self.ends.push((id.clone(), EndFate { end, edit: appended.offset }));
            }
        }
    }
}

/// The result of a call that may wait too long on a busy machine; nothing of it is done then.
fn settled<T>(mut call: impl FnMut() -> Result<T, CallFault>) -> Option<T> {
    match call() {
        Ok(done) => Some(done),
        Err(fault) if fault.is_held_up() && fault.fate == Fate::NotDone => None,
        Err(fault) => panic!("{fault:?}"),
    }
}

#[test]
fn writers_of_the_same_streams_leave_no_hole_and_one_end() {
    // Commits that take a while, with their locks.
    let settings = [("fsync", "on"), ("commit_delay", "3000"), ("commit_siblings", "0")];
    let mut store = Store::start_with(&settings);
    let begins: Vec<_> = (0..STREAMS).map(|n| begin(&format!("c{}", n % CHANNELS), None, "1")).collect();
    let settled = store.commit(&begins);
    let streams: Vec<StreamId> = begins
        .iter()
        .zip(&settled)
        .map(|(begin, settled)| {
            id(begin.channel.as_str(), settled.outcome.as_ref().expect("stored").offset.0)
        })
        .collect();
    let writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer {
            number,
            random: Random::seeded(SEED + number),
            connection: store.connect(),
            known: streams.iter().map(|id| (id.clone(), Some((1, 0)))).collect(),
            rows: Vec::new(),
            ends: Vec::new(),
            pieces: 0,
        })
        .collect();
    let writers: Vec<Writer> = std::thread::scope(|scope| {
        let running: Vec<_> = writers.into_iter().map(|writer| scope.spawn(move || writer.run())).collect();
        running.into_iter().map(|writer| writer.join().expect("no writer panics")).collect()
    });
    assert_eq!(store.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = 'seawall'"), "0");
    let rows: Vec<&PartRow> = writers.iter().flat_map(|writer| &writer.rows).collect();
    assert!(rows.len() > 100, "only {} rows", rows.len());
    check_rows(&store, &rows);
    let ends: Vec<&(StreamId, EndFate)> = writers.iter().flat_map(|writer| &writer.ends).collect();
    assert!(ends.len() > 5, "only {} ends", ends.len());
    check_ends(&mut store, &streams, &ends);
}

/// The store has the rows that it confirmed and no other ones, and they adjoin.
fn check_rows(store: &Store, confirmed: &[&PartRow]) {
    let stored = store.sql("SELECT count(*) FROM seawall.stream_parts WHERE body IS NOT NULL");
    assert_eq!(stored, confirmed.len().to_string());
    let mut texts: BTreeMap<(StreamId, u32), BTreeMap<u32, u32>> = BTreeMap::new();
    for row in confirmed {
        decode(row.at, row.next, &row.body).expect("readable");
        let places = texts.entry((row.id.clone(), row.generation.0)).or_default();
        assert_eq!(places.insert(row.at.0, row.next.0), None, "{row:?} was confirmed twice");
    }
    for (stream, places) in &texts {
        let mut end = 0;
        for (at, next) in places {
            assert_eq!(*at, end, "{stream:?}: {places:?}");
            end = *next;
        }
    }
    let broken = store.sql(
        "SELECT count(*) FROM (SELECT p.at, p.body, lag(p.next, 1, 0) OVER text AS before, lag(p.body IS NULL) OVER text AS marked
             FROM seawall.stream_parts p WINDOW text AS (PARTITION BY p.stream, p.gen ORDER BY p.at)) e
         WHERE e.at <> e.before OR e.marked",
    );
    assert_eq!(broken, "0", "holes, or rows after a mark");
    let unmarked = store.sql(
        "SELECT count(*) FROM seawall.streams s WHERE s.kept_until IS NOT NULL AND NOT EXISTS (
             SELECT FROM seawall.stream_parts p WHERE p.stream = s.id AND p.gen = s.gen AND p.body IS NULL)",
    );
    assert_eq!(unmarked, "0", "a late writer could add to an ended stream");
}

/// Each stream that ended has one end, the one that was confirmed; the others are open.
fn check_ends(store: &mut Store, streams: &[StreamId], confirmed: &[&(StreamId, EndFate)]) {
    let ended: BTreeSet<&StreamId> = confirmed.iter().map(|(id, _)| id).collect();
    assert_eq!(ended.len(), confirmed.len(), "a stream ended twice");
    let marks = store.sql("SELECT count(*) FROM seawall.publications WHERE stream >= 2");
    assert_eq!(marks, ended.len().to_string());
    for id in streams {
        let expected = confirmed.iter().find(|(ended, _)| ended == id).map(|(_, fate)| *fate);
        match store.load(id) {
            Loaded::Ended(fate, _) => assert_eq!(Some(fate), expected, "{id:?}"),
            Loaded::Open(_) => assert_eq!(expected, None, "{id:?}"),
            Loaded::Absent => panic!("{id:?} is gone"),
        }
    }
    let gaps = "SELECT count(*) FROM seawall.channels c WHERE c.head <> (
        SELECT count(*) FROM seawall.publications p WHERE p.channel = c.id)";
    assert_eq!(store.sql(gaps), Offset::ZERO.0.to_string(), "gaps in a log");
}
