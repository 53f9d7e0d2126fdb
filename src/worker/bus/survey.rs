//! Looking at where the logs stand, in place of a bus that does not deliver, and once after it did not. Pure.

use crate::clock::Moment;
use crate::id::ChannelName;
use crate::job::bus::Slice;
use crate::limits::SURVEY_CHANNELS_MAX;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Between two rounds, and between two slices while the bus does not deliver: what costs the store one query a second.
const PERIOD: Duration = Duration::from_secs(1);
/// How often it looks whether the store has answered.
const GLANCE: Duration = Duration::from_millis(20);

/// Whether the bus delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivering {
    No,
    Yes,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What this round has not asked for.
    left: VecDeque<ChannelName>,
    /// The slice that the store has. It lets go of it when it is done with it.
    under_way: Option<Arc<Slice>>,
    next: Moment,
    wanted: bool,
}

impl Survey {
    /// Something may have been missed: a round over all channels is wanted, beside the one that may be under way.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// The slice to ask for now, if any. `names` are all that are followed.
    pub(super) fn slice<'a>(
        &mut self,
        delivering: Delivering,
        names: impl Iterator<Item = &'a ChannelName>,
        now: Moment,
    ) -> Option<Arc<Slice>> {
        if let Some(slice) = self.under_way.take_if(|slice| Arc::strong_count(slice) == 1)
            && !slice.is_answered()
        {
            self.left.extend(slice.channels().iter().cloned());
        }
        if self.under_way.is_some() || !self.is_due(delivering, now) {
            return None;
        }
        self.next = now + PERIOD;
        if self.left.is_empty() {
            self.wanted = false;
            self.left = names.cloned().collect();
        }
        let count = self.left.len().min(SURVEY_CHANNELS_MAX);
        if count == 0 {
            return None;
        }
        let slice = Arc::new(Slice::new(self.left.drain(..count).collect()));
        self.under_way = Some(Arc::clone(&slice));
        Some(slice)
    }

    /// The pieces of a round that a bus which delivers again made necessary follow each other; all else is paced.
    fn is_due(&self, delivering: Delivering, now: Moment) -> bool {
        match delivering {
            Delivering::Yes => !self.left.is_empty() || (self.wanted && now >= self.next),
            Delivering::No => now >= self.next,
        }
    }

    /// When to ask again for a slice.
    pub(super) fn patience(&self, delivering: Delivering, now: Moment) -> Duration {
        match delivering {
            Delivering::Yes if !self.left.is_empty() || self.under_way.is_some() => GLANCE,
            Delivering::Yes if !self.wanted => PERIOD,
            Delivering::Yes | Delivering::No => self.next.since(now).max(GLANCE),
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

    /// Asks, and has the store answer.
    fn take(survey: &mut Survey, delivering: Delivering, names: &[ChannelName], now: Moment) -> usize {
        survey.slice(delivering, names.iter(), now).map_or(0, |slice| {
            slice.answer();
            slice.channels().len()
        })
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
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(5_000)), 0);
    }

    #[test]
    fn wishes_that_come_without_end_are_paced_and_each_round_comes_to_its_end() {
        let (mut survey, names) = (Survey::default(), names(SURVEY_CHANNELS_MAX + 5));
        let mut taken = Vec::new();
        for tick in 0..21 {
            survey.want();
            taken.push(take(&mut survey, Delivering::Yes, &names, at(tick * 100)));
        }
        let (whole, rest) = (SURVEY_CHANNELS_MAX, 5);
        let rounds: Vec<usize> = taken.into_iter().filter(|count| *count > 0).collect();
        assert_eq!(rounds, [whole, rest, whole, rest]);
    }

    #[test]
    fn a_store_that_has_not_answered_is_not_asked_again_and_one_that_failed_is() {
        let (mut survey, names) = (Survey::default(), names(1));
        survey.want();
        let slow = survey.slice(Delivering::Yes, names.iter(), at(0));
        assert_eq!(take(&mut survey, Delivering::No, &names, at(5_000)), 0);
        drop(slow);
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(5_000)), 1, "it was not answered");
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(9_000)), 0);
    }
}
