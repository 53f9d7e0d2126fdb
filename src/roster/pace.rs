//! When the watchers of a roster are sent a frame.
//!
//! A frame gathers what happens within a short time, and the next one has a distance to it. A counted roster sends numbers that
//! moved little only now and then. So the frames of a channel do not grow with its joins: one frame a join and watcher would be the square
//! of the members.

use crate::clock::Moment;
use std::time::Duration;

/// The time for which the first change after a rest waits for others.
pub(super) const GATHER: Duration = Duration::from_millis(20);
/// The distance of two frames of a listed roster: four a second.
pub(super) const LISTED_PERIOD: Duration = Duration::from_millis(250);
/// The distance of two frames of a counted roster, if a number moved by [`COUNTED_PERCENT`].
pub(super) const COUNTED_PERIOD: Duration = Duration::from_secs(1);
/// The same if it moved less.
pub(super) const COUNTED_REST: Duration = Duration::from_secs(5);
const COUNTED_PERCENT: u64 = 1;
/// Users that changed since the last frame, above which it has numbers alone and clients ask for the members.
pub(super) const CHANGES_MAX: usize = 200;
/// The time over which those clients spread their questions, in milliseconds.
pub(super) const REFRESH_MS: u32 = 1_500;

/// The numbers of a roster: users and connections.
pub(super) type Numbers = (u32, u32);

/// The last frame of a roster, and the next.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Moment>,
    /// The last frame for all watchers.
    last_for_all: Option<Moment>,
    /// `None`: there is nothing to send.
    due: Option<Moment>,
}

impl Pace {
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// Plans a frame of a listed roster, or a snapshot. Returns its time if it is new.
    pub(super) fn plan(&mut self, now: Moment) -> Option<Moment> {
        let at = now + GATHER;
        self.plan_at(self.last.map_or(at, |last| at.max(last + LISTED_PERIOD)))
    }

    /// Plans a frame of a counted roster whose numbers were `sent` and are `present`.
    pub(super) fn plan_counted(&mut self, sent: Numbers, present: Numbers, now: Moment) -> Option<Moment> {
        self.plan_at(self.counted_at(sent, present).max(now + GATHER))
    }

    /// The earliest time for the numbers of a counted roster that were `sent` and are `present`.
    pub(super) fn counted_at(&self, sent: Numbers, present: Numbers) -> Moment {
        let moved = |sent: u32, present: u32| {
            u64::from(sent.abs_diff(present)) * 100 >= u64::from(sent.max(1)) * COUNTED_PERCENT
        };
        let far = moved(sent.0, present.0) || moved(sent.1, present.1);
        let period = if far { COUNTED_PERIOD } else { COUNTED_REST };
        self.last_for_all.map_or(Moment::ZERO, |last| last + period)
    }

    /// Delays the frame that is due. A change plans it again.
    pub(super) fn postpone(&mut self, at: Moment) {
        self.due = Some(at);
    }

    fn plan_at(&mut self, at: Moment) -> Option<Moment> {
        if self.due.is_some_and(|due| due <= at) {
            return None;
        }
        self.due = Some(at);
        self.due
    }

    /// Notes that a frame was sent to some watchers.
    pub(super) fn sent(&mut self, now: Moment) {
        (self.last, self.due) = (Some(now), None);
    }

    /// Notes that a frame was sent to all watchers.
    pub(super) fn sent_to_all(&mut self, now: Moment) {
        self.last_for_all = Some(now);
        self.sent(now);
    }

    /// Notes that there was nothing to send.
    pub(super) fn skipped(&mut self) {
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    #[test]
    fn first_change_waits_shortly_and_later_ones_keep_their_distance() {
        let mut pace = Pace::default();
        assert_eq!(pace.plan(ms(1_000)), Some(ms(1_020)));
        assert_eq!(pace.plan(ms(1_010)), None, "it is planned");
        pace.sent(ms(1_020));
        assert_eq!(pace.plan(ms(1_030)), Some(ms(1_270)));
        pace.sent(ms(1_270));
        assert_eq!(pace.plan(ms(9_000)), Some(ms(9_020)));
        pace.skipped();
        assert_eq!((pace.due(), pace.plan(ms(9_001))), (None, Some(ms(9_021))));
    }

    #[test]
    fn counted_roster_waits_longer_for_small_changes() {
        let mut pace = Pace::default();
        let sent = (10_000, 10_000);
        pace.sent_to_all(ms(0));
        assert_eq!(pace.plan_counted(sent, (10_001, 10_001), ms(100)), Some(ms(5_000)));
        assert_eq!(pace.plan_counted(sent, (10_001, 10_100), ms(200)), Some(ms(1_000)), "sooner");
        assert_eq!(pace.plan_counted(sent, (10_001, 10_101), ms(300)), None);
        pace.sent(ms(900));
        assert_eq!(
            pace.counted_at(sent, (10_001, 10_100)),
            ms(1_000),
            "a snapshot of some delays no numbers"
        );
    }
}
