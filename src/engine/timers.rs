//! The deadlines of connections: a timing wheel (Varghese and Lauck, 1987) of one revolution.
//!
//! A connection has one entry, for its earliest deadline. When the entry comes up, the engine handles what is due and schedules
//! the next deadline. A deadline that moves later, as nearly all do, costs nothing; only one that moves earlier makes a second
//! entry, and the first is then ignored.

use super::slots::SlotId;
use crate::clock::Moment;
use std::time::Duration;

/// The width of a bucket, in microseconds. No deadline needs a finer one.
const BUCKET_US: u64 = 32_768;
/// The number of buckets: 33 s, past the usual ping. An entry for a later deadline comes up once before it.
const BUCKETS: usize = 1_024;

/// The bucket of a connection's entry; zero if it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduled(u64);

/// The timing wheel.
#[derive(Debug)]
pub struct Timers {
    /// Connections, each with the bucket that its entry was made for.
    buckets: Vec<Vec<(SlotId, u64)>>,
    occupied: [u64; BUCKETS / 64],
    /// The first bucket that was not emptied yet, counted from the zero of the clock.
    next: u64,
}

impl Timers {
    pub fn new(now: Moment) -> Timers {
        Timers {
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            occupied: [0; BUCKETS / 64],
            next: now.micros() / BUCKET_US,
        }
    }

    /// Schedules the connection for at most a bucket after `deadline`.
    #[inline]
    pub fn ensure(&mut self, id: SlotId, scheduled: &mut Scheduled, deadline: Moment) {
        // Rounded up: an entry never comes up just before its deadline, which would cost a second one.
        let wanted = (deadline.micros() / BUCKET_US + 1).clamp(self.next, self.next + BUCKETS as u64 - 1);
        if scheduled.0 != 0 && scheduled.0 <= wanted && scheduled.0 >= self.next {
            return;
        }
        scheduled.0 = wanted;
        let place = (wanted % BUCKETS as u64) as usize;
        self.buckets[place].push((id, wanted));
        self.occupied[place / 64] |= 1 << (place % 64);
    }

    /// True exactly when the entry that came up is the connection's current one, which is then cleared.
    pub fn claim(scheduled: &mut Scheduled, bucket: u64) -> bool {
        let current = scheduled.0 == bucket;
        if current {
            scheduled.0 = 0;
        }
        current
    }

    /// Takes one bucket that came up by `now`; call it until it returns `None`.
    pub fn pop(&mut self, now: Moment) -> Option<Vec<(SlotId, u64)>> {
        let current = now.micros() / BUCKET_US;
        while self.next <= current {
            let place = (self.next % BUCKETS as u64) as usize;
            self.next += 1;
            if self.occupied[place / 64] & (1 << (place % 64)) != 0 {
                self.occupied[place / 64] &= !(1 << (place % 64));
                return Some(std::mem::take(&mut self.buckets[place]));
            }
        }
        None
    }

    /// The time until an entry comes up, at most one revolution.
    pub fn rest(&self, now: Moment) -> Duration {
        let words = BUCKETS / 64;
        let first = (self.next % BUCKETS as u64) as usize;
        // One more than the number of words, because the first is searched in two parts: from its bit on, and up to it.
        for step in 0..=words {
            let word = (first / 64 + step) % words;
            let mask = match step {
                0 => u64::MAX << (first % 64),
                _ if step == words => !(u64::MAX << (first % 64)),
                _ => u64::MAX,
            };
            let occupied = self.occupied[word] & mask;
            if occupied != 0 {
                let place = word * 64 + occupied.trailing_zeros() as usize;
                let ahead = (place + BUCKETS - first) % BUCKETS;
                return Moment::from_micros((self.next + ahead as u64) * BUCKET_US).since(now);
            }
        }
        Duration::from_micros(BUCKETS as u64 * BUCKET_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at_ms(ms: u64) -> Moment {
        Moment::from_micros(ms * 1000)
    }

    proptest! {
        /// Every connection comes up for its deadline: never before, and at most two buckets late.
        #[test]
        fn each_connection_comes_up_in_time(deadlines in prop::collection::vec(1u64..120_000, 1..50)) {
            let start = at_ms(3_600_000);
            let mut timers = Timers::new(start);
            let mut scheduled = vec![Scheduled::default(); deadlines.len()];
            let id = |index: usize| SlotId { index: index as u32, generation: 1 };
            let due = |index: usize| start + Duration::from_millis(deadlines[index]);
            for (index, scheduled) in scheduled.iter_mut().enumerate() {
                timers.ensure(id(index), scheduled, due(index));
            }
            let mut came = vec![None; deadlines.len()];
            let mut now = start;
            while came.iter().any(Option::is_none) {
                let rest = timers.rest(now);
                prop_assert!(rest <= Duration::from_secs(34));
                now = now + rest.max(Duration::from_micros(1));
                while let Some(bucket) = timers.pop(now) {
                    for (slot, bucket) in bucket {
                        let index = slot.index as usize;
                        if !Timers::claim(&mut scheduled[index], bucket) { continue; }
                        if now < due(index) {
                            timers.ensure(slot, &mut scheduled[index], due(index));
                        } else {
                            prop_assert!(came[index].is_none());
                            came[index] = Some(now);
                        }
                    }
                }
            }
            for (index, came) in came.into_iter().enumerate() {
                let late = came.expect("came").since(due(index));
                prop_assert!(late <= Duration::from_micros(2 * BUCKET_US), "{late:?}");
            }
        }
    }

    #[test]
    fn an_earlier_deadline_wins_and_the_later_entry_is_ignored() {
        let start = at_ms(3_600_000);
        let mut timers = Timers::new(start);
        let mut scheduled = Scheduled::default();
        let id = SlotId { index: 1, generation: 1 };
        timers.ensure(id, &mut scheduled, start + Duration::from_secs(20));
        timers.ensure(id, &mut scheduled, start + Duration::from_secs(25));
        timers.ensure(id, &mut scheduled, start + Duration::from_secs(5));
        let mut claims = 0;
        let mut now = start;
        while now < start + Duration::from_secs(30) {
            now = now + Duration::from_millis(500);
            while let Some(bucket) = timers.pop(now) {
                for (_, bucket) in bucket {
                    claims += usize::from(Timers::claim(&mut scheduled, bucket));
                }
            }
        }
        assert_eq!(claims, 1);
    }
}
