//! Tracks publications in flight and the offsets they were given, in memory that does not grow with the length of a run.

use std::collections::VecDeque;

/// The number of latest offsets remembered per channel.
const PLACES: usize = 1024;

/// Publications that were sent, without the oldest ones whose answers are complete.
#[derive(Debug)]
pub(super) struct UnderWay {
    first: u64,
    /// The sender of each; `None` once answered.
    senders: VecDeque<Option<usize>>,
    by_publisher: Vec<u32>,
    unanswered: u64,
}

impl UnderWay {
    /// Creates the record for this many senders.
    pub(super) fn new(senders: usize) -> UnderWay {
        UnderWay { first: 0, senders: VecDeque::new(), by_publisher: vec![0; senders], unanswered: 0 }
    }

    /// The number of the next publication.
    pub(super) fn next(&self) -> u64 {
        self.first + self.senders.len() as u64
    }

    /// Records the next publication as sent.
    pub(super) fn send(&mut self, publisher: usize) {
        self.senders.push_back(Some(publisher));
        self.unanswered += 1;
        if let Some(count) = self.by_publisher.get_mut(publisher) {
            *count += 1;
        }
    }

    /// Records the answer to a publication; `None` if it was already answered or never sent.
    pub(super) fn answer(&mut self, n: u64) -> Option<()> {
        let at = usize::try_from(n.checked_sub(self.first)?).ok()?;
        let publisher = self.senders.get_mut(at)?.take()?;
        self.unanswered -= 1;
        if let Some(count) = self.by_publisher.get_mut(publisher) {
            *count -= 1;
        }
        while self.senders.front().is_some_and(Option::is_none) {
            self.senders.pop_front();
            self.first += 1;
        }
        Some(())
    }

    /// The number of publications not answered yet.
    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// True if this publisher awaits no answer.
    pub(super) fn is_quiet(&self, publisher: usize) -> bool {
        self.by_publisher.get(publisher) == Some(&0)
    }
}

/// The known state of a channel's log.
#[derive(Debug)]
pub(super) struct Channel {
    /// Its head before the first publication.
    pub(super) base: Option<u64>,
    /// Publications acknowledged.
    pub(super) acknowledged: u64,
    /// Offset and publication number, for the latest offsets.
    places: Vec<(u64, u64)>,
}

impl Channel {
    /// Creates a channel of which nothing is known.
    pub(super) fn new() -> Channel {
        Channel { base: None, acknowledged: 0, places: vec![(0, 0); PLACES] }
    }

    /// True if publication `n` may have this offset, which must be the same in every message. Offsets that are no longer
    /// remembered are accepted.
    pub(super) fn placed(&mut self, offset: u64, n: u64) -> bool {
        let Some(place) = self.places.get_mut(offset as usize % PLACES) else { return false };
        if place.0 < offset {
            *place = (offset, n);
        }
        place.0 > offset || *place == (offset, n)
    }

    /// The last acknowledged offset, once all publishes are answered.
    pub(super) fn head(&self) -> u64 {
        self.base.unwrap_or(0) + self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_counts_once_and_answered_publications_are_forgotten() {
        let mut under_way = UnderWay::new(2);
        (0..1000).for_each(|n| under_way.send(n % 2));
        assert!((1..1000).all(|n| under_way.answer(n).is_some()));
        assert_eq!((under_way.answer(5), under_way.answer(1000)), (None, None));
        assert!(!under_way.is_quiet(0) && under_way.is_quiet(1));
        assert_eq!(under_way.answer(0), Some(()));
        assert_eq!((under_way.answer(0), under_way.unanswered(), under_way.next()), (None, 0, 1000));
        assert!(under_way.senders.is_empty());
    }

    #[test]
    fn two_publications_with_one_offset_are_detected() {
        let mut channel = Channel::new();
        assert!(channel.placed(1, 7) && channel.placed(1, 7) && !channel.placed(1, 8));
        assert!(channel.placed(1 + PLACES as u64, 9) && channel.placed(1, 8));
    }
}
