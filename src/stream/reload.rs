//! Streams of a store that several instances write, as they are loaded from it: for the first time here, or because it may have them
//! otherwise.

use super::facts::OpenQuestion;
use super::fate::{LoadedStream, Touched};
use super::flush::EndFate;
use super::frames;
use super::grid::FlushUrgency;
use super::ledger::{Ledger, SharedStream};
use super::open::{FlushList, OpenStream, PendingEnd, StreamEnder, StreamOrigin};
use super::order::{StoredStream, StreamAppend, StreamBegin};
use super::output::{CancelledBy, StreamOutput};
use super::part::{PartFault, join};
use super::pieces::{Pieces, position};
use super::reconcile::{PiecesWriter, Reconciled};
use super::settings::RETRY_MS;
use super::text::StreamText;
use super::waiting::{GivenUp, PiecesLeft};
use crate::clock::Moment;
use crate::id::UserName;
use crate::wire::stream::{
    BegunStream, EndCause, Generation, News, Piece, Position, StreamEnd, StreamFault, StreamId, StreamNews,
    StreamState,
};

impl<T: Copy> Ledger<T> {
    /// Refuses a begin before its commit, where `beginning` bytes are promised to other begins. The store counts the streams of a channel.
    /// Returns the bytes that the stream takes.
    pub fn admit(&self, begin: StreamBegin, beginning: usize, now: Moment) -> Result<usize, StreamFault> {
        let stream = self.beginning(begin, now);
        self.check_begin(&stream, beginning)?;
        Ok(stream.bytes().kept)
    }

    /// Opens a stream whose begin is committed.
    pub fn begun(&mut self, begin: StreamBegin, touched: Touched, now: Moment) -> BegunStream {
        let (id, producer) = (begin.id.clone(), begin.producer);
        if !self.has(&id) {
            let mut stream = self.beginning(begin, now);
            stream.touched = touched;
            self.open_first(&id, stream, producer);
        }
        BegunStream { generation: Generation::FIRST, next: Position::ZERO, ended: None }
    }

    /// The store has an open stream so. If it is open here, what is new in it is shown, and what waits is kept if it adjoins; otherwise
    /// it is opened, without a producer. If a part of it cannot be read, it is opened all the same, and ends with the text before that part.
    pub fn loaded(
        &mut self,
        loaded: LoadedStream,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) -> Result<(), PartFault> {
        let (stored, read) = join(&loaded.parts);
        if let Err(fault) = read {
            self.end_damaged(loaded, stored, now, out);
            return Err(fault);
        }
        match self.has(&loaded.stream.id) {
            true => self.reconcile(loaded, stored, now, out),
            false => self.adopt(loaded, stored, now),
        }
        Ok(())
    }

    fn adopt(&mut self, loaded: LoadedStream, stored: Pieces, now: Moment) {
        let LoadedStream { stream, touched, canceller, restarted, .. } = loaded;
        let StoredStream { id, author, options, begun, generation, state, age, asked } = stream;
        let mut clocks = self.clocks_of_stored(&options, state, now, age);
        if state == StreamState::Cancelling {
            clocks.cancel_end = Some(now + self.settings.cancel);
        }
        let options = self.open_options(options);
        let mut stream = OpenStream::new(StreamOrigin { author, options, begun, generation, state, clocks });
        let is_blank = stored.is_empty() && restarted == 0;
        stream.question = asked.filter(|_| is_blank).map(|age| OpenQuestion::new(now, age));
        stream.reconcile(generation, stored, &self.settings);
        (stream.touched, stream.canceller, stream.restarted) = (touched, canceller, restarted);
        self.open(&id, stream);
    }

    /// Nothing can follow a part that cannot be read. What waits is refused, and producers begin another stream.
    fn end_damaged(
        &mut self,
        loaded: LoadedStream,
        readable: Pieces,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) {
        let id = loaded.stream.id.clone();
        let stored_next = loaded.parts.last().map_or(Position::ZERO, |row| row.next);
        let mut waiting = self.close(&id, out).map(|known| known.waiting).unwrap_or_default();
        waiting.give_up(&id, StreamFault::Overloaded { retry_ms: RETRY_MS }, GivenUp::WithRestarts, out);
        self.adopt(loaded, readable, now);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        (stream.waiting, stream.damaged) = (waiting, Some(stored_next));
        let by = StreamEnder::Lasting(EndCause::Damaged);
        stream.ending = Some(PendingEnd { end: StreamEnd::Failed, at: None, by });
        self.list(&id, FlushUrgency::Early);
        self.resume(out);
    }

    fn reconcile(&mut self, loaded: LoadedStream, stored: Pieces, now: Moment, out: &mut StreamOutput<T>) {
        let LoadedStream { stream: found, touched, canceller, restarted, .. } = loaded;
        let (id, generation) = (found.id, found.generation);
        self.behind.remove(&id);
        let Ledger { streams, settings, buffer, .. } = self;
        let Some(stream) = streams.get_mut(&id) else { return };
        let (known, next) = (stream.generation, position(stored.next()));
        let (wanted, first) = (stream.state, out.news.len());
        let Reconciled { added, writer, given_up } = stream.reconcile(generation, stored, settings);
        stream.restarted = stream.restarted.max(restarted);
        match writer {
            PiecesWriter::Here if !added.is_empty() => stream.note_piece(now, &mut out.answers),
            PiecesWriter::Elsewhere if !added.is_empty() || restarted > 0 => stream.question = None,
            PiecesWriter::Here | PiecesWriter::Elsewhere => {}
        }
        if touched != stream.touched || writer == PiecesWriter::Elsewhere {
            stream.note_life_elsewhere(touched, now);
        }
        if !stream.producers.is_empty() {
            stream.clocks.orphaned = None;
        }
        let mut tell = |news| out.news.push(StreamNews { id: id.clone(), generation, news });
        if generation != known {
            tell(News::Restarted(frames::restarted(&id, generation, stream.committed_state)));
        }
        if !added.is_empty() {
            let at = position(added.at());
            tell(News::Pieces { at, next, frames: frames::pieces(&id, generation, &added, buffer) });
        }
        if writer == PiecesWriter::Elsewhere {
            out.note_heard(first);
        }
        if let Some((fault, restarts)) = given_up {
            stream.waiting.give_up(&id, fault, restarts, out);
        }
        stream.check_ending(&id, given_up.map(|(fault, _)| fault), out);
        let first = out.news.len();
        self.take_state(&id, found.state, canceller, now, out);
        // If it waited here too, it may have been stored by a commit without an answer.
        if wanted != found.state {
            out.note_heard(first);
        }
        self.go_on(&id, out);
        if writer == PiecesWriter::Elsewhere && !added.is_empty() {
            self.let_go_if_full(&id, out);
        }
    }

    /// Takes over the state that the store has.
    fn take_state(
        &mut self,
        id: &StreamId,
        state: StreamState,
        canceller: Option<UserName>,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) {
        let cancel_end = now + self.settings.cancel;
        let life = self.settings.life;
        let Some(stream) = self.streams.get_mut(id) else { return };
        if state == StreamState::Cancelling {
            stream.enter(state, now, life);
            stream.canceller = canceller.or(stream.canceller.take());
            stream.clocks.cancel_end.get_or_insert(cancel_end);
            out.cancelled.extend(stream.cancelled(id, CancelledBy::Elsewhere));
        } else if stream.state != StreamState::Cancelling {
            let has_producer = !stream.producers.is_empty();
            // A step of an answer that is not committed yet stays wanted.
            let is_wanted = state.is_before(stream.state) && stream.state != StreamState::Paused;
            if state == StreamState::Paused && has_producer {
                stream.state = stream.resumed();
            } else if !is_wanted {
                stream.enter(state, now, life);
            }
        }
        if state != stream.committed_state {
            self.show_state(id, state, now, out);
        }
    }

    /// Goes on with a stream that is as the store has it.
    fn go_on(&mut self, id: &StreamId, out: &mut StreamOutput<T>) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (reached, is_empty) = (stream.reached(), stream.pending.is_empty());
        let left = if is_empty { PiecesLeft::None } else { PiecesLeft::Some };
        stream.waiting.committed(id, reached, left, out);
        let is_due =
            stream.has_waiting() || stream.ending.is_some() || stream.state != stream.committed_state;
        if stream.listed == FlushList::Later {
            stream.listed = FlushList::No;
        }
        self.recount(id);
        self.schedule(id);
        if is_due {
            self.list(id, FlushUrgency::Early);
        }
        self.resume(out);
    }

    /// The end that was asked for here is stored.
    pub fn finished(&mut self, id: &StreamId, fate: EndFate, now: Moment, out: &mut StreamOutput<T>) {
        self.finish(id, fate, now, out);
        self.resume(out);
    }

    /// The end of the committed text of a stream, if the store has less of it now: it has lost commits.
    pub fn known_beyond(&self, loaded: &LoadedStream) -> Option<(Generation, Position)> {
        let stream = self.streams.get(&loaded.stream.id)?;
        let stored = loaded.parts.last().map_or(Position::ZERO, |row| row.next);
        let known = (stream.generation, stream.text.next());
        (known > (loaded.stream.generation, stored)).then_some(known)
    }

    /// True if a stream is open here, and nothing says that the store has it otherwise.
    pub fn is_current(&self, id: &StreamId) -> bool {
        self.has(id) && !self.behind.contains(id)
    }

    /// The bytes of a stream with its text.
    pub fn bytes_of(&self, id: &StreamId) -> usize {
        self.streams.get(id).map_or(0, |stream| stream.counted.kept)
    }

    /// True if an append would be refused for its position or generation. The store may know better than the ledger, so load the
    /// stream before the append is given to [`take`](Ledger::take).
    pub fn contradicts(
        &self,
        id: &StreamId,
        generation: Option<Generation>,
        at: Option<Position>,
        piece: &Piece,
    ) -> bool {
        self.streams.get(id).is_some_and(|stream| {
            let adjoins = generation.is_none_or(|generation| generation == stream.head)
                && at.is_none_or(|at| at == stream.next());
            !adjoins && stream.examine(StreamAppend { generation, at, piece: piece.clone() }).is_err()
        })
    }

    /// The same for an end.
    pub fn contradicts_end(
        &self,
        id: &StreamId,
        generation: Option<Generation>,
        at: Option<Position>,
    ) -> bool {
        self.streams.get(id).is_some_and(|stream| {
            stream.ending.is_none()
                && stream.check_generation(generation).and_then(|()| stream.check_end(at)).is_err()
        })
    }
}

impl<T: Copy> OpenStream<T> {
    /// Drops an end that is not at the end of the text any more, and those of the gateway: their deadlines may be later now.
    fn check_ending(&mut self, id: &StreamId, given_up: Option<StreamFault>, out: &mut StreamOutput<T>) {
        let Some(ending) = &self.ending else { return };
        let fault = match ending.by {
            StreamEnder::Gateway(_) => None,
            StreamEnder::Lasting(_) => return,
            StreamEnder::Producer(_) => match given_up.map_or(self.check_end(ending.at), Err) {
                Ok(()) => return,
                Err(fault) => Some(fault),
            },
        };
        self.ending = None;
        if let Some(fault) = fault {
            self.waiting.refuse_end(id, fault, out);
        }
        self.waiting.refuse_after_end(id, self.state, out);
    }
}

impl LoadedStream {
    /// The stream as readers may see it.
    pub fn shared(&self) -> Result<SharedStream, PartFault> {
        let mut text = StreamText::default();
        let (pieces, read) = join(&self.parts);
        read?;
        text.extend(&pieces);
        Ok(SharedStream { generation: self.stream.generation, state: self.stream.state, text })
    }
}
