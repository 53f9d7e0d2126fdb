//! The cause of an objective's bad events: an outage of a critical dependency at the same time.
//!
//! Bad events carry no reference of an outage where they are counted, so the time decides: a bad event belongs to an outage that
//! was there up to 40 seconds before it, because a message counts as bad 30 seconds after its first failure.

use std::collections::VecDeque;

/// The looks that are remembered: five minutes of ten seconds.
const LOOKS: usize = 30;
/// The looks after an outage in which its bad events may still be counted.
const LATE_LOOKS: u8 = 4;
/// The share of bad events that must belong to outages, in percent.
const SHARE_PERCENT: u64 = 80;

/// The state of the critical dependencies in ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutagePresence {
    AllUp,
    SomeDown,
}

/// The bad events of one objective in the last five minutes.
#[derive(Clone, Debug, Default)]
pub struct CauseAttribution {
    /// Bad events, and of these the ones in an outage.
    looks: VecDeque<(u64, u64)>,
    late: u8,
}

impl CauseAttribution {
    /// Adds ten seconds.
    pub fn add(&mut self, bad: u64, presence: OutagePresence) {
        self.late = match presence {
            OutagePresence::SomeDown => LATE_LOOKS,
            OutagePresence::AllUp => self.late.saturating_sub(1),
        };
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((bad, if self.late > 0 { bad } else { 0 }));
    }

    /// True exactly if outages explain the bad events of the last five minutes, and there are some.
    pub fn is_explained(&self) -> bool {
        let all: u64 = self.looks.iter().map(|(bad, _)| bad).sum();
        let explained: u64 = self.looks.iter().map(|(_, explained)| explained).sum();
        all > 0 && explained.saturating_mul(100) >= all.saturating_mul(SHARE_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_fifths_of_the_bad_events_must_be_in_an_outage() {
        let mut cause = CauseAttribution::default();
        assert!(!cause.is_explained());
        cause.add(20, OutagePresence::AllUp);
        cause.add(79, OutagePresence::SomeDown);
        assert!(!cause.is_explained());
        cause.add(1, OutagePresence::AllUp);
        assert!(cause.is_explained(), "a message counts as bad up to forty seconds after the outage");
        (0..3).for_each(|_| cause.add(0, OutagePresence::AllUp));
        cause.add(1, OutagePresence::AllUp);
        assert!(!cause.is_explained());
        (0..LOOKS).for_each(|_| cause.add(0, OutagePresence::SomeDown));
        assert!(!cause.is_explained(), "nothing was bad");
    }
}
