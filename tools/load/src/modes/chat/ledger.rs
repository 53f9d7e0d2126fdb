//! Which publications are under way and where they landed, in memory that does not grow with the length of a run.

use std::collections::VecDeque;

/// Offsets of a channel that are remembered.
const PLACES: usize = 1024;

/// Publications that left, up to those that were answered before all later ones.
#[derive(Debug)]
pub(super) struct UnderWay {
    first: u64,
    /// Who sent it; `None` once it was answered.
    speakers: VecDeque<Option<usize>>,
    by_speaker: Vec<u32>,
    unanswered: u64,
}

impl UnderWay {
    /// None yet, of so many speakers.
    pub(super) fn new(speakers: usize) -> UnderWay {
        UnderWay { first: 0, speakers: VecDeque::new(), by_speaker: vec![0; speakers], unanswered: 0 }
    }

    /// The number of the next one.
    pub(super) fn next(&self) -> u64 {
        self.first + self.speakers.len() as u64
    }

    /// The next one leaves.
    pub(super) fn send(&mut self, speaker: usize) {
        self.speakers.push_back(Some(speaker));
        self.unanswered += 1;
        if let Some(count) = self.by_speaker.get_mut(speaker) {
            *count += 1;
        }
    }

    /// Marks one as answered; `None` when it was, or never left.
    pub(super) fn answer(&mut self, n: u64) -> Option<()> {
        let at = usize::try_from(n.checked_sub(self.first)?).ok()?;
        let speaker = self.speakers.get_mut(at)?.take()?;
        self.unanswered -= 1;
        if let Some(count) = self.by_speaker.get_mut(speaker) {
            *count -= 1;
        }
        while self.speakers.front().is_some_and(Option::is_none) {
            self.speakers.pop_front();
            self.first += 1;
        }
        Some(())
    }

    /// How many were not answered.
    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// Whether this speaker waits for nothing.
    pub(super) fn is_quiet(&self, speaker: usize) -> bool {
        self.by_speaker.get(speaker) == Some(&0)
    }
}

/// Where a channel stands.
#[derive(Debug)]
pub(super) struct Channel {
    /// Its head before the first publication.
    pub(super) base: Option<u64>,
    /// Publications that were acknowledged.
    pub(super) acknowledged: u64,
    /// Offset and publication, for the latest offsets.
    places: Vec<(u64, u64)>,
}

impl Channel {
    /// One of which nothing is known.
    pub(super) fn new() -> Channel {
        Channel { base: None, acknowledged: 0, places: vec![(0, 0); PLACES] }
    }

    /// Whether `n` may have this offset: everybody must be told the same. Of one that is long gone nobody knows.
    pub(super) fn placed(&mut self, offset: u64, n: u64) -> bool {
        let Some(place) = self.places.get_mut(offset as usize % PLACES) else { return false };
        if place.0 < offset {
            *place = (offset, n);
        }
        place.0 > offset || *place == (offset, n)
    }

    /// The last offset that was acknowledged, once all are answered.
    pub(super) fn head(&self) -> u64 {
        self.base.unwrap_or(0) + self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_once_and_what_was_answered_is_forgotten() {
        let mut under_way = UnderWay::new(2);
        (0..1000).for_each(|n| under_way.send(n % 2));
        assert!((1..1000).all(|n| under_way.answer(n).is_some()));
        assert_eq!((under_way.answer(5), under_way.answer(1000)), (None, None));
        assert!(!under_way.is_quiet(0) && under_way.is_quiet(1));
        assert_eq!(under_way.answer(0), Some(()));
        assert_eq!((under_way.answer(0), under_way.unanswered(), under_way.next()), (None, 0, 1000));
        assert!(under_way.speakers.is_empty());
    }

    #[test]
    fn two_publications_with_one_offset_are_noticed() {
        let mut channel = Channel::new();
        assert!(channel.placed(1, 7) && channel.placed(1, 7) && !channel.placed(1, 8));
        assert!(channel.placed(1 + PLACES as u64, 9) && channel.placed(1, 8));
    }
}
