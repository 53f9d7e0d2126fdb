//! Changes by other instances to the streams that are open here: looks at the store, and signs of life for the others.
//!
//! A look says how far the store has a stream. If that differs, another instance has written it, and so has a producer: its own
//! ledger watches over the silence and the loss of that producer, and this one lets go of a stream that it has no further use for.
//!
//! Most signs of life are not written. After one that is not, another is written when two thirds of the idle time are over since the last
//! that was. An instance that only sees those waits for a third of the idle time longer.

use super::fate::{StreamLook, Touched};
use super::grid::FlushUrgency;
use super::ledger::{Ledger, StoreWriters};
use super::open::{OpenStream, StoreView};
use super::output::StreamOutput;
use super::silence::OverdueStream;
use crate::clock::Moment;
use crate::wire::stream::{StreamId, StreamState};

impl<T: Copy> Ledger<T> {
    /// The streams that the store may have otherwise, in order: load each.
    pub fn behind(&self) -> impl Iterator<Item = &StreamId> {
        self.behind.iter()
    }

    /// Suspects that the store has a stream otherwise. Nothing of it is written before it is loaded.
    pub fn suspect(&mut self, id: &StreamId) {
        self.fall_behind(id, StoreView::Behind);
    }

    pub(super) fn fall_behind(&mut self, id: &StreamId, view: StoreView) {
        if let Some(stream) = self.streams.get_mut(id) {
            if stream.view == StoreView::Current {
                stream.view = view;
            }
            self.behind.insert(id.clone());
        }
    }

    /// True if a stream is open here.
    pub fn has(&self, id: &StreamId) -> bool {
        self.streams.contains_key(id)
    }

    /// The streams to look at in the store: the ones that are not to be loaded anyway.
    pub fn to_look_at(&self) -> Vec<StreamId> {
        let current = |(_, stream): &(&StreamId, &OpenStream<T>)| stream.view == StoreView::Current;
        self.streams.iter().filter(current).map(|(id, _)| id.clone()).collect()
    }

    /// The store has a stream so; `None`: it is not open there.
    pub fn looked(
        &mut self,
        id: &StreamId,
        look: Option<StreamLook>,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let Some(StreamLook { generation, next, state, touched }) = look else {
            return self.fall_behind(id, StoreView::Behind);
        };
        let is_longer = generation != stream.generation || next != stream.text.next();
        if is_longer || touched != stream.touched {
            stream.note_life_elsewhere(touched, now);
            self.schedule(id);
            if self.streams.get(id).is_some_and(OpenStream::is_useless) {
                self.close(id, out);
                return;
            }
        }
        let Some(stream) = self.streams.get(id) else { return };
        if is_longer || state != stream.committed_state {
            self.fall_behind(id, StoreView::Behind);
        }
    }

    /// Lets go of a stream that this instance has no further use for.
    pub fn release(&mut self, id: &StreamId, out: &mut StreamOutput<T>) {
        let is_useless = |stream: &OpenStream<T>| stream.is_useless() && stream.clocks.swept.is_none();
        if self.streams.get(id).is_some_and(is_useless) {
            self.close(id, out);
        }
    }

    /// A stream that was loaded has been silent for its deadline, and no instance has ended it. If it is still as it was seen, its deadlines
    /// have run since then; otherwise they begin now.
    pub fn swept(&mut self, overdue: &OverdueStream, now: Moment) {
        let OverdueStream { id, seen, since } = overdue;
        let cancel = self.settings.cancel;
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.producers.is_empty()) else {
            return;
        };
        let is_as_seen = stream.look() == *seen;
        let since = if is_as_seen { *since } else { now };
        let clocks = &mut stream.clocks;
        clocks.sign = since + clocks.touch_period();
        clocks.swept = Some(clocks.sign);
        match stream.state {
            StreamState::Paused => clocks.orphaned = Some(since),
            StreamState::Cancelling => clocks.cancel_end = Some(since + cancel),
            // By the clock of the store its question was given up before it was watched.
            StreamState::Accepted if is_as_seen => clocks.life_end = clocks.life_end.min(since),
            StreamState::Accepted | StreamState::Processing | StreamState::Streaming => {}
        }
        self.schedule(id);
    }

    /// Has a sign of life go to the store: at once if the last one is a while ago, else before the store has had none for too long.
    pub(super) fn touch_in_time(&mut self, id: &StreamId, now: Moment) {
        if self.writers == StoreWriters::One {
            return;
        }
        let Some(stream) = self.streams.get_mut(id) else { return };
        let period = stream.clocks.touch_period();
        if now <= stream.touched_at {
            return;
        }
        if now.since(stream.touched_at) >= period {
            return self.touch(id, now);
        }
        let at = stream.touched_at + period * 2;
        stream.clocks.touch.get_or_insert(at);
        self.schedule(id);
    }

    /// Has a sign of life go to the store with the next flush.
    pub(super) fn touch(&mut self, id: &StreamId, now: Moment) {
        if self.writers == StoreWriters::One {
            return;
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.touched_at = now;
            stream.clocks.touch = None;
            self.touches.push(id.clone());
            self.list(id, FlushUrgency::Early);
        }
    }

    /// Takes the signs of life for a flush.
    pub(super) fn take_touches(&mut self) -> Vec<StreamId> {
        let mut touches = std::mem::take(&mut self.touches);
        touches.retain(|id| self.streams.contains_key(id));
        touches.sort_unstable();
        touches.dedup();
        touches
    }

    /// These signs of life did not get into the store.
    pub fn touch_again(&mut self, ids: &[StreamId]) {
        for id in ids {
            if self.streams.contains_key(id) {
                self.touches.push(id.clone());
                self.list(id, FlushUrgency::Window);
            }
        }
    }

    /// The store has the sign of life of a stream; `None`: the stream is not open there.
    pub fn touched(&mut self, id: &StreamId, touched: Option<Touched>) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        match touched {
            Some(touched) => stream.touched = touched,
            None => self.fall_behind(id, StoreView::Behind),
        }
    }
}

impl<T: Copy> OpenStream<T> {
    /// Another instance has a producer, or had one until now.
    pub(super) fn note_life_elsewhere(&mut self, touched: Touched, now: Moment) {
        self.touched = touched;
        let clocks = &mut self.clocks;
        clocks.sign = now + clocks.touch_period();
        clocks.elsewhere = Some(clocks.sign);
        clocks.swept = clocks.swept.map(|_| clocks.sign);
        clocks.orphaned = None;
        if self.state == StreamState::Paused {
            self.state = self.committed_state;
        }
    }

    /// The stream as the store was last known to have it.
    fn look(&self) -> StreamLook {
        let (generation, state, touched) = (self.generation, self.committed_state, self.touched);
        StreamLook { generation, next: self.text.next(), state, touched }
    }

    /// True if nothing here depends on the stream: it has no producer, nothing waits, and this instance owes it no end. An answer without
    /// text has no producer anywhere, so each instance that knows of it keeps it.
    fn is_useless(&self) -> bool {
        self.producers.is_empty()
            && !matches!(self.state, StreamState::Accepted | StreamState::Processing)
            && self.clocks.orphaned.is_none()
            && self.ending.is_none()
            && self.state != StreamState::Cancelling
            && !self.has_waiting()
            && self.flight.is_none()
            && self.waiting.is_empty()
    }
}
