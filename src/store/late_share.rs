//! The share of the writing thread that goes to commands about streams that are not open: each may read the store, so there is a
//! bound, and one user has at most half.

use crate::clock::Moment;
use crate::id::UserName;
use ahash::AHashMap;
use std::time::Duration;

/// Looks at the store in one period: a millisecond or two.
pub(super) const LOOKS: usize = 64;
/// Looks of one user in one period.
pub(super) const LOOKS_OF_USER: usize = LOOKS / 2;
/// The time after which there are new looks: about that between two flushes.
const PERIOD: Duration = Duration::from_millis(40);

/// The looks of the period in progress.
#[derive(Debug, Default)]
pub(super) struct LateShare {
    end: Option<Moment>,
    used: usize,
    by_user: AHashMap<UserName, usize>,
}

impl LateShare {
    /// Takes one look for a user. False if there is none left in this period.
    pub(super) fn take(&mut self, user: &UserName, now: Moment) -> bool {
        if self.end.is_none_or(|end| end <= now) {
            self.end = Some(now + PERIOD);
            self.used = 0;
            self.by_user.clear();
        }
        let own = self.by_user.get(user).copied().unwrap_or_default();
        if self.used >= LOOKS || own >= LOOKS_OF_USER {
            return false;
        }
        self.used += 1;
        self.by_user.insert(user.clone(), own + 1);
        true
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
}
