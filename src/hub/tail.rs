//! Recent publications of each channel, kept so that most recoveries need no read from the store.
//!
//! A tail is one unbroken range that ends at the channel's head. One bound applies to each channel and another to all
//! of them together; over the second, the oldest publications of any channel are dropped.

use super::id::ChannelId;
use crate::id::Offset;
use crate::limits::{TAIL_BYTES_MAX, TAIL_PUBLICATIONS_MAX};
use crate::wire::publication::{Change, Published};
use std::collections::VecDeque;
use std::sync::Arc;

/// The tail of one channel.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The offset of the first frame.
    first: Offset,
    frames: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// The number of this channel's entries in [`Tails::order`] that are stale, always the oldest ones: their
    /// publications were dropped without removing the entry.
    gone: usize,
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

    /// Accounts for a removed entry of [`Tails::order`]. True exactly when the entry belonged to a publication that
    /// is held.
    pub(super) fn release_entry(&mut self) -> bool {
        let is_held = self.gone == 0;
        self.gone = self.gone.saturating_sub(1);
        is_held
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
    /// The channel of each publication in order of arrival: one entry for each that a tail holds, and one for each
    /// stale entry ([`Tail::gone`]).
    order: VecDeque<ChannelId>,
    held: usize,
}

impl Tails {
    pub(super) fn new(bytes_max: usize) -> Tails {
        Tails { bytes: 0, bytes_max, order: VecDeque::new(), held: 0 }
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
            self.clear(tail);
        }
        if tail.frames.is_empty() {
            tail.first = published.offset;
        }
        tail.frames.push_back(Arc::clone(&published.frame));
        tail.bytes += published.frame.len();
        self.bytes += published.frame.len();
        self.held += 1;
        while tail.frames.len() > TAIL_PUBLICATIONS_MAX || tail.bytes > TAIL_BYTES_MAX {
            self.pop(tail);
            tail.gone += 1;
        }
        self.order.push_back(channel);
    }

    /// Prepends older publications. The last of `frames` has offset `last`, directly before the tail. The oldest ones
    /// that do not fit are left out.
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
            if tail.room() == 0 || tail.bytes + bytes > TAIL_BYTES_MAX || self.bytes + bytes > self.bytes_max
            {
                break;
            }
            tail.first = if tail.frames.is_empty() { last } else { Offset(tail.first.0.saturating_sub(1)) };
            tail.frames.push_front(Arc::from(*frame));
            tail.bytes += bytes;
            self.bytes += bytes;
            self.held += 1;
            self.order.push_back(channel);
        }
        if tail.frames.len() > before { Lengthened::Yes } else { Lengthened::Full }
    }

    fn pop(&mut self, tail: &mut Tail) {
        if let Some(frame) = tail.frames.pop_front() {
            tail.first = tail.first.next();
            tail.bytes -= frame.len();
            self.bytes -= frame.len();
            self.held -= 1;
        }
    }

    pub(super) fn clear(&mut self, tail: &mut Tail) {
        self.bytes -= tail.bytes;
        self.held -= tail.frames.len();
        *tail = Tail { gone: tail.gone + tail.frames.len(), ..Tail::default() };
    }

    /// While the total is over the bound, takes the channel that must drop its oldest publication with [`Tails::evict`].
    pub(super) fn over(&mut self) -> Option<ChannelId> {
        if self.bytes > self.bytes_max { self.order.pop_front() } else { None }
    }

    /// Drops the channel's oldest publication, unless the entry that [`Tails::over`] took is stale.
    pub(super) fn evict(&mut self, tail: &mut Tail) {
        if tail.release_entry() {
            self.pop(tail);
        }
    }

    /// True exactly when [`Tails::remove_stale`] is due. It scans every entry, so it waits until it frees about half
    /// of them.
    pub(super) fn has_many_stale(&self) -> bool {
        self.order.len() > 2 * self.held + 1024
    }

    /// Removes stale entries: those for which `is_held`, which calls [`Tail::release_entry`], returns false, and those of
    /// channels that no longer exist.
    pub(super) fn remove_stale(&mut self, is_held: impl FnMut(&ChannelId) -> bool) {
        self.order.retain(is_held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChannelName;

    fn published(offset: u64, bytes: usize, change: Change) -> Published {
        Published {
            channel: ChannelName::parse("c").expect("valid"),
            offset: Offset(offset),
            change,
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

    /// A busy channel and a quiet one, bounded as the hub bounds them.
    struct Pair {
        tails: Tails,
        all: [Tail; 2],
    }

    impl Pair {
        fn new(bytes_max: usize) -> Pair {
            Pair { tails: Tails::new(bytes_max), all: Default::default() }
        }

        fn push(&mut self, channel: u32, offset: u64, bytes: usize) {
            let id = ChannelId { index: channel, serial: 1 };
            self.tails.push(&mut self.all[channel as usize], id, &published(offset, bytes, Change::None));
            self.settle();
        }

        fn settle(&mut self) {
            let Pair { tails, all } = self;
            while let Some(id) = tails.over() {
                tails.evict(&mut all[id.index as usize]);
            }
            if tails.has_many_stale() {
                tails.remove_stale(|id| all[id.index as usize].release_entry());
                assert_eq!(tails.order.len(), tails.held, "one entry for each publication held");
            }
            assert!(tails.order.len() <= 2 * tails.held + 1024);
            let gone: usize = all.iter().map(|tail| tail.gone).sum();
            assert_eq!(tails.order.len(), tails.held + gone);
        }

        fn held(&self, channel: usize) -> usize {
            self.all[channel].frames.len()
        }
    }

    #[test]
    fn total_bytes_and_order_stay_bounded() {
        let mut pair = Pair::new(1000);
        for offset in 1..=100_000 {
            pair.push(0, offset, 100);
            assert!(pair.tails.bytes() <= 1000);
        }
        assert_eq!(pair.held(0), 10);
    }

    #[test]
    fn quiet_channel_loses_its_publications_when_they_are_the_oldest() {
        let mut pair = Pair::new(usize::MAX);
        (1..=60).for_each(|offset| pair.push(1, offset, 10));
        // The channel's own bound drops enough of them that stale entries are removed more than once.
        (1..=5_000).for_each(|offset| pair.push(0, offset, 10));
        let full = TAIL_PUBLICATIONS_MAX;
        assert_eq!((pair.held(0), pair.held(1)), (full, 60));
        for (room, held) in [(full + 10, (full, 10)), (full / 2, (full / 2, 0)), (0, (0, 0))] {
            pair.tails.bound(10 * room);
            pair.settle();
            assert_eq!((pair.held(0), pair.held(1)), held, "the quiet channel's publications are the oldest");
        }
    }

    #[test]
    fn publications_dropped_by_a_hole_leave_stale_entries() {
        let mut pair = Pair::new(usize::MAX);
        (1..=50).for_each(|offset| pair.push(0, offset, 10));
        pair.push(1, 1, 10);
        // A hole ends the older range.
        pair.push(0, 100, 10);
        let older: Vec<&[u8]> = vec![b"0123456789"; 20];
        let id = ChannelId { index: 0, serial: 1 };
        pair.tails.lengthen(&mut pair.all[0], id, Offset(99), &older);
        pair.settle();
        assert_eq!((pair.held(0), pair.held(1)), (21, 1));
        pair.tails.bound(200);
        pair.settle();
        assert_eq!((pair.held(0), pair.held(1), pair.tails.bytes()), (20, 0, 200));
    }
}
