//! The search for answers that wait for a backend, and whose question is deleted or not retained.
//!
//! The open streams are looked at in pages, so that publications of this worker wait for one of them at most. An answer that is found is
//! looked at again some seconds later: an instance that has stored a delete withdraws the answer itself a moment later, and that is a
//! cancel.

use super::super::streams::{LOST_PAGE, LostPage, OpenPlace};
use crate::clock::Moment;
use crate::store::retention::Rest;
use crate::wire::stream::StreamId;
use ahash::AHashMap;
use std::time::Duration;

/// The time between the two looks at an answer.
const SECOND_LOOK: Duration = Duration::from_secs(5);
/// Answers that are ended at once. They have no text.
const ENDED_AT_ONCE: usize = 256;
/// Answers that wait for their second look. While there is no room for those of a page, no page is looked at.
const FOUND_MAX: usize = 2 * LOST_PAGE;

/// The progress of the search for answers whose question is gone.
#[derive(Debug, Default)]
pub(super) struct LostSearch {
    /// The place to go on after; `None`: the next sweep begins from the start.
    after: Option<OpenPlace>,
    /// The answers that were found, and when.
    found: AHashMap<StreamId, Moment>,
}

impl LostSearch {
    /// Begins from the start, unless it is under way.
    pub(super) fn begin(&mut self) {
        self.after.get_or_insert(OpenPlace::START);
    }

    /// The place of the next page, if there is room for what it may find.
    pub(super) fn page(&self) -> Option<OpenPlace> {
        self.after.filter(|_| self.found.len() + LOST_PAGE <= FOUND_MAX)
    }

    pub(super) fn found(&mut self, page: LostPage, now: Moment) {
        self.after = page.next;
        for id in page.lost {
            self.found.entry(id).or_insert(now);
        }
    }

    /// Takes answers that are to be looked at again.
    pub(super) fn take(&mut self, now: Moment) -> Vec<StreamId> {
        let is_due = |(_, found): &(&StreamId, &Moment)| now.since(**found) >= SECOND_LOOK;
        let due = self.found.iter().filter(is_due).take(ENDED_AT_ONCE);
        let ids: Vec<StreamId> = due.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.found.remove(id);
        }
        ids
    }

    pub(super) fn rest(&self) -> Rest {
        if self.after.is_none() && self.found.is_empty() { Rest::None } else { Rest::Some }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, Offset};

    fn ids(offsets: std::ops::Range<u64>) -> Vec<StreamId> {
        let channel = ChannelName::parse("c").expect("a name");
        offsets.map(|offset| StreamId { channel: channel.clone(), offset: Offset(offset) }).collect()
    }

    fn page(lost: Vec<StreamId>, next: Option<OpenPlace>) -> LostPage {
        LostPage { lost, next }
    }

    fn at(ms: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn answer_is_taken_some_seconds_after_it_was_found_for_the_first_time() {
        let mut search = LostSearch::default();
        assert!(search.page().is_none() && search.rest() == Rest::None, "no sweep has begun it");
        search.begin();
        assert_eq!(search.page(), Some(OpenPlace::START));
        search.found(page(ids(1..3), None), at(0));
        assert!(search.page().is_none() && search.rest() == Rest::Some);
        search.begin();
        search.found(page(ids(1..4), None), at(4_000));
        assert!(search.take(at(4_999)).is_empty());
        let mut taken = search.take(at(5_000));
        taken.sort();
        assert_eq!(taken, ids(1..3));
        assert_eq!(search.take(at(9_000)), ids(3..4));
        assert_eq!(search.rest(), Rest::None);
    }

    #[test]
    fn pages_wait_for_room_and_lose_nothing() {
        let mut search = LostSearch::default();
        search.begin();
        search.found(page(ids(0..LOST_PAGE as u64), Some(OpenPlace::START)), at(0));
        assert!(search.page().is_some());
        search.found(page(ids(10_000..10_001), Some(OpenPlace::START)), at(1));
        assert!(search.page().is_none(), "there is no room for a whole page");
        search.begin();
        let mut taken = 0;
        while search.page().is_none() {
            let some = search.take(at(60_000));
            assert!((1..=ENDED_AT_ONCE).contains(&some.len()));
            taken += some.len();
        }
        while search.rest() == Rest::Some && taken <= LOST_PAGE {
            taken += search.take(at(60_000)).len();
        }
        assert_eq!(taken, LOST_PAGE + 1);
    }
}
