//! The health of one instance, as its own canary sees it.
//!
//! One ill instance of ten fails a tenth of all events, which is below every fast tier for half an hour. Its canary fails nearly
//! always.

use super::history::SLOT_S;
use super::part::SloPart;
use super::run_counts::AllCounts;

/// The windows in slots: three minutes, and the last one.
const LONG: usize = 180 / SLOT_S as usize;
const SHORT: usize = 60 / SLOT_S as usize;
/// One failure is no illness.
const BAD_MIN: u64 = 3;

/// The verdict on an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceVerdict {
    /// Half of the rounds fail, over three minutes and in the last one.
    Ill,
    /// A quarter does.
    Doubtful,
    Well,
}

/// The rounds of the canary in the last three minutes, ten seconds each: all of them, and the failed ones.
#[derive(Clone, Debug, Default)]
pub struct InstanceHealth {
    slots: [(u64, u64); LONG],
    next: usize,
}

impl InstanceHealth {
    /// Begins ten seconds of this instance.
    pub fn begin_slot(&mut self) {
        if let Some(slot) = self.slots.get_mut(self.next) {
            *slot = (0, 0);
        }
        self.next = (self.next + 1) % LONG;
    }

    /// Adds counts of these ten seconds.
    pub fn add(&mut self, counts: &AllCounts) {
        let (rounds, bad) = rounds(counts);
        if let Some((all, failed)) = self.slots.get_mut((self.next + LONG - 1) % LONG) {
            (*all, *failed) = (*all + rounds, *failed + bad);
        }
    }

    /// True exactly if the canary had a round.
    pub fn has_round(counts: &AllCounts) -> bool {
        rounds(counts) != (0, 0)
    }

    pub fn verdict(&self) -> InstanceVerdict {
        let newest = (0..LONG)
            .map(|back| self.slots.get((self.next + LONG - 1 - back) % LONG).copied().unwrap_or_default());
        let sum = |count: usize| {
            newest.clone().take(count).fold((0, 0), |(all, bad), slot| (all + slot.0, bad + slot.1))
        };
        let (long, short) = (sum(LONG), sum(SHORT));
        let fails = |share: u64| [long, short].iter().all(|(all, bad)| *bad > 0 && bad * share >= *all);
        match long.1 >= BAD_MIN {
            true if fails(2) => InstanceVerdict::Ill,
            true if fails(4) => InstanceVerdict::Doubtful,
            true | false => InstanceVerdict::Well,
        }
    }
}

/// All rounds, and the failed ones. One that failed has one bad event: in the connection, or in the message.
fn rounds(counts: &AllCounts) -> (u64, u64) {
    let totals = |part: SloPart| counts.get(part.index()).map(|counts| counts.totals).unwrap_or_default();
    let (connection, delivery) = (totals(SloPart::ConnectionCanary), totals(SloPart::DeliveryCanary));
    (connection.good + connection.bad, connection.bad + delivery.bad)
}

#[cfg(test)]
mod tests {
    use super::super::part::PartTotals;
    use super::super::scoreboard::PartCounts;
    use super::*;

    fn slot(part: SloPart, bad: u64) -> AllCounts {
        let mut counts = AllCounts::default();
        let mut add = |part: SloPart, good, bad| {
            counts[part.index()] = PartCounts::of_slot(PartTotals { good, bad, excluded: 0 });
        };
        add(SloPart::ConnectionCanary, 1, 0);
        add(SloPart::DeliveryCanary, 1, 0);
        add(part, 1 - bad, bad);
        counts
    }

    fn close(health: &mut InstanceHealth, counts: &AllCounts) {
        health.begin_slot();
        health.add(counts);
    }

    fn seconds_until_ill(health: &mut InstanceHealth, part: SloPart, one_in: usize) -> Option<usize> {
        (1..=60).find_map(|count| {
            close(health, &slot(part, u64::from(count % one_in == 0)));
            (health.verdict() == InstanceVerdict::Ill).then_some(count * SLOT_S as usize)
        })
    }

    #[test]
    fn instance_that_fails_is_ill_within_two_minutes_and_one_that_fails_rarely_is_not() {
        for part in [SloPart::ConnectionCanary, SloPart::DeliveryCanary] {
            let mut health = InstanceHealth::default();
            (0..100).for_each(|_| close(&mut health, &slot(part, 0)));
            assert_eq!(health.verdict(), InstanceVerdict::Well);
            assert_eq!(seconds_until_ill(&mut health, part, 1), Some(90), "{part:?}");
            (0..7).for_each(|_| close(&mut health, &slot(part, 0)));
            assert_eq!(health.verdict(), InstanceVerdict::Well, "the last minute is good");
            let mut rare = InstanceHealth::default();
            assert_eq!(seconds_until_ill(&mut rare, part, 3), None);
            assert_eq!(InstanceHealth::default().verdict(), InstanceVerdict::Well, "nothing is known");
        }
    }
}
