//! One open stream: the committed text, the pieces that are being committed, and the waiting ones.

use super::deadline::Clocks;
use super::facts::OpenQuestion;
use super::fence::Touched;
use super::flush::EndFate;
use super::order::{OpenOptions, StreamAppend, StreamSender};
use super::pieces::{PieceEntry, Pieces, position};
use super::settings::{RESTARTED_MESSAGES, RETRY_MS, STREAM_BYTES, StreamSettings};
use super::share::{Bytes, StreamShares};
use super::size::EndSize;
use super::text::StreamText;
use super::waiting::{FinalState, Reached, WaitingList};
use crate::clock::Moment;
use crate::id::{ProducerId, UserName};

use crate::wire::stream::{
    EndCause, Generation, Piece, Position, ProducerNotice, StreamEnd, StreamFault, StreamId, StreamState,
};

/// An open stream.
///
/// Always true: `text`, `flight` and `pending` adjoin, unless a restart waits; then `text` (and `flight`, if it is of the old
/// generation) is what readers have, and `pending` begins at 0.
#[derive(Debug)]
pub(super) struct OpenStream<T> {
    pub(super) author: UserName,
    pub(super) options: OpenOptions,
    pub(super) begun: Box<str>,
    /// The committed generation, and its committed text.
    pub(super) generation: Generation,
    pub(super) text: StreamText,
    /// The generation of what waits; above `generation` while a restart waits.
    pub(super) head: Generation,
    pub(super) pending: Pieces,
    /// The pieces that are being committed.
    pub(super) flight: Option<Flight>,
    /// Of the newest generation, with what waits.
    pub(super) size: EndSize,
    /// The bytes of the generations before it. After a start, the ones that the store still has.
    pub(super) restarted: usize,
    /// The state, and the one that is committed.
    pub(super) state: StreamState,
    pub(super) committed_state: StreamState,
    pub(super) first_news: FirstNews,
    /// `None` once the answer has a piece.
    pub(super) question: Option<OpenQuestion>,
    /// The user that cancelled it.
    pub(super) canceller: Option<UserName>,
    pub(super) ending: Option<PendingEnd>,
    /// The newest is the last.
    pub(super) producers: Vec<ProducerId>,
    pub(super) waiting: WaitingList<T>,
    pub(super) clocks: Clocks,
    /// The last flush with pieces of it.
    pub(super) cut_at: Option<Moment>,
    pub(super) listed: FlushList,
    pub(super) view: StoreView,
    /// The end of the stored text, if a part of it cannot be read.
    pub(super) damaged: Option<Position>,
    pub(super) touched: Touched,
    /// The last sign of life that went, or is to go, to the store in `touched`.
    pub(super) touched_at: Moment,
    /// The stream's place among the deadlines.
    pub(super) place: Option<Moment>,
    /// As the shares have it.
    pub(super) counted: Bytes,
}

/// Pieces on their way into the store.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) generation: Generation,
    pub(super) pieces: Pieces,
}

/// Says if the next flush looks at a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlushList {
    Yes,
    No,
    /// Not before the time in [`put_off`](super::Ledger::put_off).
    Later,
}

/// Says if the store has the stream as the ledger knows it. Another instance may write it; while that is suspected, nothing of the
/// stream is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreView {
    Current,
    Behind,
    /// The same, because the store refused a restart: another writer was first.
    RestartLost,
}

/// Says if readers know the state of an answer that has just begun: they take a stream that begins for one that is streaming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstNews {
    Sent,
    /// It follows the begin with the next flush.
    Due,
}

/// An end that is to be committed.
#[derive(Clone, Debug)]
pub(super) struct PendingEnd {
    pub(super) end: StreamEnd,
    /// The position that its producer named.
    pub(super) at: Option<Position>,
    pub(super) by: StreamEnder,
}

/// The party that ends a stream.
#[derive(Clone, Debug)]
pub(super) enum StreamEnder {
    /// With JSON in place of the text, if it has some.
    Producer(Option<Box<str>>),
    /// A deadline; `None`: that of a cancel.
    Gateway(Option<EndCause>),
    /// For a reason that stays: the relay had the question of this answer not taken, or a part cannot be read.
    Lasting(EndCause),
}

/// An append that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Examined {
    /// A part of it, perhaps all, is to be added at the end.
    New(Piece),
    /// All of it is there, below this position.
    Known(Position),
    /// The end is being committed.
    Late,
}

/// The facts with which a stream begins.
pub(super) struct StreamOrigin {
    pub(super) author: UserName,
    pub(super) options: OpenOptions,
    pub(super) begun: Box<str>,
    pub(super) generation: Generation,
    pub(super) state: StreamState,
    pub(super) clocks: Clocks,
}

impl<T: Copy> OpenStream<T> {
    pub(super) fn new(origin: StreamOrigin) -> OpenStream<T> {
        let StreamOrigin { author, options, begun, generation, state, clocks } = origin;
        let touched_at = clocks.sign;
        OpenStream {
            author,
            options,
            begun,
            generation,
            text: StreamText::default(),
            head: generation,
            pending: Pieces::default(),
            flight: None,
            size: EndSize::default(),
            restarted: 0,
            state,
            committed_state: state,
            first_news: FirstNews::Sent,
            question: None,
            canceller: None,
            ending: None,
            producers: Vec::new(),
            waiting: WaitingList::default(),
            clocks,
            cut_at: None,
            listed: FlushList::No,
            view: StoreView::Current,
            damaged: None,
            touched: Touched::default(),
            touched_at,
            place: None,
            counted: Bytes::default(),
        }
    }

    /// The bytes that the stream takes.
    pub(super) fn bytes(&self) -> Bytes {
        let flight = self.flight.as_ref().map_or(0, |flight| flight.pieces.bytes());
        Bytes {
            kept: STREAM_BYTES + self.begun.len() + self.text.bytes(),
            waiting: self.pending.bytes() + flight,
        }
    }

    /// True if the end without any text fits into a message.
    pub(super) fn can_begin(&self, settings: &StreamSettings) -> bool {
        self.fits(EndSize::default(), settings)
    }

    pub(super) fn fits(&self, size: EndSize, settings: &StreamSettings) -> bool {
        size.fits(&self.begun, self.options.keep, settings.message_bytes, settings.events_per_stream)
    }

    /// The position after everything that was taken.
    pub(super) fn next(&self) -> Position {
        position(self.pending.next())
    }

    /// The position after everything that is committed of the newest generation.
    pub(super) fn committed_next(&self) -> Position {
        if self.head == self.generation { self.text.next() } else { Position::ZERO }
    }

    pub(super) fn reached(&self) -> Reached {
        let (generation, state) = (self.generation, self.committed_state);
        Reached { generation, next: self.text.next(), state }
    }

    pub(super) fn final_state(&self, fate: EndFate) -> FinalState {
        FinalState { generation: self.head, next: self.next(), fate }
    }

    /// Refuses an order of another user than the author, and a command that there is no room to answer.
    pub(super) fn admit(&self, sender: &StreamSender<'_, T>) -> Result<(), StreamFault> {
        if *sender.user != self.author {
            return Err(StreamFault::NotAuthor);
        }
        self.admit_waiting(sender)
    }

    /// Refuses a command that there is no room to answer.
    pub(super) fn admit_waiting(&self, sender: &StreamSender<'_, T>) -> Result<(), StreamFault> {
        if sender.ticket.is_some() && !self.waiting.has_room() {
            return Err(StreamFault::Overloaded { retry_ms: RETRY_MS });
        }
        Ok(())
    }

    /// Refuses orders for another generation than the newest. Those for an answer must name it, because a backend whose request is
    /// repeated runs twice.
    pub(super) fn check_generation(&self, generation: Option<Generation>) -> Result<(), StreamFault> {
        match generation {
            Some(generation) if generation != self.head => Err(StreamFault::Stale { generation: self.head }),
            None if self.options.answer.is_some() => Err(StreamFault::NoGeneration),
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses an end at another position than that after everything.
    pub(super) fn check_end(&self, at: Option<Position>) -> Result<(), StreamFault> {
        let next = self.next();
        match at {
            Some(at) if at > next => Err(StreamFault::Gap { next }),
            Some(at) if at < next => Err(StreamFault::Diverged { next }),
            Some(_) | None => Ok(()),
        }
    }

    /// Compares an append with what there is. A repeat is known, and an overlap is cut.
    pub(super) fn examine(&self, append: StreamAppend) -> Result<Examined, StreamFault> {
        if self.ending.is_some() {
            return Ok(Examined::Late);
        }
        self.check_generation(append.generation)?;
        let next = self.pending.next();
        let at = append.at.map_or(next, |at| at.0 as usize);
        if at > next {
            return Err(StreamFault::Gap { next: position(next) });
        }
        let end = at + append.piece.length();
        match append.piece {
            Piece::Alive => Ok(Examined::Known(position(end))),
            piece if at == next => Ok(Examined::New(piece)),
            Piece::Text(text) => {
                let diverged = StreamFault::Diverged { next: position(next) };
                let known = text.as_bytes().get(..next - at).unwrap_or(text.as_bytes());
                if !self.has_text(at, known) {
                    return Err(diverged);
                }
                let rest = text.get(known.len()..).ok_or(diverged)?;
                if rest.is_empty() {
                    return Ok(Examined::Known(position(end)));
                }
                Ok(Examined::New(Piece::Text(Box::from(rest))))
            }
            Piece::Event { kind, data } => {
                let is_known = self.text_of_head().is_some_and(|text| text.has_event(at, &kind, &data))
                    || self.waiting_pieces().any(|pieces| pieces.has_event(at, &kind, &data));
                match is_known {
                    true => Ok(Examined::Known(position(end))),
                    false => Err(StreamFault::Diverged { next: position(next) }),
                }
            }
        }
    }

    /// The committed text, if it is of the newest generation.
    pub(super) fn text_of_head(&self) -> Option<&StreamText> {
        (self.generation == self.head).then_some(&self.text)
    }

    /// The pieces of the newest generation that are not committed, in order.
    pub(super) fn waiting_pieces(&self) -> impl Iterator<Item = &Pieces> {
        let flight = self.flight.as_ref().filter(|flight| flight.generation == self.head);
        flight.map(|flight| &flight.pieces).into_iter().chain([&self.pending])
    }

    /// True if these bytes, which end at or before the end of the stream, are its text at this position.
    fn has_text(&self, at: usize, text: &[u8]) -> bool {
        let end = at + text.len();
        let part = |from: usize, to: usize| {
            let (from, to) = (from.max(at), to.min(end));
            text.get(from - at..to.max(from) - at).filter(|part| !part.is_empty()).map(|part| (from, part))
        };
        let committed = self
            .text_of_head()
            .is_none_or(|known| part(at, known.end()).is_none_or(|(from, part)| known.has_text(from, part)));
        committed
            && self.waiting_pieces().all(|known| {
                part(known.at(), known.next()).is_none_or(|(from, part)| known.has_text(from, part))
            })
    }

    /// Adds a piece at the end.
    pub(super) fn push(&mut self, piece: Piece, settings: &StreamSettings) -> Result<(), StreamFault> {
        let size = match &piece {
            Piece::Text(text) => self.size.with_text(text),
            Piece::Event { kind, data } => self.size.with_event(kind.as_str(), data),
            Piece::Alive => self.size,
        };
        if !self.fits(size, settings) {
            return Err(StreamFault::TooLarge);
        }
        self.size = size;
        match piece {
            Piece::Text(text) => self.pending.push_text(&text),
            Piece::Event { kind, data } => self.pending.push_event(kind, data),
            Piece::Alive => {}
        }
        Ok(())
    }

    /// Begins the next generation. What waits of the newest one is given up.
    pub(super) fn restart(&mut self, settings: &StreamSettings) -> Result<(), StreamFault> {
        let restarted = self.restarted.saturating_add(self.size.bytes());
        if restarted > settings.message_bytes.saturating_mul(RESTARTED_MESSAGES) {
            return Err(StreamFault::TooLarge);
        }
        self.restarted = restarted;
        self.head = Generation(self.head.0.saturating_add(1));
        self.pending = Pieces::default();
        self.size = EndSize::default();
        Ok(())
    }

    /// True if pieces of the newest generation are not known to be committed.
    pub(super) fn has_pieces_waiting(&self) -> bool {
        self.waiting_pieces().any(|pieces| !pieces.is_empty())
    }

    /// True if pieces or a restart wait for a commit.
    pub(super) fn has_waiting(&self) -> bool {
        !self.pending.is_empty() || self.head != self.generation
    }

    /// Takes what waits for a commit.
    pub(super) fn cut(&mut self, now: Moment) -> &Flight {
        let next = self.pending.next();
        let pieces = std::mem::replace(&mut self.pending, Pieces::empty(next));
        if !pieces.is_empty() {
            self.cut_at = Some(now);
            self.clocks.touch = None;
        }
        self.flight.insert(Flight { generation: self.head, pieces })
    }

    /// Tells the shares of the bytes that it has now.
    pub(super) fn recount(&mut self, shares: &mut StreamShares) {
        let bytes = self.bytes();
        shares.change(self.payer(), self.counted, bytes);
        self.counted = bytes;
    }

    /// Adds the stream to the list of the next flush, unless it is in one.
    pub(super) fn join_list(&mut self, id: &StreamId, list: &mut Vec<StreamId>) {
        if self.listed == FlushList::No {
            self.listed = FlushList::Yes;
            list.push(id.clone());
        }
    }

    /// The notice of a cancel that is committed.
    pub(super) fn cancel_notice(&self, id: &StreamId, now: Moment) -> Option<ProducerNotice> {
        if self.committed_state != StreamState::Cancelling {
            return None;
        }
        let end_ms = u32::try_from(self.clocks.cancel_end?.since(now).as_millis()).unwrap_or(u32::MAX);
        let user = self.canceller.clone()?;
        Some(ProducerNotice::Cancel { id: id.clone(), generation: self.generation, user, end_ms })
    }

    /// The flight is committed. Returns it.
    pub(super) fn land(&mut self) -> Option<Flight> {
        let flight = self.flight.take()?;
        if flight.generation != self.generation {
            self.generation = flight.generation;
            self.text = StreamText::default();
        }
        self.text.extend(&flight.pieces);
        Some(flight)
    }

    /// The flight is not committed: its pieces wait again.
    pub(super) fn turn_back(&mut self) {
        let Some(flight) = self.flight.take() else { return };
        if flight.generation == self.head {
            let later = std::mem::replace(&mut self.pending, flight.pieces);
            self.pending.extend(later);
        }
    }

    /// Adds pieces that the store has. Known ones are dropped; `None` if some are missing before them.
    pub(super) fn restore(&mut self, pieces: &Pieces) -> Option<()> {
        if pieces.next() <= self.text.end() {
            return Some(());
        }
        let pieces = pieces.after(self.text.end())?;
        for entry in pieces.entries() {
            self.size = match entry {
                PieceEntry::Text { text, .. } => self.size.with_text(text),
                PieceEntry::Event(event) => self.size.with_event(event.kind.as_str(), &event.data),
            };
        }
        self.text.extend(&pieces);
        self.question = None;
        self.pending = Pieces::empty(self.text.end());
        Some(())
    }
}
