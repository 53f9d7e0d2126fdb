//! Tokens that wait for the thread that checks them.
//!
//! A signature costs tens of microseconds, so one client could delay all others. Sign-ins go before refreshes, because a
//! client that signs in has nothing yet, and a session can wait until its token expires. Both are served in turn, by address
//! and by user.

use super::fair_queue::FairQueue;
use super::party::Party;

/// After this many sign-ins in a row one refresh is served, so that a storm of sign-ins ends no session.
const SIGN_INS_IN_A_ROW: u32 = 8;

/// See the module. Sign-ins and refreshes have the same number of places.
#[derive(Debug)]
pub struct CheckQueue<T> {
    sign_ins: FairQueue<Party, T>,
    refreshes: FairQueue<Party, T>,
    each_max: usize,
    in_a_row: u32,
}

impl<T> CheckQueue<T> {
    /// A queue for this many sign-ins and as many refreshes.
    pub fn new(each_max: usize) -> CheckQueue<T> {
        let (sign_ins, refreshes) = (FairQueue::default(), FairQueue::default());
        CheckQueue { sign_ins, refreshes, each_max, in_a_row: 0 }
    }

    /// Appends a check. Returns one that has no place: the newest of the party with the most, or this one.
    #[must_use]
    pub fn push(&mut self, party: Party, check: T) -> Option<T> {
        let queue = match party {
            Party::Address(_) => &mut self.sign_ins,
            Party::User(_) => &mut self.refreshes,
        };
        if queue.len() < self.each_max {
            queue.push(party, check);
            return None;
        }
        match queue.displace_for(&party) {
            Some(displaced) => {
                queue.push(party, check);
                Some(displaced)
            }
            None => Some(check),
        }
    }

    /// Takes the next check.
    pub fn pop(&mut self) -> Option<T> {
        if self.in_a_row >= SIGN_INS_IN_A_ROW || self.sign_ins.is_empty() {
            self.in_a_row = 0;
            if let Some(refresh) = self.refreshes.pop() {
                return Some(refresh);
            }
        }
        self.in_a_row += 1;
        self.sign_ins.pop()
    }

    pub fn is_empty(&self) -> bool {
        self.sign_ins.is_empty() && self.refreshes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserName;

    fn address(last: u8) -> Party {
        Party::of([192, 0, 2, last].into())
    }

    fn user(name: &str) -> Party {
        Party::User(UserName::parse(name).expect("a user name"))
    }

    #[test]
    fn sign_ins_go_before_refreshes_but_do_not_starve_them() {
        let mut queue = CheckQueue::new(100);
        assert!((0..20).all(|n| queue.push(user("ann"), n).is_none()));
        assert!((100..120).all(|n| queue.push(address(1), n).is_none()));
        let first: Vec<_> = (0..10).filter_map(|_| queue.pop()).collect();
        assert_eq!(first, [100, 101, 102, 103, 104, 105, 106, 107, 0, 108]);
        let rest = std::iter::from_fn(|| queue.pop()).count();
        assert!(rest == 30 && queue.is_empty());
    }

    #[test]
    fn full_queue_displaces_the_newest_check_of_the_party_with_the_most() {
        let mut queue = CheckQueue::new(4);
        assert!((0..4).all(|n| queue.push(address(1), n).is_none()));
        assert_eq!(queue.push(address(1), 4), Some(4), "its own");
        assert_eq!(queue.push(address(2), 20), Some(3));
        assert_eq!(queue.push(user("ann"), 30), None, "refreshes have their own places");
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(0), Some(20), Some(1)));
    }
}
