//! Looking at where the logs stand, in place of a bus that does not deliver, and once after it did not. Pure.

use crate::clock::Moment;
use crate::id::ChannelName;
use crate::limits::SURVEY_CHANNELS_MAX;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks of one instance while the bus does not deliver: what costs the store one query a second.
const PERIOD: Duration = Duration::from_secs(1);

/// Whether the bus delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivering {
    No,
    Yes,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Survey {
    left: VecDeque<ChannelName>,
    /// The slice that the store has. It lets go of it when it has answered.
    under_way: Option<Arc<[ChannelName]>>,
    next: Moment,
    wanted_once: bool,
}

impl Survey {
    /// Something may have been missed: look at all once, now.
    pub(super) fn want(&mut self) {
        self.wanted_once = true;
    }

    /// The slice to ask for now, if any. `names` are all that are followed.
    pub(super) fn slice<'a>(
        &mut self,
        delivering: Delivering,
        names: impl FnOnce() -> Box<dyn Iterator<Item = &'a ChannelName> + 'a>,
        now: Moment,
    ) -> Option<Arc<[ChannelName]>> {
        if self.under_way.as_ref().is_some_and(|slice| Arc::strong_count(slice) > 1) {
            return None;
        }
        self.under_way = None;
        let due = match delivering {
            Delivering::Yes => self.wanted_once || !self.left.is_empty(),
            Delivering::No => now >= self.next,
        };
        if !due {
            return None;
        }
        self.next = now + PERIOD;
        if self.left.is_empty() || self.wanted_once {
            self.wanted_once = false;
            self.left = names().cloned().collect();
        }
        let count = self.left.len().min(SURVEY_CHANNELS_MAX);
        if count == 0 {
            return None;
        }
        let slice: Arc<[ChannelName]> = self.left.drain(..count).collect();
        self.under_way = Some(Arc::clone(&slice));
        Some(slice)
    }

    /// When to ask again for a slice.
    pub(super) fn patience(&self, delivering: Delivering, now: Moment) -> Duration {
        match delivering {
            Delivering::No => self.next.since(now).max(Duration::from_millis(20)),
            Delivering::Yes if self.wanted_once || !self.left.is_empty() => Duration::from_millis(20),
            Delivering::Yes => PERIOD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    fn names(count: usize) -> Vec<ChannelName> {
        (0..count).map(|number| ChannelName::parse(&format!("c{number}")).expect("valid")).collect()
    }

    fn take(survey: &mut Survey, delivering: Delivering, names: &[ChannelName], now: Moment) -> usize {
        survey.slice(delivering, || Box::new(names.iter()), now).map_or(0, |slice| slice.len())
    }

    #[test]
    fn a_bus_that_delivers_needs_none_and_one_that_does_not_needs_one_a_second() {
        let (mut survey, names) = (Survey::default(), names(3));
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(0)), 0);
        let looks = (0..100).filter(|tick| take(&mut survey, Delivering::No, &names, at(tick * 100)) == 3);
        assert_eq!(looks.count(), 10);
    }

    #[test]
    fn what_may_have_been_missed_is_looked_at_once_in_slices() {
        let (mut survey, names) = (Survey::default(), names(SURVEY_CHANNELS_MAX + 5));
        survey.want();
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(0)), SURVEY_CHANNELS_MAX);
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(0)), 5);
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(0)), 0);
    }

    #[test]
    fn a_store_that_has_not_answered_is_not_asked_again() {
        let (mut survey, names) = (Survey::default(), names(1));
        let slow = survey.slice(Delivering::No, || Box::new(names.iter()), at(0));
        assert_eq!(take(&mut survey, Delivering::No, &names, at(5_000)), 0);
        drop(slow);
        assert_eq!(take(&mut survey, Delivering::No, &names, at(5_000)), 1);
    }
}
