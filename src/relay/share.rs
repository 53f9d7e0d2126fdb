//! The share of each user in the seats of a route.
//!
//! A user has at most as many seats as are free: alone half of them, two users a third each. So there always is one for a user without
//! any, whatever the others do, until as many users as there are seats have one each; then channels wait in the order of arrival.
//!
//! The author of a publication is known once it was read, which is after its channel was claimed. A claim of a user who has no room is
//! released before anything is sent.

use crate::id::UserName;
use ahash::AHashMap;

/// The seats of one route that authors of publications have.
#[derive(Debug, Default)]
pub struct SeatShares {
    all: usize,
    taken: usize,
    /// Users with a seat, at most one for each seat.
    users: AHashMap<UserName, usize>,
}

impl SeatShares {
    /// Changes the number of seats. Taken ones stay taken.
    pub fn resize(&mut self, all: u16) {
        self.all = usize::from(all);
    }

    /// True if the user may have a seat more.
    pub fn has_room(&self, user: &UserName) -> bool {
        let held = self.users.get(user).copied().unwrap_or(0);
        held == 0 || held < self.all.saturating_sub(self.taken)
    }

    /// Takes a seat for the user. False if there is none.
    #[must_use]
    pub fn take(&mut self, user: &UserName) -> bool {
        let has_room = self.has_room(user);
        if has_room {
            self.taken += 1;
            *self.users.entry(user.clone()).or_default() += 1;
        }
        has_room
    }

    /// Gives a seat of the user back.
    pub fn leave(&mut self, user: &UserName) {
        let Some(held) = self.users.get_mut(user) else { return };
        self.taken -= 1;
        *held -= 1;
        if *held == 0 {
            self.users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserName {
        UserName::parse(name).expect("a user")
    }

    fn shares(all: u16) -> SeatShares {
        let mut shares = SeatShares::default();
        shares.resize(all);
        shares
    }

    /// Takes what the user gets, and returns how much.
    fn fill(shares: &mut SeatShares, name: &str) -> usize {
        std::iter::from_fn(|| shares.take(&user(name)).then_some(())).count()
    }

    #[test]
    fn user_who_fills_the_bound_leaves_half_to_others() {
        for (all, most) in [(1, 1), (2, 1), (3, 2), (4, 2), (32, 16), (512, 256)] {
            let mut shares = shares(all);
            assert_eq!(fill(&mut shares, "ann"), most, "of {all}");
            if all > 1 {
                assert!(shares.take(&user("bob")), "of {all}");
            }
        }
    }

    #[test]
    fn each_user_who_comes_later_finds_a_seat_until_all_have_one() {
        let mut shares = shares(32);
        let got: Vec<usize> = (0..32).map(|number| fill(&mut shares, &format!("u{number}"))).collect();
        assert_eq!(got[..4], [16, 8, 4, 2]);
        assert!(got[4..].iter().all(|seats| *seats == 1), "{got:?}");
    }

    #[test]
    fn seat_that_is_given_back_goes_to_a_user_with_room() {
        let mut shares = shares(4);
        assert_eq!((fill(&mut shares, "ann"), fill(&mut shares, "bob")), (2, 1));
        assert!(!shares.has_room(&user("ann")) && !shares.has_room(&user("bob")));
        shares.leave(&user("ann"));
        assert!(shares.has_room(&user("bob")), "one of the two that are free");
        shares.leave(&user("bob"));
        assert_eq!(fill(&mut shares, "ann"), 1, "half again");
        shares.resize(2);
        assert!(shares.take(&user("cat")), "a user without any gets one, though a reload has taken seats");
        assert!(!shares.take(&user("cat")));
    }

    #[test]
    fn nothing_is_kept_of_users_without_seats() {
        let mut shares = shares(8);
        assert!(shares.take(&user("ann")) && shares.take(&user("ann")));
        shares.leave(&user("ann"));
        shares.leave(&user("ann"));
        shares.leave(&user("bob"));
        assert!(shares.users.is_empty() && shares.taken == 0);
    }
}
