//! Surveys of the positions of logs: continuously while the bus does not deliver, and once after an interruption. Pure.

use crate::clock::Moment;
use crate::id::ChannelName;
use crate::limits::SURVEY_CHANNELS_MAX;
use std::collections::VecDeque;
use std::time::Duration;

/// The pause between two rounds, and between two slices while the bus does not deliver: it costs the store one query per
/// second.
const PERIOD: Duration = Duration::from_secs(1);
/// How often to check whether the store has answered.
const GLANCE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivering {
    No,
    Yes,
}

/// The state of a survey.
#[derive(Debug, Default)]
pub struct Survey {
    /// Channels not yet asked for in this round.
    left: VecDeque<ChannelName>,
    /// The store has a slice.
    is_under_way: bool,
    next: Moment,
    wanted: bool,
}

impl Survey {
    /// Requests a round over all channels, because something may have been missed. A round in progress is finished first.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// The store is done with its slice. `unanswered` channels are asked for again.
    pub fn ended(&mut self, unanswered: &[ChannelName]) {
        self.is_under_way = false;
        self.left.extend(unanswered.iter().cloned());
    }

    /// The next slice to ask for, if one is due. `names` are all followed channels.
    pub fn slice<'a>(
        &mut self,
        delivering: Delivering,
        names: impl Iterator<Item = &'a ChannelName>,
        now: Moment,
    ) -> Option<Vec<ChannelName>> {
        if self.is_under_way || !self.is_due(delivering, now) {
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
        self.is_under_way = true;
        Some(self.left.drain(..count).collect())
    }

    /// After the bus delivers again, the slices of the round follow each other at once; everything else is paced.
    fn is_due(&self, delivering: Delivering, now: Moment) -> bool {
        match delivering {
            Delivering::Yes => !self.left.is_empty() || (self.wanted && now >= self.next),
            Delivering::No => now >= self.next,
        }
    }

    /// The time until the next slice may be due.
    pub fn patience(&self, delivering: Delivering, now: Moment) -> Duration {
        match delivering {
            Delivering::Yes if !self.left.is_empty() || self.is_under_way => GLANCE,
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

    /// Asks for a slice and has the store answer.
    fn take(survey: &mut Survey, delivering: Delivering, names: &[ChannelName], now: Moment) -> usize {
        survey.slice(delivering, names.iter(), now).map_or(0, |slice| {
            survey.ended(&[]);
            slice.len()
        })
    }

    #[test]
    fn delivering_bus_needs_no_survey_and_silent_bus_one_per_second() {
        let (mut survey, names) = (Survey::default(), names(3));
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(0)), 0);
        let looks = (0..100).filter(|tick| take(&mut survey, Delivering::No, &names, at(tick * 100)) == 3);
        assert_eq!(looks.count(), 10);
    }

    #[test]
    fn requested_round_is_made_once_in_slices() {
        let (mut survey, names) = (Survey::default(), names(SURVEY_CHANNELS_MAX + 5));
        survey.want();
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(0)), SURVEY_CHANNELS_MAX);
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(0)), 5);
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(5_000)), 0);
    }

    #[test]
    fn constant_requests_are_paced_and_each_round_is_finished() {
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
    fn store_is_asked_again_after_a_failure_but_not_while_it_works() {
        let (mut survey, names) = (Survey::default(), names(1));
        survey.want();
        let slow = survey.slice(Delivering::Yes, names.iter(), at(0)).expect("it is wanted");
        assert_eq!(take(&mut survey, Delivering::No, &names, at(5_000)), 0);
        survey.ended(&slow);
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(5_000)), 1, "it was not answered");
        assert_eq!(take(&mut survey, Delivering::Yes, &names, at(9_000)), 0);
    }
}
