//! The order of retention's slices: rounds of all duties, and the erasure that each delete asks for.

use super::retention::{DUTIES, Duty};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The pause between the beginnings of two rounds.
const PERIOD: Duration = Duration::from_secs(1);

/// The duties that are left; each gets one slice in its turn.
#[derive(Debug)]
pub(super) struct RetentionRound {
    left: VecDeque<Duty>,
    next: Instant,
}

impl RetentionRound {
    /// The first round begins after a pause.
    pub(super) fn new(now: Instant) -> RetentionRound {
        RetentionRound { left: VecDeque::new(), next: now + PERIOD }
    }

    /// True if a round begins now. An erasure that is left does not delay it: while every batch has a delete, there always is one.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next && self.left.iter().all(|duty| *duty == Duty::Erase)
    }

    /// Starts the pause before the round after this one.
    pub(super) fn pause(&mut self, now: Instant) {
        self.next = now + PERIOD;
    }

    pub(super) fn begin(&mut self) {
        for duty in DUTIES {
            if !self.left.contains(&duty) {
                self.left.push_back(duty);
            }
        }
    }

    /// Adds an erasure, behind the other duties: before them, deletes in every batch would leave no slice for these.
    pub(super) fn erase(&mut self) {
        if !self.left.contains(&Duty::Erase) {
            self.left.push_back(Duty::Erase);
        }
    }

    /// Leaves only the erasures.
    pub(super) fn only_erase(&mut self) {
        self.left = [Duty::Erase].into();
    }

    /// Gives this round up.
    pub(super) fn give_up(&mut self) {
        self.left.clear();
    }

    /// The duty whose turn it is.
    pub(super) fn take(&mut self) -> Option<Duty> {
        self.left.pop_front()
    }

    /// Puts a duty that is not done behind the others.
    pub(super) fn go_on(&mut self, duty: Duty) {
        if !self.left.contains(&duty) {
            self.left.push_back(duty);
        }
    }

    /// The number of duties that are left.
    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    /// The time until a slice or a round is due.
    pub(super) fn patience(&self, now: Instant) -> Duration {
        if self.left.is_empty() { self.next.saturating_duration_since(now) } else { Duration::ZERO }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a beginning for a virtual clock")]
mod tests {
    use super::*;

    /// Takes the slices of a minute in which every batch has a delete, 16 ms each, and counts those of each duty.
    fn slices_of_a_minute(unfinished: &[Duty]) -> Vec<usize> {
        let begun = Instant::now();
        let mut round = RetentionRound::new(begun);
        let mut counts = vec![0; DUTIES.len()];
        for batch in 0..60_000 / 16 {
            let now = begun + Duration::from_millis(batch * 16);
            round.erase();
            if round.is_due(now) {
                round.pause(now);
                round.begin();
            }
            let duty = round.take().expect("at least the erasure");
            counts[DUTIES.iter().position(|other| *other == duty).expect("one of them")] += 1;
            if unfinished.contains(&duty) {
                round.go_on(duty);
            }
        }
        counts
    }

    #[test]
    fn every_duty_gets_a_slice_each_second_though_every_batch_has_a_delete() {
        let counts = slices_of_a_minute(&[]);
        assert!(counts.iter().all(|count| *count >= 59), "{counts:?}");
    }

    #[test]
    fn duties_that_are_not_done_share_the_slices_equally() {
        let unfinished = [Duty::Age, Duty::Keys, Duty::Channels];
        let counts = slices_of_a_minute(&unfinished);
        for (duty, count) in DUTIES.iter().zip(&counts) {
            if unfinished.contains(duty) {
                assert!(*count > 60_000 / 16 / 5, "{duty:?} of {counts:?}");
            }
        }
    }

    #[test]
    fn duty_has_one_turn_though_its_own_slice_asked_for_another() {
        let mut round = RetentionRound::new(Instant::now());
        round.begin();
        while round.take() != Some(Duty::Erase) {}
        // The deletes of its slice were committed.
        round.erase();
        round.go_on(Duty::Erase);
        assert_eq!((round.take(), round.len()), (Some(Duty::Erase), 0));
    }

    #[test]
    fn patience_ends_with_the_pause_or_with_work() {
        let begun = Instant::now();
        let mut round = RetentionRound::new(begun);
        assert_eq!(round.patience(begun), PERIOD);
        assert!(!round.is_due(begun) && round.is_due(begun + PERIOD));
        round.erase();
        assert_eq!((round.patience(begun), round.len()), (Duration::ZERO, 1));
        round.give_up();
        assert_eq!(round.take(), None);
    }
}
