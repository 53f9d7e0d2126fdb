//! Flushes: their contents, their times, and what follows from a commit or its failure.

use super::deadline::Due;
use super::fate::{FlushFates, RestartFate, RowFate, StateFate, StoredEndFate, StreamFence};
use super::flush::{EndFate, Flush, RestartRow, StateRow};
use super::frames;
use super::grid::FlushUrgency;
use super::ledger::{Commits, Ledger};
use super::open::{FirstNews, FlushList, OpenStream, PendingEnd, StoreView, StreamEnder};
use super::output::{CancelledBy, StreamOutput};
use super::part::PartRow;
use super::pieces::position;
use super::settings::{ENDS_AT_ONCE, PAUSED_AFTER};
use super::waiting::PiecesLeft;
use crate::clock::Moment;
use crate::id::ProducerId;
use crate::wire::stream::{News, ProducerNotice, StreamEnd, StreamId, StreamNews, StreamState};

/// The contents of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlushContents {
    All,
    StatesAndEnds,
}

impl<T: Copy> Ledger<T> {
    /// The time of the next flush; `None` while nothing waits and no stream is open, or while a flush is under way.
    pub fn due(&self) -> Option<Moment> {
        if self.in_flight {
            return None;
        }
        let most = match self.commits {
            Commits::WorkSince(_) => FlushUrgency::Early,
            Commits::Fail(_) => FlushUrgency::Window,
        };
        let deadline = self.deadlines.first().map(|at| self.grid.next(most).map_or(at, |next| at.max(next)));
        let later = self.later.first().map(|(at, _)| *at);
        [self.grid.next(self.urgency.min(most)), deadline, later].into_iter().flatten().min()
    }

    /// Everything that waits, if a flush is [due](Ledger::due).
    pub fn cut(&mut self, now: Moment) -> Flush {
        self.cut_if_due(now, FlushContents::All)
    }

    /// The same while the store is short of room: only states and ends. Pieces and restarts wait, which slows their producers down.
    pub fn cut_without_pieces(&mut self, now: Moment) -> Flush {
        self.cut_if_due(now, FlushContents::StatesAndEnds)
    }

    fn cut_if_due(&mut self, now: Moment, contents: FlushContents) -> Flush {
        match self.due() {
            Some(due) if due <= now => self.cut_contents(now, contents),
            Some(_) | None => Flush::default(),
        }
    }

    /// Everything that waits, for the last commit of a process.
    pub fn cut_all(&mut self, now: Moment) -> Flush {
        self.cut_contents(now, FlushContents::All)
    }

    fn cut_contents(&mut self, now: Moment, contents: FlushContents) -> Flush {
        let mut flush = Flush::default();
        let later = self.take_later(now);
        self.expire(now);
        self.urgency = FlushUrgency::Nothing;
        flush.streams = later;
        flush.streams.append(&mut self.list);
        if flush.streams.is_empty() {
            return flush;
        }
        self.in_flight = true;
        self.grid.cut(now);
        flush.touches = self.take_touches();
        let streams = std::mem::take(&mut flush.streams);
        for id in &streams {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            // A stream that was closed and opened again is in the list twice.
            if std::mem::replace(&mut stream.listed, FlushList::No) == FlushList::No {
                continue;
            }
            if stream.view != StoreView::Current {
                continue;
            }
            if contents == FlushContents::All || stream.ending.is_some() {
                collect(id, stream, &mut flush, now);
                continue;
            }
            collect_state(id, stream, &mut flush);
            if stream.has_waiting() {
                self.list(id, FlushUrgency::Window);
            }
        }
        flush.streams = streams;
        flush
    }

    /// Takes the streams that were put off until now.
    fn take_later(&mut self, now: Moment) -> Vec<StreamId> {
        let mut taken = Vec::new();
        while self.later.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, id)) = self.later.pop_first()
        {
            if let Some(stream) = self.streams.get_mut(&id)
                && stream.listed == FlushList::Later
            {
                stream.listed = FlushList::Yes;
                self.schedule(&id);
                taken.push(id);
            }
        }
        taken
    }

    /// Decides on the streams whose deadline has come. If many end, the last of them stay due.
    fn expire(&mut self, now: Moment) {
        let spared = self.spared();
        let mut ends = 0;
        while ends < ENDS_AT_ONCE
            && let Some(id) = self.deadlines.pop(now)
        {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.place = None;
            // A stream that is behind the store gets a place again when it is loaded.
            if stream.ending.is_some()
                || stream.view != StoreView::Current
                || stream.listed == FlushList::Later
            {
                continue;
            }
            match stream.clocks.next(stream.state, &self.settings, spared) {
                (at, Due::Touch) if at <= now => {
                    self.touch(&id, now);
                    self.schedule(&id);
                }
                (at, Due::Pause) if at <= now => {
                    stream.state = StreamState::Paused;
                    self.list(&id, FlushUrgency::Early);
                    self.schedule(&id);
                }
                (at, Due::End(end, cause)) if at <= now => {
                    ends += 1;
                    stream.ending = Some(PendingEnd { end, at: None, by: StreamEnder::Gateway(cause) });
                    self.list(&id, FlushUrgency::Early);
                }
                (at, Due::Touch | Due::Pause | Due::End(..)) => {
                    self.deadlines.bring_forward(&id, &mut stream.place, at);
                }
            }
        }
    }

    /// The flush is committed. `ends` has the end of each stream in `flush.ends`, in the same order.
    pub fn settled(&mut self, flush: Flush, ends: &[EndFate], now: Moment, out: &mut StreamOutput<T>) {
        let fates = FlushFates::stored(&flush, ends);
        self.settled_partly(flush, &fates, now, out);
    }

    /// The flush is committed, except for what the store has refused. Those streams are [behind](Ledger::behind) it.
    pub fn settled_partly(
        &mut self,
        flush: Flush,
        fates: &FlushFates,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) {
        if flush.streams.is_empty() {
            return;
        }
        self.in_flight = false;
        let took = self.grid.since_cut(now);
        self.grid.settled(took);
        if matches!(self.commits, Commits::Fail(_)) || took > PAUSED_AFTER {
            self.commits = Commits::WorkSince(now);
        }
        debug_assert!(fates.are_of(&flush), "there is a fate for each part of the flush");
        for (row, fate) in flush.ends.iter().zip(&fates.ends) {
            match *fate {
                StoredEndFate::Stored(fate, _) => self.finish(&row.id, fate, now, out),
                StoredEndFate::Ended(fate) => self.cut_off(&row.id, fate, out),
                StoredEndFate::Moved => self.fall_behind(&row.id, StoreView::Behind),
            }
        }
        self.note_refused(&flush, fates);
        for id in &flush.streams {
            self.land(id, now, out);
        }
        for (row, fate) in flush.states.iter().zip(&fates.states) {
            if *fate == StateFate::Stored {
                self.change_state(row, now, out);
            }
        }
        for id in &flush.streams {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            let reached = stream.reached();
            let left = if stream.pending.is_empty() { PiecesLeft::None } else { PiecesLeft::Some };
            stream.waiting.committed(id, reached, left, out);
            // Readers get the state of an answer that has just begun.
            if stream.first_news == FirstNews::Due {
                let state = stream.committed_state;
                self.show_state(id, state, now, out);
            }
        }
        self.resume(out);
    }

    /// Notes the streams of which the store has refused something.
    fn note_refused(&mut self, flush: &Flush, fates: &FlushFates) {
        for (row, _) in flush.restarts.iter().zip(&fates.restarts).filter(|(_, it)| **it == RestartFate::Lost)
        {
            self.fall_behind(&row.id, StoreView::RestartLost);
        }
        for (row, _) in flush.rows.iter().zip(&fates.rows).filter(|(_, it)| **it == RowFate::Lost) {
            self.fall_behind(&row.id, StoreView::Behind);
        }
        for (row, _) in flush.states.iter().zip(&fates.states).filter(|(_, it)| **it == StateFate::Moved) {
            self.fall_behind(&row.id, StoreView::Behind);
        }
    }

    pub(super) fn finish(&mut self, id: &StreamId, fate: EndFate, now: Moment, out: &mut StreamOutput<T>) {
        if fate.end == StreamEnd::Cancelled {
            self.note_cancelled(id, out);
        }
        let Some(mut stream) = self.close(id, out) else { return };
        stream.note_end(fate, now, &mut out.answers);
        let asked = stream.ending.take().is_some_and(|ending| ending.end == fate.end);
        if asked {
            let ended = stream.final_state(fate);
            stream.waiting.ended(id, ended, out);
        } else {
            stream.waiting.cut_off(id, fate, &stream.producers, out);
        }
    }

    /// The stream has ended in another way than was asked. What waits is lost.
    pub(super) fn cut_off(&mut self, id: &StreamId, fate: EndFate, out: &mut StreamOutput<T>) {
        let Some(mut stream) = self.close(id, out) else { return };
        if let Some(ending) = stream.ending.take() {
            stream.waiting.end_again(ending.end);
        }
        out.cancelled.extend(stream.cancelled(id, CancelledBy::Elsewhere));
        stream.waiting.cut_off(id, fate, &stream.producers, out);
    }

    /// The flight of a stream is committed, so readers may have it; or it waits again.
    fn land(&mut self, id: &StreamId, now: Moment, out: &mut StreamOutput<T>) {
        let Ledger { streams, shares, buffer, .. } = self;
        let Some(stream) = streams.get_mut(id) else { return };
        if stream.view != StoreView::Current {
            stream.turn_back();
            return stream.recount(shares);
        }
        let before = stream.generation;
        let Some(flight) = stream.land() else { return };
        let generation = stream.generation;
        let mut tell = |news| out.news.push(StreamNews { id: id.clone(), generation, news });
        if generation != before {
            tell(News::Restarted(frames::restarted(id, generation, stream.committed_state)));
        }
        if !flight.pieces.is_empty() {
            let (at, next) = (position(flight.pieces.at()), position(flight.pieces.next()));
            tell(News::Pieces { at, next, frames: frames::pieces(id, generation, &flight.pieces, buffer) });
            stream.note_piece(now, &mut out.answers);
        }
        stream.recount(shares);
        if stream.ending.is_some() {
            self.list(id, FlushUrgency::Early);
        }
    }

    fn change_state(&mut self, row: &StateRow, now: Moment, out: &mut StreamOutput<T>) {
        if row.state == StreamState::Cancelling {
            self.note_cancelled(&row.id, out);
        }
        self.show_state(&row.id, row.state, now, out);
    }

    /// The store has this state now.
    pub(super) fn show_state(
        &mut self,
        id: &StreamId,
        state: StreamState,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.committed_state = state;
        stream.first_news = FirstNews::Sent;
        let generation = stream.generation;
        let frame = frames::state(id, generation, state);
        out.news.push(StreamNews { id: id.clone(), generation, news: News::State(state, frame) });
        if let Some(notice) = stream.cancel_notice(id, now) {
            out.notices.extend(stream.producers.iter().map(|producer| (*producer, notice.clone())));
        }
    }

    /// Has the sockets read again whose streams have room.
    pub(super) fn resume(&mut self, out: &mut StreamOutput<T>) {
        let Ledger { producers, streams, shares, settings, .. } = self;
        let has_room = |id: &StreamId| {
            streams.get(id).is_none_or(|stream| {
                stream.counted.waiting <= settings.window_bytes / 2
                    && shares.has_room(stream.payer(), settings)
            })
        };
        let with_room: Vec<ProducerId> = producers
            .paused()
            .filter(|(_, streams)| streams.iter().all(has_room))
            .map(|(producer, _)| producer)
            .collect();
        for producer in with_room {
            producers.resume(producer);
            out.notices.push((producer, ProducerNotice::Resume));
        }
    }

    /// Nothing of the flush was stored: all of it waits again. If that is not certain, call [`ended`](Ledger::ended) afterwards for
    /// each stream that has ended in the store.
    pub fn failed(&mut self, flush: Flush, now: Moment, out: &mut StreamOutput<T>) {
        if flush.streams.is_empty() {
            return;
        }
        self.give_back(&flush, now);
        for id in &flush.streams {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            // The producer may be back before the store is.
            if stream.ending.take_if(|ending| matches!(ending.by, StreamEnder::Gateway(_))).is_some() {
                stream.waiting.refuse_after_end(id, stream.state, out);
            }
            self.recount(id);
            self.schedule(id);
            self.list(id, FlushUrgency::Window);
        }
    }

    /// Nothing of the flush was stored, for a reason that concerns its streams alone: it is not to be tried before `until`.
    pub fn put_off(&mut self, flush: Flush, until: Moment, out: &mut StreamOutput<T>) {
        self.in_flight = false;
        for id in flush.streams {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.turn_back();
            // The producer may be back before then.
            if stream.ending.take_if(|ending| matches!(ending.by, StreamEnder::Gateway(_))).is_some() {
                stream.waiting.refuse_after_end(&id, stream.state, out);
            }
            // It may be in the list again, for a repeat of what is being committed.
            if stream.listed == FlushList::No {
                stream.listed = FlushList::Later;
                self.later.insert((until, id.clone()));
            } else {
                self.schedule(&id);
            }
            self.recount(&id);
        }
        self.touch_again(&flush.touches);
    }

    /// It is not known if anything of the flush was stored. Its streams are [behind](Ledger::behind) the store until they are loaded.
    pub fn doubtful(&mut self, flush: &Flush) {
        if flush.streams.is_empty() {
            return;
        }
        self.give_back(flush, self.grid.last_cut());
        for id in &flush.streams {
            self.recount(id);
            self.fall_behind(id, StoreView::Behind);
        }
    }

    /// A flush failed at about this time.
    fn give_back(&mut self, flush: &Flush, at: Moment) {
        self.in_flight = false;
        self.grid.stretch();
        self.commits = Commits::Fail(at);
        for id in &flush.streams {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.turn_back();
            }
        }
        self.touch_again(&flush.touches);
    }
}

/// Adds what waits of a stream to a flush.
fn collect<T: Copy>(id: &StreamId, stream: &mut OpenStream<T>, flush: &mut Flush, now: Moment) {
    if let Some(end) = stream.end_row(id) {
        flush.ends.push(end);
        stream.cut(now);
        return;
    }
    if stream.head != stream.generation {
        flush.restarts.push(RestartRow { id: id.clone(), known: stream.generation, generation: stream.head });
    }
    let flight = stream.cut(now);
    if !flight.pieces.is_empty() {
        flush.rows.push(PartRow::new(id.clone(), flight.generation, &flight.pieces));
    }
    collect_state(id, stream, flush);
}

fn collect_state<T>(id: &StreamId, stream: &OpenStream<T>, flush: &mut Flush) {
    if stream.state != stream.committed_state {
        let canceller = stream.canceller.clone().filter(|_| stream.state == StreamState::Cancelling);
        let touched = match stream.state {
            // Only this instance has lost its producer: another one may have it by now.
            StreamState::Paused => Some(Some(stream.touched)),
            // Another instance may have text by now, and so a later state.
            StreamState::Processing => Some(None),
            StreamState::Accepted | StreamState::Streaming | StreamState::Cancelling => None,
        };
        let fence = touched.map(|touched| StreamFence {
            generation: stream.flight.as_ref().map_or(stream.generation, |flight| flight.generation),
            next: stream.flight.as_ref().map_or(stream.text.next(), |flight| position(flight.pieces.next())),
            touched,
        });
        flush.states.push(StateRow { id: id.clone(), state: stream.state, canceller, fence });
    }
}
