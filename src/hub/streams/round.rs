//! One read of a channel's open streams, and what arrives from its request on.

use crate::hub::id::SubscriptionId;
use crate::id::Offset;
use crate::wire::stream::{Generation, News, Position, StreamNews, StreamState, WholeStream};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of frames that a round keeps while its answer is awaited. An answered one keeps in addition as much as its wholes have, so that
/// a subscriber that reads faster than the streams grow is shown all of it. Over it the streams are read again.
pub(super) const KEPT_BYTES_MAX: usize = 64 << 10;
/// The bytes that each kept item counts in addition to its frames.
const KEPT_ITEM_BYTES: usize = 64;

/// How far a reader has a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamProgress {
    pub(super) generation: Generation,
    pub(super) next: Position,
    pub(super) state: StreamState,
}

/// A change of a stream, compared with what a reader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewsStep {
    /// It comes next.
    Adjoins,
    /// The reader has it.
    Known,
    /// Something before it is missing.
    Hole,
}

impl StreamProgress {
    /// That of a stream that has just begun.
    pub(super) const BEGUN: StreamProgress =
        StreamProgress { generation: Generation::FIRST, next: Position::ZERO, state: StreamState::Streaming };

    pub(super) fn of(whole: &WholeStream) -> StreamProgress {
        StreamProgress { generation: whole.generation, next: whole.next, state: whole.state }
    }

    /// True exactly when the other reader has more.
    pub(super) fn is_behind(self, other: StreamProgress) -> bool {
        (self.generation, self.next) < (other.generation, other.next)
    }

    /// Takes a change if it comes next.
    pub(super) fn follow(&mut self, news: &StreamNews) -> NewsStep {
        if news.generation < self.generation {
            return NewsStep::Known;
        }
        let is_newer = news.generation > self.generation;
        match news.news {
            News::Restarted(_) if is_newer => {
                (self.generation, self.next) = (news.generation, Position::ZERO);
                NewsStep::Adjoins
            }
            News::Restarted(_) => NewsStep::Known,
            News::State(_, _) | News::Pieces { .. } if is_newer => NewsStep::Hole,
            News::State(state, _) => {
                self.state = state;
                NewsStep::Adjoins
            }
            News::Pieces { at, next, .. } if at == self.next => {
                self.next = next;
                NewsStep::Adjoins
            }
            News::Pieces { next, .. } if next <= self.next => NewsStep::Known,
            News::Pieces { .. } => NewsStep::Hole,
        }
    }
}

/// Something that arrived since the request of a round.
#[derive(Clone, Debug)]
pub(super) enum KeptChange {
    Begun(Offset),
    News(StreamNews),
    Ended(Offset),
}

impl KeptChange {
    fn bytes(&self) -> usize {
        let frames = match self {
            KeptChange::News(news) => news.news.frames().len(),
            KeptChange::Begun(_) | KeptChange::Ended(_) => 0,
        };
        KEPT_ITEM_BYTES + frames
    }
}

/// The answer of a round.
#[derive(Debug)]
pub(super) enum StreamsAnswer {
    /// It is awaited.
    Asked,
    /// It is awaited, and the streams are read again after it, because it may be too old.
    Outdated,
    /// The open streams, without the ones that ended since.
    Read(Vec<WholeStream>),
    /// There was none.
    Failed,
}

/// One read for all that need it: see the module documentation.
#[derive(Debug)]
pub(super) struct StreamRound {
    pub(super) answer: StreamsAnswer,
    /// Subscribers that wait for the answer.
    pub(super) waiting: Vec<SubscriptionId>,
    kept: Vec<KeptChange>,
    kept_bytes: usize,
    /// The bytes of the answer's frames.
    whole_bytes: usize,
}

impl StreamRound {
    pub(super) fn asked(waiting: Vec<SubscriptionId>) -> StreamRound {
        StreamRound { answer: StreamsAnswer::Asked, waiting, kept: Vec::new(), kept_bytes: 0, whole_bytes: 0 }
    }

    /// The same round with its answer. What was kept so far belongs to it.
    pub(super) fn answered(self, answer: StreamsAnswer) -> StreamRound {
        let whole_bytes = match &answer {
            StreamsAnswer::Read(wholes) => wholes.iter().map(|whole| whole.frame.len()).sum(),
            StreamsAnswer::Asked | StreamsAnswer::Outdated | StreamsAnswer::Failed => 0,
        };
        StreamRound { answer, whole_bytes, ..self }
    }

    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.answer, StreamsAnswer::Asked | StreamsAnswer::Outdated)
    }

    /// Has the streams read again after the answer that is awaited.
    pub(super) fn outdate(&mut self) {
        self.answer = StreamsAnswer::Outdated;
        self.forget_kept();
    }

    fn forget_kept(&mut self) {
        self.kept = Vec::new();
        self.kept_bytes = 0;
    }

    /// Keeps something that may be needed. False if it would be more than a round keeps.
    #[must_use]
    pub(super) fn keep(&mut self, kept: KeptChange) -> bool {
        match self.answer {
            StreamsAnswer::Outdated | StreamsAnswer::Failed => return true,
            StreamsAnswer::Asked | StreamsAnswer::Read(_) => {}
        }
        self.kept_bytes += kept.bytes();
        self.kept.push(kept);
        self.kept_bytes <= self.kept_bytes_max()
    }

    /// The bytes that it keeps at most.
    pub(super) fn kept_bytes_max(&self) -> usize {
        KEPT_BYTES_MAX + self.whole_bytes
    }

    /// The bytes of what was kept from this item on.
    pub(super) fn kept_bytes_from(&self, first: usize) -> usize {
        self.kept.iter().skip(first).map(KeptChange::bytes).sum()
    }

    /// Appends the frames that were kept from item `first` on and follow the wholes, of streams for which `is_open` holds, until there are
    /// `most` bytes. Returns the number of the next item.
    pub(super) fn write_kept(
        &self,
        wholes: &[WholeStream],
        first: usize,
        most: usize,
        is_open: impl Fn(Offset) -> bool,
        out: &mut Vec<u8>,
    ) -> usize {
        let start = out.len();
        let mut progress: BTreeMap<Offset, StreamProgress> =
            wholes.iter().map(|whole| (whole.id.offset, StreamProgress::of(whole))).collect();
        for (index, kept) in self.kept.iter().enumerate() {
            if out.len() - start >= most {
                return index;
            }
            let KeptChange::News(news) = kept else { continue };
            let step = progress.entry(news.id.offset).or_insert(StreamProgress::BEGUN).follow(news);
            if step == NewsStep::Adjoins && index >= first && is_open(news.id.offset) {
                out.extend_from_slice(news.news.frames());
            }
        }
        self.kept.len()
    }

    pub(super) fn has_begun(&self, offset: Offset) -> bool {
        self.kept.iter().any(|kept| matches!(kept, KeptChange::Begun(begun) if *begun == offset))
    }

    pub(super) fn has_ended(&self, offset: Offset) -> bool {
        self.kept.iter().any(|kept| matches!(kept, KeptChange::Ended(ended) if *ended == offset))
    }

    /// The streams that changed since the request and are not over.
    pub(super) fn changed(&self) -> impl Iterator<Item = Offset> {
        let changed = self.kept.iter().filter_map(|kept| match kept {
            KeptChange::News(news) => Some(news.id.offset),
            KeptChange::Begun(_) | KeptChange::Ended(_) => None,
        });
        changed.filter(|offset| !self.has_ended(*offset))
    }

    /// Follows a stream through what was kept, and calls `each` with the frames that come next. False if something is missing.
    pub(super) fn follow(
        &self,
        offset: Offset,
        progress: &mut StreamProgress,
        mut each: impl FnMut(&Arc<[u8]>),
    ) -> bool {
        let mut adjoins = true;
        for kept in &self.kept {
            let KeptChange::News(news) = kept else { continue };
            if news.id.offset != offset {
                continue;
            }
            match progress.follow(news) {
                NewsStep::Adjoins => each(news.news.frames()),
                NewsStep::Known => {}
                NewsStep::Hole => adjoins = false,
            }
        }
        adjoins
    }

    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }
}
