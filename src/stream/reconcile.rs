//! An open stream that the store has otherwise: the part of what waits that is left to be stored.

use super::open::{OpenStream, StoreView};
use super::pieces::{PieceEntry, Pieces, position};
use super::settings::StreamSettings;
use super::size::EndSize;
use super::text::StreamText;
use super::waiting::GivenUp;
use crate::wire::stream::{Generation, StreamFault};

/// The difference between a stream as it was known and as the store has it.
pub(super) struct Reconciled {
    /// The stored pieces that were not known here.
    pub(super) added: Pieces,
    pub(super) writer: PiecesWriter,
    /// The reason why what waited was given up; `None`: it still adjoins.
    pub(super) given_up: Option<(StreamFault, GivenUp)>,
}

/// The writer of stored pieces that were not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PiecesWriter {
    /// This instance, by a commit whose outcome it does not know: they waited here.
    Here,
    Elsewhere,
}

impl<T: Copy> OpenStream<T> {
    /// Makes the text that of the store. What waits stays if it begins with what the store has beyond the text that was known: that is
    /// stored, and the rest follows it.
    pub(super) fn reconcile(
        &mut self,
        generation: Generation,
        stored: Pieces,
        settings: &StreamSettings,
    ) -> Reconciled {
        let restart_lost = std::mem::replace(&mut self.view, StoreView::Current) == StoreView::RestartLost;
        let waited_until = if self.head == generation { self.pending.next() } else { 0 };
        let mut given_up = None;
        if self.head < generation || restart_lost && self.head == generation {
            given_up = Some((StreamFault::Stale { generation }, GivenUp::WithRestarts));
        } else if self.head == generation {
            match left_after(&self.pending, &stored) {
                Some(rest) => self.pending = rest,
                None => {
                    let next = position(stored.next());
                    given_up = Some((StreamFault::Diverged { next }, GivenUp::Pieces));
                }
            }
        }
        let known = if generation == self.generation { self.text.end() } else { 0 };
        let added = stored.after(known).unwrap_or_default();
        if known == 0 || known > stored.next() {
            self.text = StreamText::default();
            self.text.extend(&stored);
        } else {
            self.text.extend(&added);
        }
        self.generation = generation;
        if given_up.is_some() {
            self.drop_pending(generation, &stored);
        } else if self.head == generation {
            self.size = EndSize::default().with(&stored).with(&self.pending);
            if !self.pending.is_empty() && !self.fits(self.size, settings) {
                given_up = Some((StreamFault::TooLarge, GivenUp::Pieces));
                self.drop_pending(generation, &stored);
            }
        }
        let is_own = given_up.is_none() && waited_until >= stored.next();
        let writer = if is_own { PiecesWriter::Here } else { PiecesWriter::Elsewhere };
        Reconciled { added, writer, given_up }
    }

    fn drop_pending(&mut self, generation: Generation, stored: &Pieces) {
        self.head = generation;
        self.pending = Pieces::empty(stored.next());
        self.size = EndSize::default().with(stored);
    }
}

impl EndSize {
    fn with(self, pieces: &Pieces) -> EndSize {
        pieces.entries().fold(self, |size, entry| match entry {
            PieceEntry::Text { text, .. } => size.with_text(text),
            PieceEntry::Event(event) => size.with_event(event.kind.as_str(), &event.data),
        })
    }
}

/// The rest of what waits, if the store has exactly its beginning; `None` if it has something else there.
fn left_after(waiting: &Pieces, stored: &Pieces) -> Option<Pieces> {
    let end = stored.next();
    let is_stored = |entry: PieceEntry<'_>| match entry {
        PieceEntry::Text { at, text } => {
            let at = at.0 as usize;
            let shared = text.len().min(end.saturating_sub(at));
            shared == 0 || stored.has_text(at, text.as_bytes().get(..shared).unwrap_or_default())
        }
        PieceEntry::Event(event) => {
            let at = event.at.0 as usize;
            at >= end || stored.has_event(at, &event.kind, &event.data)
        }
    };
    if waiting.at() > end || !waiting.entries().all(is_stored) {
        return None;
    }
    if waiting.next() <= end { Some(Pieces::empty(end)) } else { waiting.after(end) }
}
