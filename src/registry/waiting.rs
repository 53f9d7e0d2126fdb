//! Questions where users are connected. They wait here, so that no renewal waits for them.

use crate::job::users::UserLookup;
use std::collections::VecDeque;

/// Questions that wait. Over it, askers are refused at once.
const WAITING_MAX: usize = 1_024;

/// The renewal of the lease, as look-ups have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RenewalTurn {
    /// It was made just now. Some look-ups follow each one, or none would if renewals alone take a whole period.
    Made,
    /// It goes first once it is due.
    Ahead,
}

/// The questions that wait, in order.
#[derive(Debug, Default)]
pub(super) struct WaitingLookups(VecDeque<UserLookup>);

impl WaitingLookups {
    /// Adds a question. Without room it is dropped, which its asker notices.
    pub(super) fn push(&mut self, lookup: UserLookup) {
        if self.0.len() >= WAITING_MAX {
            self.0.retain(UserLookup::is_wanted);
        }
        if self.0.len() < WAITING_MAX {
            self.0.push_back(lookup);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next questions: at least one, and with at most `most` users if these are several. Those whose asker has given up are dropped.
    pub(super) fn take(&mut self, most: usize) -> Vec<UserLookup> {
        let (mut taken, mut users) = (Vec::new(), 0);
        while let Some(next) = self.0.pop_front() {
            if !next.is_wanted() {
                continue;
            }
            users += next.users.len();
            if users > most && !taken.is_empty() {
                self.0.push_front(next);
                break;
            }
            taken.push(next);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserName;
    use crate::job::users::PendingLookup;
    use std::time::Duration;

    fn lookup(users: usize) -> (UserLookup, PendingLookup) {
        let name = |n| UserName::parse(&format!("u{n}")).expect("a user name");
        UserLookup::new((0..users).map(name).collect())
    }

    fn sizes(taken: &[UserLookup]) -> Vec<usize> {
        taken.iter().map(|lookup| lookup.users.len()).collect()
    }

    #[test]
    fn questions_are_taken_in_order_up_to_a_number_of_users() {
        let mut waiting = WaitingLookups::default();
        let mut askers = Vec::new();
        for users in [100, 100, 57, 1, 100] {
            let (question, asker) = lookup(users);
            waiting.push(question);
            askers.push(asker);
        }
        assert_eq!(sizes(&waiting.take(256)), [100, 100]);
        assert_eq!(sizes(&waiting.take(64)), [57, 1]);
        assert_eq!(sizes(&waiting.take(64)), [100], "one in any case");
        assert!(waiting.is_empty() && waiting.take(64).is_empty());
    }

    #[test]
    fn questions_whose_askers_gave_up_are_dropped_and_make_room() {
        let mut waiting = WaitingLookups::default();
        let mut askers = Vec::new();
        for _ in 0..WAITING_MAX {
            let (question, asker) = lookup(1);
            waiting.push(question);
            askers.push(asker);
        }
        let (refused, asker) = lookup(1);
        waiting.push(refused);
        assert_eq!(asker.wait(Duration::from_secs(60)), None, "it is refused at once");
        askers.drain(10..);
        let (question, _asker) = lookup(2);
        waiting.push(question);
        assert_eq!(sizes(&waiting.take(256)), [[1; 10].as_slice(), &[2]].concat());
        drop(askers);
        let (question, gone) = lookup(1);
        waiting.push(question);
        drop(gone);
        assert!(waiting.take(256).is_empty());
    }
}
