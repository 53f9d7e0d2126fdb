//! The lease of this instance: the next renewal, and doubts about the last ones.
//!
//! A doubt is evidence that Redis does not hold what this process wrote, or that others may have judged it gone. Then everything
//! that was written is void: the next incarnation begins, and writes it again. One rule covers an emptied Redis, a failover to an
//! older replica, a removed key, and a process that was stopped.

use crate::clock::Moment;
use crate::id::Incarnation;
use crate::wire::lease::Lease;
use crate::wire::slot::Partition;
use std::collections::BTreeMap;
use std::time::Duration;

/// A renewal is late after this time: others judge the instance by its row from then on.
pub const LATE: Duration = Duration::from_secs(4);

/// The reason for the next incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseDoubt {
    /// The last renewal is too long ago: this process was stopped, or Redis was out of reach.
    Late,
    /// Redis has another lease than this process wrote, or none.
    Lost,
    /// More changes waited than are kept, so that it is not known what Redis lacks.
    Behind,
    /// The thread that writes was restarted, and has lost what it knew.
    Restarted,
}

impl LeaseDoubt {
    /// The words in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            LeaseDoubt::Late => "the last renewal was too long ago",
            LeaseDoubt::Lost => "Redis does not have what was written",
            LeaseDoubt::Behind => "more changes waited than are kept",
            LeaseDoubt::Restarted => "the registry was restarted",
        }
    }
}

/// The lease of this instance, and the numbers of its flushes.
///
/// A flush is a pipeline of writes to segments. Its first command reads the number of the last one and its last command writes its
/// own, so that an older replica shows, even if its lease is the same.
#[derive(Clone, Debug)]
pub struct OwnLease {
    incarnation: Incarnation,
    /// The last renewal that Redis confirmed, and the last one that was sent.
    confirmed: u64,
    sent: u64,
    /// The beginning of the last confirmed renewal.
    renewed: Option<Moment>,
    /// By the partition whose number covers them; a single Redis has one.
    flushes: BTreeMap<Partition, FlushCount>,
    doubts: u64,
}

/// The flushes that one number covers.
#[derive(Clone, Copy, Debug, Default)]
struct FlushCount {
    /// The number of the last one that Redis confirmed, and of the last one that was sent.
    confirmed: u64,
    sent: u64,
}

impl FlushCount {
    /// If a flush was never answered, both its number and the one before are right.
    fn is_right(self, found: Option<&[u8]>, last: u64) -> bool {
        let Some(found) = found else { return self.confirmed == 0 };
        let number = std::str::from_utf8(found).ok().and_then(|text| text.parse::<u64>().ok());
        number.is_some_and(|number| number > 0 && (self.confirmed..=last).contains(&number))
    }
}

impl OwnLease {
    /// The lease of a process that begins.
    pub fn new(origin: u64) -> OwnLease {
        let incarnation = Incarnation { origin, count: 1 };
        let flushes = BTreeMap::new();
        OwnLease { incarnation, confirmed: 0, sent: 0, renewed: None, flushes, doubts: 0 }
    }

    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The number of doubts so far.
    pub fn doubts(&self) -> u64 {
        self.doubts
    }

    /// Checks the age of the last renewal. Call it before anything is written: a process that was stopped takes the next
    /// incarnation first.
    pub fn check_age(&mut self, now: Moment) -> Option<LeaseDoubt> {
        let is_late = self.renewed.is_some_and(|renewed| now.since(renewed) > LATE);
        is_late.then(|| self.doubt(LeaseDoubt::Late))
    }

    /// The number of the next renewal, which is about to be sent.
    pub fn send(&mut self) -> u64 {
        self.sent = self.sent.saturating_add(1);
        self.sent
    }

    /// Checks what Redis had before the renewal that was sent at `begun`, and confirms it. If a renewal was never answered, both
    /// it and the one before are right.
    pub fn confirm(&mut self, found: Option<&[u8]>, begun: Moment) -> Option<LeaseDoubt> {
        let is_ours = match found {
            None => self.confirmed == 0,
            Some(bytes) => Lease::parse(bytes).is_some_and(|lease| {
                (self.confirmed..self.sent).contains(&lease.renewals) && lease.renewals > 0
            }),
        };
        if !is_ours {
            return Some(self.doubt(LeaseDoubt::Lost));
        }
        (self.confirmed, self.renewed) = (self.sent, Some(begun));
        None
    }

    /// Gives the incarnation up, because more changes waited than are kept.
    pub fn fall_behind(&mut self) -> LeaseDoubt {
        self.doubt(LeaseDoubt::Behind)
    }

    /// Gives the incarnation up, because nothing is known of its writes.
    pub fn restart(&mut self) -> LeaseDoubt {
        self.doubt(LeaseDoubt::Restarted)
    }

    /// True once this incarnation has its lease: nothing else may be written before.
    pub fn is_held(&self) -> bool {
        self.renewed.is_some()
    }

    /// The number of the next flush with the number of this partition, which is about to be sent.
    pub fn send_flush(&mut self, partition: Partition) -> u64 {
        let count = self.flushes.entry(partition).or_default();
        count.sent = count.sent.saturating_add(1);
        count.sent
    }

    /// Checks the number that Redis had before the flush that was sent last, and confirms that flush.
    pub fn confirm_flush(&mut self, partition: Partition, found: Option<&[u8]>) -> Option<LeaseDoubt> {
        let count = self.flushes.entry(partition).or_default();
        if !count.is_right(found, count.sent.saturating_sub(1)) {
            return Some(self.doubt(LeaseDoubt::Lost));
        }
        count.confirmed = count.sent;
        None
    }

    /// Checks the number of the last flush with the number of a partition, between two flushes.
    pub fn check_flush(&mut self, partition: Partition, found: Option<&[u8]>) -> Option<LeaseDoubt> {
        (!self.has_flush(partition, found)).then(|| self.doubt(LeaseDoubt::Lost))
    }

    /// True if this is a number that Redis can have for the last flush with the number of this partition.
    pub fn has_flush(&self, partition: Partition, found: Option<&[u8]>) -> bool {
        let count = self.flushes.get(&partition).copied().unwrap_or_default();
        count.is_right(found, count.sent)
    }

    fn doubt(&mut self, doubt: LeaseDoubt) -> LeaseDoubt {
        self.incarnation.count = self.incarnation.count.saturating_add(1);
        (self.confirmed, self.sent, self.renewed) = (0, 0, None);
        self.flushes.clear();
        self.doubts += 1;
        doubt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lease::{LeaseParts, LeasePhase};

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    fn found(renewals: u64) -> String {
        Lease::encode(renewals, LeasePhase::Serving, LeaseParts::default(), "gw-1")
    }

    /// A renewal that Redis answers with what it had.
    fn renew(lease: &mut OwnLease, had: Option<u64>, now: u64) -> Option<LeaseDoubt> {
        lease.send();
        let had = had.map(found);
        lease.confirm(had.as_deref().map(str::as_bytes), at(now))
    }

    #[test]
    fn renewals_that_redis_remembers_keep_the_incarnation() {
        let mut lease = OwnLease::new(7);
        assert_eq!(renew(&mut lease, None, 0), None);
        for second in 1..10 {
            assert_eq!(lease.check_age(at(second * 1_000)), None);
            assert_eq!(renew(&mut lease, Some(second), second * 1_000), None);
        }
        assert_eq!((lease.incarnation().count, lease.doubts()), (1, 0));
    }

    #[test]
    fn emptied_or_older_redis_begins_the_next_incarnation() {
        for had in [None, Some(1), Some(9)] {
            let mut lease = OwnLease::new(7);
            renew(&mut lease, None, 0);
            renew(&mut lease, Some(1), 1_000);
            assert_eq!(renew(&mut lease, had, 2_000), Some(LeaseDoubt::Lost), "{had:?}");
            assert_eq!(lease.incarnation(), Incarnation { origin: 7, count: 2 });
            assert_eq!(renew(&mut lease, None, 2_000), None, "it has written nothing yet");
            assert_eq!(renew(&mut lease, Some(1), 3_000), None);
        }
    }

    #[test]
    fn unanswered_renewal_may_have_been_written_or_not() {
        for had in [1, 2] {
            let mut lease = OwnLease::new(7);
            renew(&mut lease, None, 0);
            lease.send();
            assert_eq!(renew(&mut lease, Some(had), 2_000), None, "{had}");
        }
    }

    #[test]
    fn late_renewal_is_a_doubt_once() {
        let mut lease = OwnLease::new(7);
        assert_eq!(lease.check_age(at(60_000)), None, "nothing was written");
        renew(&mut lease, None, 60_000);
        assert_eq!(lease.check_age(at(64_000)), None);
        assert_eq!(lease.check_age(at(64_001)), Some(LeaseDoubt::Late));
        assert_eq!(lease.check_age(at(99_000)), None, "Redis is still away");
        assert_eq!((lease.incarnation().count, lease.doubts()), (2, 1));
    }

    #[test]
    fn flush_number_that_redis_lost_is_a_doubt() {
        let flush = |lease: &mut OwnLease, had: Option<&str>| {
            lease.send_flush(Partition::FIRST);
            lease.confirm_flush(Partition::FIRST, had.map(str::as_bytes))
        };
        for had in [None, Some("1"), Some("3"), Some("x"), Some("0")] {
            let mut lease = OwnLease::new(7);
            renew(&mut lease, None, 0);
            assert!(lease.is_held());
            assert_eq!(flush(&mut lease, None), None, "the first flush finds no number");
            assert_eq!(flush(&mut lease, Some("1")), None);
            assert_eq!(lease.check_flush(Partition::FIRST, Some(b"2")), None);
            assert_eq!(flush(&mut lease, had), Some(LeaseDoubt::Lost), "{had:?}");
            assert_eq!((lease.incarnation().count, lease.is_held()), (2, false));
            assert_eq!(flush(&mut lease, None), None, "the next incarnation has flushed nothing");
        }
        let mut lease = OwnLease::new(7);
        flush(&mut lease, None);
        assert_eq!(lease.check_flush(Partition::FIRST, None), Some(LeaseDoubt::Lost), "between two flushes");
    }

    #[test]
    fn unanswered_flush_may_have_been_written_or_not() {
        for had in ["1", "2"] {
            let mut lease = OwnLease::new(7);
            lease.send_flush(Partition::FIRST);
            assert_eq!(lease.confirm_flush(Partition::FIRST, None), None);
            lease.send_flush(Partition::FIRST);
            assert_eq!(lease.check_flush(Partition::FIRST, Some(had.as_bytes())), None, "{had}");
            lease.send_flush(Partition::FIRST);
            assert_eq!(lease.confirm_flush(Partition::FIRST, Some(had.as_bytes())), None, "{had}");
        }
    }
}
