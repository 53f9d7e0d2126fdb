//! Recent publications of each channel, kept so that most recoveries need no read from the store.
//!
//! A tail is one unbroken range that ends at the channel's head. One bound applies to each channel and another to all
//! of them together. Over the second, the longest tails lose their oldest publications, so a channel keeps its share of the memory
//! however much is published to others (`docs/decisions/0032-shares-of-recent-publications.md`).

use super::id::ChannelId;
use crate::id::Offset;
use crate::limits::{TAIL_BYTES_MAX, TAIL_PUBLICATIONS_MAX};
use crate::wire::publication::{Change, Published, UNKNOWN_TIME, time_of};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The tail of one channel.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The offset of the first frame.
    first: Offset,
    frames: VecDeque<Arc<[u8]>>,
    bytes: usize,
    rank: Rank,
}

/// The length of a tail, to a power of two: the bits of its bytes, 0 if it is empty. So a tail rarely changes its place among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u8);

impl Rank {
    fn of(bytes: usize) -> Rank {
        Rank((usize::BITS - bytes.leading_zeros()) as u8)
    }
}

/// The offsets that a tail holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coverage {
    first: Offset,
    last: Offset,
}

/// The outcome of lengthening a tail with older publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lengthened {
    /// At least one was added.
    Yes,
    /// There was no room for any.
    Full,
    /// They do not end where the tail begins, or some may have been erased since the read.
    Unfit,
}

impl Coverage {
    #[cfg(test)]
    pub(super) fn from_to(first: Offset, last: Offset) -> Coverage {
        Coverage { first, last }
    }

    /// True exactly when the tail holds everything after `cursor` up to the head and that is at least one publication.
    pub(super) fn reaches(self, cursor: Offset) -> bool {
        self.first <= cursor.next() && cursor < self.last
    }
}

impl Tail {
    /// The offset before the first frame, or `head` if the tail is empty: older publications to add must end there.
    pub(super) fn begins_after(&self, head: Offset) -> Offset {
        if self.frames.is_empty() { head } else { Offset(self.first.0.saturating_sub(1)) }
    }

    /// The number of publications that the tail lacks to serve any recovery.
    pub(super) fn room(&self) -> usize {
        TAIL_PUBLICATIONS_MAX - self.frames.len().min(TAIL_PUBLICATIONS_MAX)
    }

    /// True if the tail holds another publication under the same offset: its commit was at another time. Edits, deletes and erasures
    /// leave the time as it was.
    pub(super) fn contradicts(&self, published: &Published) -> bool {
        let index =
            published.offset.0.checked_sub(self.first.0).and_then(|index| usize::try_from(index).ok());
        let Some(frame) = index.and_then(|index| self.frames.get(index)) else { return false };
        let held = time_of(frame);
        held != published.time_ms && held != UNKNOWN_TIME && published.time_ms != UNKNOWN_TIME
    }

    /// The frames after `cursor`, with their offsets, if the tail reaches back that far.
    pub(super) fn after(&self, cursor: Offset) -> impl Iterator<Item = (Offset, &Arc<[u8]>)> {
        let reaches = !self.frames.is_empty() && self.first <= cursor.next();
        let skip = if reaches { (cursor.next().0 - self.first.0) as usize } else { self.frames.len() };
        let first = self.first.0;
        self.frames
            .iter()
            .enumerate()
            .skip(skip)
            .map(move |(index, frame)| (Offset(first + index as u64), frame))
    }
}

/// The shared bound of all tails of a reactor.
#[derive(Debug)]
pub(super) struct Tails {
    bytes: usize,
    bytes_max: usize,
    /// Every tail that is not empty. The last one is among the longest.
    ranked: BTreeSet<(Rank, ChannelId)>,
}

impl Tails {
    pub(super) fn new(bytes_max: usize) -> Tails {
        Tails { bytes: 0, bytes_max, ranked: BTreeSet::new() }
    }

    pub(super) fn bound(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn covers(&self, tail: &Tail) -> Coverage {
        let last = Offset((tail.first.0 + tail.frames.len() as u64).saturating_sub(1));
        Coverage { first: tail.first, last: if tail.frames.is_empty() { Offset::ZERO } else { last } }
    }

    /// Adds the channel's newest publication. A delete drops everything older, because memory must not serve what was
    /// erased from the store.
    pub(super) fn push(&mut self, tail: &mut Tail, channel: ChannelId, published: &Published) {
        let follows = tail.first.0 + tail.frames.len() as u64 == published.offset.0;
        if !follows || matches!(published.change, Change::Deletes(_)) {
            self.clear(tail, channel);
        }
        if tail.frames.is_empty() {
            tail.first = published.offset;
        }
        tail.frames.push_back(Arc::clone(&published.frame));
        tail.bytes += published.frame.len();
        self.bytes += published.frame.len();
        while tail.frames.len() > TAIL_PUBLICATIONS_MAX || tail.bytes > TAIL_BYTES_MAX {
            self.pop(tail);
        }
        self.rank(tail, channel);
    }

    /// Prepends older publications. The last of `frames` has offset `last`, directly before the tail. The oldest ones
    /// that do not fit are left out. While the total is at its bound, a tail that is shorter than the longest still fits: call
    /// [`Tails::over`] afterwards.
    pub(super) fn lengthen(
        &mut self,
        tail: &mut Tail,
        channel: ChannelId,
        last: Offset,
        frames: &[&[u8]],
    ) -> Lengthened {
        let before = tail.frames.len();
        for frame in frames.iter().rev() {
            let bytes = frame.len();
            let has_share =
                || self.ranked.last().is_some_and(|(rank, _)| Rank::of(tail.bytes + bytes) < *rank);
            let fits = self.bytes + bytes <= self.bytes_max || has_share();
            if tail.room() == 0 || tail.bytes + bytes > TAIL_BYTES_MAX || !fits {
                break;
            }
            tail.first = if tail.frames.is_empty() { last } else { Offset(tail.first.0.saturating_sub(1)) };
            tail.frames.push_front(Arc::from(*frame));
            tail.bytes += bytes;
            self.bytes += bytes;
        }
        self.rank(tail, channel);
        if tail.frames.len() > before { Lengthened::Yes } else { Lengthened::Full }
    }

    fn pop(&mut self, tail: &mut Tail) {
        if let Some(frame) = tail.frames.pop_front() {
            tail.first = tail.first.next();
            tail.bytes -= frame.len();
            self.bytes -= frame.len();
        }
    }

    /// Gives a tail its place among all after its length changed.
    fn rank(&mut self, tail: &mut Tail, channel: ChannelId) {
        let rank = Rank::of(tail.bytes);
        if rank != tail.rank {
            self.move_to(rank, tail, channel);
        }
    }

    #[cold]
    fn move_to(&mut self, rank: Rank, tail: &mut Tail, channel: ChannelId) {
        self.ranked.remove(&(tail.rank, channel));
        if rank != Rank::default() {
            self.ranked.insert((rank, channel));
        }
        tail.rank = rank;
    }

    pub(super) fn clear(&mut self, tail: &mut Tail, channel: ChannelId) {
        self.bytes -= tail.bytes;
        self.ranked.remove(&(tail.rank, channel));
        *tail = Tail::default();
    }

    /// While the total is over the bound, takes the channel that must drop its oldest publication with [`Tails::evict`].
    pub(super) fn over(&mut self) -> Option<ChannelId> {
        if self.bytes > self.bytes_max { self.ranked.pop_last().map(|(_, channel)| channel) } else { None }
    }

    /// Drops the oldest publication of the channel that [`Tails::over`] took.
    pub(super) fn evict(&mut self, tail: &mut Tail, channel: ChannelId) {
        tail.rank = Rank::default();
        self.pop(tail);
        self.rank(tail, channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChannelName;
    use crate::wire::stream::StreamMark;

    fn published(offset: u64, bytes: usize, change: Change) -> Published {
        Published {
            channel: ChannelName::parse("c").expect("valid"),
            offset: Offset(offset),
            change,
            time_ms: 1,
            stream: StreamMark::None,
            frame: Arc::from(vec![b'x'; bytes]),
        }
    }

    const CHANNEL: ChannelId = ChannelId { index: 0, serial: 1 };

    #[test]
    fn tail_stays_bounded_and_unbroken() {
        let mut tails = Tails::new(usize::MAX);
        let mut tail = Tail::default();
        for offset in 1..=1000 {
            tails.push(&mut tail, CHANNEL, &published(offset, 10, Change::None));
        }
        assert_eq!(tails.bytes(), 10 * TAIL_PUBLICATIONS_MAX);
        assert!(tails.covers(&tail).reaches(Offset(700)));
        assert!(!tails.covers(&tail).reaches(Offset(699)));
        assert!(!tails.covers(&tail).reaches(Offset(1000)), "nothing is after the head");
        assert_eq!(tail.after(Offset(998)).map(|(offset, _)| offset.0).collect::<Vec<_>>(), [999, 1000]);
        assert_eq!(tail.after(Offset(600)).count(), 0);
        tails.push(&mut tail, CHANNEL, &published(1005, 10, Change::None));
        assert_eq!(tail.after(Offset(1004)).count(), 1);
        assert_eq!(tail.after(Offset(1000)).count(), 0, "a hole ends the older range");
    }

    #[test]
    fn delete_drops_everything_older_from_memory() {
        let mut tails = Tails::new(usize::MAX);
        let mut tail = Tail::default();
        tails.push(&mut tail, CHANNEL, &published(1, 10, Change::None));
        tails.push(&mut tail, CHANNEL, &published(2, 10, Change::Deletes(Offset(1))));
        assert!(!tails.covers(&tail).reaches(Offset(0)));
        assert!(tails.covers(&tail).reaches(Offset(1)));
    }

    /// Channels that are bounded as the hub bounds them.
    struct Bench {
        tails: Tails,
        all: Vec<Tail>,
    }

    impl Bench {
        fn new(channels: usize, bytes_max: usize) -> Bench {
            Bench { tails: Tails::new(bytes_max), all: (0..channels).map(|_| Tail::default()).collect() }
        }

        fn push(&mut self, channel: usize, offset: u64, bytes: usize) {
            let published = published(offset, bytes, Change::None);
            self.tails.push(&mut self.all[channel], id(channel), &published);
            self.settle();
        }

        fn settle(&mut self) {
            let Bench { tails, all } = self;
            while let Some(id) = tails.over() {
                tails.evict(&mut all[id.index as usize], id);
            }
            assert!(tails.bytes() <= tails.bytes_max);
            assert_eq!(tails.bytes(), all.iter().map(|tail| tail.bytes).sum::<usize>());
            assert_eq!(tails.ranked.len(), all.iter().filter(|tail| !tail.frames.is_empty()).count());
            for (channel, tail) in all.iter().enumerate().filter(|(_, tail)| !tail.frames.is_empty()) {
                assert!(tails.ranked.contains(&(Rank::of(tail.bytes), id(channel))));
            }
        }

        fn held(&self, channel: usize) -> usize {
            self.all[channel].frames.len()
        }
    }

    fn id(channel: usize) -> ChannelId {
        ChannelId { index: channel as u32, serial: 1 }
    }

    #[test]
    fn total_bytes_stay_bounded() {
        let mut bench = Bench::new(1, 1_000);
        (1..=10_000).for_each(|offset| bench.push(0, offset, 100));
        assert_eq!(bench.held(0), 10);
        for (bytes_max, held) in [(500, 5), (99, 0), (0, 0)] {
            bench.tails.bound(bytes_max);
            bench.settle();
            assert_eq!(bench.held(0), held);
        }
    }

    #[test]
    fn busy_channels_take_nothing_from_a_channel_within_its_share() {
        let (busy, bytes_max) = (50, 100_000);
        let mut bench = Bench::new(busy + 1, bytes_max);
        // A share is 1,960 bytes.
        (1..=9).for_each(|offset| bench.push(busy, offset, 100));
        for offset in 1..=200 {
            (0..busy).for_each(|channel| bench.push(channel, offset, 300));
        }
        assert_eq!(bench.held(busy), 9, "the oldest publications of all, in the shortest tail");
        let held: Vec<usize> = (0..busy).map(|channel| bench.all[channel].bytes).collect();
        let share = bytes_max / (busy + 1);
        assert!(held.iter().all(|bytes| (share / 2..=share * 2).contains(bytes)), "{share}: {held:?}");
        assert!(bench.tails.bytes() > bytes_max - 600, "the memory is used");
    }

    #[test]
    fn quiet_channel_keeps_its_share_when_it_has_more() {
        let mut bench = Bench::new(2, 20_000);
        (1..=190).for_each(|offset| bench.push(1, offset, 100));
        (1..=1_000).for_each(|offset| bench.push(0, offset, 100));
        assert!(bench.all[1].bytes >= 20_000 / 4, "{}", bench.all[1].bytes);
        assert!(bench.all[0].bytes >= 20_000 / 4, "{}", bench.all[0].bytes);
    }

    #[test]
    fn older_publications_fit_while_others_have_more() {
        let mut bench = Bench::new(2, 10_000);
        (1..=200).for_each(|offset| bench.push(0, offset, 100));
        assert_eq!(bench.tails.bytes(), 10_000);
        bench.push(1, 100, 10);
        let older: Vec<&[u8]> = vec![b"0123456789"; 1_000];
        let lengthened = bench.tails.lengthen(&mut bench.all[1], id(1), Offset(99), &older[..99]);
        assert_eq!((lengthened, bench.held(1)), (Lengthened::Yes, 100));
        bench.settle();
        assert_eq!((bench.held(1), bench.all[1].first), (100, Offset(1)));
        let lengthened = bench.tails.lengthen(&mut bench.all[0], id(0), Offset(100), &[&[0; 5_000]]);
        assert_eq!(lengthened, Lengthened::Full, "the longest has no more to take");
    }

    #[test]
    fn emptied_tail_has_no_place_among_all() {
        let mut bench = Bench::new(2, 1_000);
        (1..=5).for_each(|offset| bench.push(0, offset, 100));
        bench.push(1, 1, 10);
        bench.tails.clear(&mut bench.all[0], id(0));
        bench.settle();
        assert_eq!((bench.held(0), bench.held(1), bench.tails.bytes()), (0, 1, 10));
        // A hole ends the older range.
        bench.push(1, 7, 20);
        assert_eq!((bench.held(1), bench.tails.bytes()), (1, 20));
    }
}
