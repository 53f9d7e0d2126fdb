//! Frames that wait for one socket.
//!
//! A subscriber that reads slower than its channels publish must cost a fixed amount of memory. The bound is in
//! bytes, not frames: a frame is anywhere from two bytes to a full publication.
//!
//! Two kinds of bytes wait. Replies are written once into the turn's [`Arena`], which all connections share, and an
//! outbox holds only their range; bytes that the socket did not take by the end of the turn are copied out
//! ([`Outbox::settle`]). Runs of publications are shared by all subscribers of a channel, and an outbox holds a
//! reference. So a connection that keeps up never owns a buffer.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

/// The number of turns after which an arena releases memory that none of them needed.
const ARENA_TURNS: u32 = 1_024;

/// The bytes of one turn. Replies are written here and sent from here.
#[derive(Debug, Default)]
pub struct Arena {
    bytes: Vec<u8>,
    /// The longest turn since memory was last released, and the number of turns since then.
    longest: usize,
    turns: u32,
}

impl Arena {
    /// The number of bytes that the turn wrote so far.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Clears the turn's bytes. Every outbox must have been settled.
    ///
    /// The memory is kept, because memory released each turn has to be faulted in again page by page. Once in
    /// [`ARENA_TURNS`] turns it shrinks to the longest of them, but not below `least`.
    pub fn clear(&mut self, least: usize) {
        self.longest = self.longest.max(self.bytes.len());
        self.turns += 1;
        self.bytes.clear();
        if self.turns == ARENA_TURNS {
            self.bytes.shrink_to(self.longest.max(least));
            self.longest = 0;
            self.turns = 0;
        }
    }
}

/// A piece of the waiting bytes.
#[derive(Clone, Debug)]
enum Segment {
    /// A range of this turn's arena.
    Turn { start: u32, length: u32 },
    /// Bytes shared with other outboxes, or a settled remainder.
    Shared(Rc<[u8]>),
}

impl Segment {
    fn bytes<'a>(&'a self, arena: &'a Arena) -> &'a [u8] {
        match self {
            Segment::Turn { start, length } => &arena.bytes[*start as usize..(*start + *length) as usize],
            Segment::Shared(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        match self {
            Segment::Turn { length, .. } => *length as usize,
            Segment::Shared(bytes) => bytes.len(),
        }
    }
}

/// The outcome of offering a run of publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Taken,
    /// The run does not fit; nothing of it was queued.
    Full,
}

/// Frames accepted for one peer and not yet taken by the kernel.
///
/// Invariants, checked after every mutation in debug builds:
///
/// - `bytes` is the number of bytes still to be written;
/// - `written` is zero when nothing waits, else shorter than the first segment;
/// - `rest` is empty when `first` is.
#[derive(Debug, Default)]
pub struct Outbox {
    first: Option<Segment>,
    rest: VecDeque<Segment>,
    written: u32,
    bytes: u32,
}

impl Outbox {
    /// The number of bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// True exactly when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Queues the bytes that `write` appends to the arena: replies, pongs, pushes to this peer alone.
    ///
    /// It never refuses; the caller must check [`Outbox::bytes`] first.
    pub fn push(&mut self, arena: &mut Arena, write: impl FnOnce(&mut Vec<u8>)) {
        let start = arena.bytes.len();
        write(&mut arena.bytes);
        self.push_range(arena, start);
    }

    /// The arena's end and its buffer, for [`Outbox::push_from`].
    pub fn mark(arena: &mut Arena) -> (usize, &mut Vec<u8>) {
        (arena.bytes.len(), &mut arena.bytes)
    }

    /// Queues the bytes appended to the arena since `start`, for callers that cannot use a closure.
    pub fn push_from(&mut self, arena: &Arena, start: usize) {
        self.push_range(arena, start);
    }

    fn push_range(&mut self, arena: &Arena, start: usize) {
        let length = arena.bytes.len() - start;
        if length == 0 {
            return;
        }
        // Consecutive bytes for one connection are one segment, so that they are one slice of the write.
        let last = self.rest.back_mut().or(self.first.as_mut());
        if let Some(Segment::Turn { start: begun, length: so_far }) = last
            && (*begun + *so_far) as usize == start
        {
            *so_far += length as u32;
            self.bytes += length as u32;
            return;
        }
        self.append(Segment::Turn { start: start as u32, length: length as u32 });
    }

    /// Queues a shared run of frames, or refuses the whole run.
    ///
    /// Dropping one frame silently would leave a gap that the peer cannot see. A refusal puts the channel in lag
    /// instead, and the log serves the refused publications. An empty outbox takes a run of any length up to
    /// `bytes_max`.
    #[inline]
    pub fn offer(&mut self, run: &Rc<[u8]>, bytes_max: usize) -> Offer {
        if self.bytes as usize + run.len() > bytes_max {
            return Offer::Full;
        }
        self.append(Segment::Shared(Rc::clone(run)));
        Offer::Taken
    }

    /// Queues frames that other outboxes share. They must not be empty.
    ///
    /// It never refuses; the caller must check [`Outbox::bytes`] first.
    pub fn push_shared(&mut self, frames: Rc<[u8]>) {
        self.append(Segment::Shared(frames));
    }

    #[inline]
    fn append(&mut self, segment: Segment) {
        self.bytes += segment.len() as u32;
        if self.first.is_none() {
            self.first = Some(segment);
        } else {
            self.rest.push_back(segment);
        }
        self.check();
    }

    /// The waiting bytes, if they are a single slice: the usual case, which needs no vectored write.
    #[inline]
    pub fn single<'a>(&'a self, arena: &'a Arena) -> Option<&'a [u8]> {
        if !self.rest.is_empty() {
            return None;
        }
        self.first.as_ref().map(|segment| &segment.bytes(arena)[self.written as usize..])
    }

    /// Puts the waiting bytes into `slices`, in order, as far as they reach, and returns the number of slices filled.
    pub fn fill<'a>(&'a self, arena: &'a Arena, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written as usize;
        let mut filled = 0;
        for (segment, slice) in self.first.iter().chain(&self.rest).zip(slices) {
            *slice = IoSlice::new(&segment.bytes(arena)[skip..]);
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// The waiting bytes, piece by piece.
    pub fn slices<'a>(&'a self, arena: &'a Arena) -> impl Iterator<Item = &'a [u8]> {
        let mut skip = self.written as usize;
        let segments = self.first.iter().chain(&self.rest);
        segments.map(move |segment| &segment.bytes(arena)[std::mem::take(&mut skip)..])
    }

    /// Removes `taken` bytes that the kernel took.
    ///
    /// It nearly always took all of them. The other case is kept out of line, so that a delivery does not pay for it.
    #[inline]
    pub fn advance(&mut self, taken: usize) {
        debug_assert!(taken <= self.bytes());
        self.bytes -= taken as u32;
        if self.bytes == 0 { self.clear() } else { self.advance_within(taken) }
    }

    #[inline(never)]
    fn advance_within(&mut self, taken: usize) {
        let mut written = self.written as usize + taken;
        while let Some(first) = &self.first {
            if written < first.len() {
                break;
            }
            written -= first.len();
            self.first = self.rest.pop_front();
        }
        self.written = written as u32;
        self.check();
    }

    /// Drops all waiting bytes.
    #[inline]
    pub fn clear(&mut self) {
        self.first = None;
        self.written = 0;
        self.bytes = 0;
        if self.rest.capacity() > 0 {
            self.drop_rest();
        }
    }

    /// Frees the queue, because an idle connection must not hold one.
    #[inline(never)]
    fn drop_rest(&mut self) {
        self.rest = VecDeque::new();
    }

    /// Copies the bytes that are still in the arena out of it, at the end of the turn.
    pub fn settle(&mut self, arena: &Arena) {
        if self.is_empty() {
            return;
        }
        let in_arena = |segment: &Segment| matches!(segment, Segment::Turn { .. });
        if let Some(first) = self.first.as_mut().filter(|first| in_arena(first)) {
            let rest = &first.bytes(arena)[self.written as usize..];
            *first = Segment::Shared(Rc::from(rest));
            self.written = 0;
        }
        for segment in &mut self.rest {
            if in_arena(segment) {
                *segment = Segment::Shared(Rc::from(segment.bytes(arena)));
            }
        }
        self.check();
    }

    fn check(&self) {
        debug_assert!(self.first.is_some() || (self.rest.is_empty() && self.written == 0 && self.bytes == 0));
        debug_assert!(self.first.as_ref().is_none_or(|first| (self.written as usize) < first.len()));
        debug_assert_eq!(
            self.bytes as usize + self.written as usize,
            self.first.iter().chain(&self.rest).map(Segment::len).sum::<usize>()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Reply(Vec<u8>),
        Run(Vec<u8>),
        Page(Vec<u8>),
        Write(usize),
        EndTurn,
    }

    fn step() -> impl Strategy<Value = Act> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Act::Reply),
            prop::collection::vec(any::<u8>(), 1..30).prop_map(Act::Run),
            prop::collection::vec(any::<u8>(), 1..30).prop_map(Act::Page),
            (0usize..60).prop_map(Act::Write),
            Just(Act::EndTurn),
        ]
    }

    proptest! {
        /// However bytes are queued, partly written and settled, they come out once and in order.
        #[test]
        fn bytes_leave_once_in_the_order_they_were_queued(steps in prop::collection::vec(step(), 0..60)) {
            let mut arena = Arena::default();
            let mut outbox = Outbox::default();
            let (mut expected, mut sent) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Act::Reply(bytes) => {
                        outbox.push(&mut arena, |out| out.extend_from_slice(&bytes));
                        expected.extend_from_slice(&bytes);
                    }
                    Act::Run(bytes) => {
                        if outbox.offer(&Rc::from(bytes.as_slice()), 100) == Offer::Taken {
                            expected.extend_from_slice(&bytes);
                        }
                        prop_assert!(outbox.bytes() <= 100 || expected.len() > 100);
                    }
                    Act::Page(bytes) => {
                        outbox.push_shared(Rc::from(bytes.as_slice()));
                        expected.extend_from_slice(&bytes);
                    }
                    Act::Write(most) => {
                        let mut slices = [IoSlice::new(&[]); 4];
                        let filled = outbox.fill(&arena, &mut slices);
                        let waiting: Vec<u8> = slices[..filled].iter().flat_map(|s| s.iter().copied()).collect();
                        if let Some(single) = outbox.single(&arena) {
                            prop_assert_eq!(single, &waiting[..]);
                        }
                        let taken = most.min(waiting.len());
                        sent.extend_from_slice(&waiting[..taken]);
                        outbox.advance(taken);
                    }
                    Act::EndTurn => {
                        outbox.settle(&arena);
                        arena.clear(0);
                    }
                }
                prop_assert_eq!(outbox.bytes(), expected.len() - sent.len());
                prop_assert_eq!(outbox.is_empty(), expected.len() == sent.len());
            }
            prop_assert_eq!(&sent[..], &expected[..sent.len()]);
        }
    }

    #[test]
    fn run_over_the_bound_is_refused_whole() {
        let mut outbox = Outbox::default();
        let run: Rc<[u8]> = Rc::from([0u8; 60].as_slice());
        assert_eq!(outbox.offer(&run, 100), Offer::Taken);
        assert_eq!(outbox.offer(&run, 100), Offer::Full);
        assert_eq!(outbox.bytes(), 60);
    }
}
