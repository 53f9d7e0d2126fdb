//! A store that takes a write only if it follows on what is stored.

use crate::clock::Moment;
use crate::id::{Offset, UserName};
use crate::stream::pieces::Pieces;
use crate::stream::tests::checks::plain;
use crate::stream::*;
use crate::wire::stream::{Generation, Position, StreamEnd, StreamId, StreamState};
use std::collections::BTreeMap;
use std::time::Duration;

/// A stream with everything that was ever stored of it.
pub struct Stored {
    pub stream: StoredStream,
    pub touched: Touched,
    /// The time of the last write that is a sign of life.
    pub sign: Moment,
    pub canceller: Option<UserName>,
    pub rows: Vec<PartRow>,
    pub end: Option<(EndRow, EndFate)>,
}

#[derive(Default)]
pub struct Store {
    pub streams: BTreeMap<StreamId, Stored>,
    touches: u64,
    edits: u64,
}

impl Stored {
    pub fn pieces(&self, generation: Generation) -> Pieces {
        let mut pieces = Pieces::empty(0);
        for row in self.rows.iter().filter(|row| row.generation == generation) {
            assert_eq!(row.at.0 as usize, pieces.next(), "rows adjoin");
            pieces.extend(decode(row.at, row.next, &row.body).expect("a body"));
        }
        pieces
    }

    pub fn text(&self, generation: Generation) -> String {
        plain(&self.pieces(generation))
    }

    fn next(&self) -> Position {
        super::super::position(self.pieces(self.stream.generation).next())
    }

    fn is_as(&self, fence: &StreamFence) -> bool {
        self.stream.generation == fence.generation
            && self.next() == fence.next
            && fence.touched.is_none_or(|touched| touched == self.touched)
    }
}

impl Store {
    fn open(&mut self, id: &StreamId) -> Option<&mut Stored> {
        self.streams.get_mut(id).filter(|stored| stored.end.is_none())
    }

    pub fn next_touch(&mut self) -> Touched {
        self.touches += 1;
        Touched(self.touches)
    }

    pub fn commit(&mut self, flush: &Flush, now: Moment) -> FlushFates {
        let mut fates = FlushFates::default();
        for RestartRow { id, known, generation } in &flush.restarts {
            assert!(generation > known);
            let stored = self.open(id).filter(|stored| stored.stream.generation == *known);
            fates.restarts.push(match stored {
                Some(stored) => {
                    stored.stream.generation = *generation;
                    stored.sign = now;
                    RestartFate::Stored
                }
                None => RestartFate::Lost,
            });
        }
        for row in &flush.rows {
            let adjoins =
                |stored: &&mut Stored| stored.stream.generation == row.generation && stored.next() == row.at;
            fates.rows.push(match self.open(&row.id).filter(adjoins) {
                Some(stored) => {
                    stored.rows.push(row.clone());
                    stored.sign = now;
                    RowFate::Stored
                }
                None => RowFate::Lost,
            });
        }
        for row in &flush.states {
            let may = |stored: &&mut Stored| {
                stored.stream.state != StreamState::Cancelling
                    && row.fence.as_ref().is_none_or(|fence| stored.is_as(fence))
            };
            fates.states.push(match self.open(&row.id).filter(may) {
                Some(stored) => {
                    stored.stream.state = row.state;
                    stored.canceller.clone_from(&row.canceller);
                    stored.sign = now;
                    StateFate::Stored
                }
                None => StateFate::Moved,
            });
        }
        fates.ends = flush.ends.iter().map(|row| self.end(row)).collect();
        fates
    }

    pub fn end(&mut self, row: &EndRow) -> StoredEndFate {
        let edit = Offset(1_000_000 + self.edits);
        let stored = self.streams.get_mut(&row.id).expect("streams stay");
        if let Some((_, fate)) = &stored.end {
            return StoredEndFate::Ended(*fate);
        }
        if !stored.is_as(&row.fence) {
            return StoredEndFate::Moved;
        }
        let text = stored.text(row.fence.generation);
        if let (true, Ok(data)) =
            (row.end != StreamEnd::Replaced, serde_json::from_str::<serde_json::Value>(&row.data))
        {
            let of_end = data["text"].as_str().expect("a text");
            assert!(row.generation >= row.fence.generation);
            if row.generation == row.fence.generation {
                assert!(of_end.starts_with(&text), "S5: {of_end:?} after {text:?}");
            }
        }
        self.edits += 1;
        let fate = EndFate { end: row.end, edit };
        stored.end = Some((row.clone(), fate));
        StoredEndFate::Stored(fate, 1)
    }

    pub fn touch(&mut self, id: &StreamId, now: Moment) -> Option<Touched> {
        let touched = self.next_touch();
        let stored = self.open(id)?;
        (stored.touched, stored.sign) = (touched, now);
        Some(touched)
    }

    pub fn load(&self, id: &StreamId) -> Loaded {
        let Some(stored) = self.streams.get(id) else { return Loaded::Absent };
        if let Some((_, fate)) = &stored.end {
            return Loaded::Ended(*fate, Some(1));
        }
        let of = |row: &&PartRow| row.generation == stored.stream.generation;
        Loaded::Open(Box::new(LoadedStream {
            stream: stored.stream.clone(),
            touched: stored.touched,
            canceller: stored.canceller.clone(),
            parts: stored.rows.iter().filter(of).cloned().collect(),
            restarted: stored.rows.iter().filter(|row| !of(row)).map(|row| row.body.len()).sum(),
        }))
    }

    pub fn look(&self, id: &StreamId) -> Option<StreamLook> {
        let stored = self.streams.get(id).filter(|stored| stored.end.is_none())?;
        let StoredStream { generation, state, .. } = stored.stream;
        Some(StreamLook { generation, next: stored.next(), state, touched: stored.touched })
    }

    /// The streams that are silent by the store's clock, which may be wrong.
    pub fn silent(&self, settings: &StreamSettings, clock: Moment) -> Vec<SilentStream> {
        let silent = |(id, stored): (&StreamId, &Stored)| {
            let StoredStream { options, state, .. } = &stored.stream;
            let ms = |ms: u32| Duration::from_millis(ms.into());
            let more = (settings.idle / 3).max(settings.orphan);
            let (after, deadline) = match state {
                StreamState::Accepted => (options.answer.map(|it| ms(it.give_up_ms)), settings.idle + more),
                StreamState::Processing => {
                    (None, options.answer.map_or(settings.idle, |it| ms(it.answer_ms)) + more)
                }
                StreamState::Streaming => (None, settings.idle + more),
                StreamState::Paused => (None, settings.orphan),
                StreamState::Cancelling => (None, settings.cancel),
            };
            let is_silent = clock.since(stored.sign) > after.unwrap_or(Duration::from_secs(2));
            let deadline = deadline + Duration::from_secs(2);
            let seen = self.look(id).filter(|_| is_silent)?;
            Some(SilentStream { id: id.clone(), seen, deadline })
        };
        self.streams.iter().filter_map(silent).collect()
    }
}
