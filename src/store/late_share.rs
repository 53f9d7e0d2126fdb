//! The share of the writing thread that goes to commands about streams that are not open: each may read the store, so there is a
//! bound, and one user has at most half. What is read counts in bytes too: a user who has read more than its part of them waits.

use crate::clock::Moment;
use crate::id::UserName;
use ahash::AHashMap;
use std::time::Duration;

/// Looks at the store in one period: a millisecond or two.
pub(super) const LOOKS: usize = 64;
/// Looks of one user in one period.
pub(super) const LOOKS_OF_USER: usize = LOOKS / 2;
/// Bytes that are read in one period: about 50 MiB in a second.
const BYTES: usize = 2 << 20;
/// Bytes for one user in one period.
const BYTES_OF_USER: usize = BYTES / 2;
/// The time after which there are new looks: about that between two flushes.
const PERIOD: Duration = Duration::from_millis(40);

/// The looks of the period in progress.
#[derive(Debug, Default)]
pub(super) struct LateShare {
    end: Option<Moment>,
    used: usize,
    by_user: AHashMap<UserName, usize>,
    bytes: usize,
    /// Bytes that each user has read. One read may be more than the part of a period, so later periods pay for it.
    bytes_by_user: AHashMap<UserName, usize>,
}

impl LateShare {
    /// Takes one look for a user. False if there is none left in this period.
    pub(super) fn take(&mut self, user: &UserName, now: Moment) -> bool {
        if self.end.is_none_or(|end| end <= now) {
            self.begin_period(now);
        }
        let own = self.by_user.get(user).copied().unwrap_or_default();
        if self.used >= LOOKS || own >= LOOKS_OF_USER || !self.may_read(user) {
            return false;
        }
        self.used += 1;
        self.by_user.insert(user.clone(), own + 1);
        true
    }

    fn begin_period(&mut self, now: Moment) {
        let over = self.end.map_or(Duration::ZERO, |end| now.since(end));
        let periods = over.as_millis() / PERIOD.as_millis() + 1;
        let paid = usize::try_from(periods).unwrap_or(usize::MAX).saturating_mul(BYTES_OF_USER);
        self.end = Some(now + PERIOD);
        (self.used, self.bytes) = (0, 0);
        self.by_user.clear();
        self.bytes_by_user.retain(|_, bytes| {
            *bytes = bytes.saturating_sub(paid);
            *bytes > 0
        });
    }

    /// True if there are bytes left for a user.
    pub(super) fn may_read(&self, user: &UserName) -> bool {
        let own = self.bytes_by_user.get(user).copied().unwrap_or_default();
        self.bytes < BYTES && own < BYTES_OF_USER
    }

    /// This was read for a user.
    pub(super) fn was_read(&mut self, user: &UserName, bytes: usize) {
        if bytes > 0 {
            self.bytes += bytes;
            *self.bytes_by_user.entry(user.clone()).or_default() += bytes;
        }
    }

    /// The store cannot be read: there are no more looks in this period.
    pub(super) fn give_up(&mut self) {
        self.used = LOOKS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_has_a_bound_and_one_user_has_half_of_it() {
        let user = |name: &str| UserName::parse(name).expect("valid");
        let (ann, bob, eve) = (user("ann"), user("bob"), user("eve"));
        let mut share = LateShare::default();
        let now = Moment::ZERO;
        let mut taken = |user, now| (0..1_000).filter(|_| share.take(user, now)).count();
        assert_eq!([taken(&ann, now), taken(&bob, now), taken(&eve, now)], [LOOKS_OF_USER, LOOKS_OF_USER, 0]);
        assert_eq!(taken(&eve, now + PERIOD), LOOKS_OF_USER);
        share.give_up();
        assert!(!share.take(&ann, now + PERIOD));
        assert!(share.take(&ann, now + PERIOD * 2));
    }

    #[test]
    fn user_who_reads_much_waits_and_the_others_do_not() {
        let user = |name: &str| UserName::parse(name).expect("valid");
        let (ann, bob) = (user("ann"), user("bob"));
        let mut share = LateShare::default();
        let at = |periods| Moment::ZERO + PERIOD * periods;
        assert!(share.take(&ann, at(0)) && share.may_read(&ann));
        share.was_read(&ann, 3 * BYTES_OF_USER);
        assert!(!share.take(&ann, at(0)) && !share.take(&bob, at(0)), "the bytes of the period are used");
        assert!(!share.take(&ann, at(2)) && share.take(&bob, at(2)));
        assert!(share.take(&ann, at(4)));
    }
}
