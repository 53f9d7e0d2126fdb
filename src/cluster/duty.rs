//! The duty of the leader: work that one instance does for all, such as alerts and the deletion of old rows.
//!
//! The duty is a row in the store that an instance takes for [`TERM`], by the clock of the store, and keeps by each renewal. An
//! instance counts its term from before it asked, so that it ends here before it ends there: never do two instances lead.

use super::instance::Leads;
use crate::clock::Moment;
use std::time::Duration;

/// How long the duty is held after a renewal.
pub const TERM: Duration = Duration::from_secs(4);

/// The duty as this instance holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderDuty {
    /// This is the only instance.
    Sole,
    /// Another instance may hold it.
    Free,
    /// This instance holds it until then.
    Held(Moment),
}

impl LeaderDuty {
    /// The duty after the store has answered a call that began at `asked`.
    pub fn after(self, leads: Leads, asked: Moment) -> LeaderDuty {
        match (self, leads) {
            (LeaderDuty::Sole, _) => LeaderDuty::Sole,
            (LeaderDuty::Free | LeaderDuty::Held(_), Leads::Yes) => LeaderDuty::Held(asked + TERM),
            (LeaderDuty::Free | LeaderDuty::Held(_), Leads::No) => LeaderDuty::Free,
        }
    }

    /// True exactly while this instance leads.
    pub fn is_held(self, now: Moment) -> bool {
        match self {
            LeaderDuty::Sole => true,
            LeaderDuty::Free => false,
            LeaderDuty::Held(until) => now < until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_is_counted_from_before_the_call_and_ends_without_one() {
        let at = |ms: u64| Moment::from_micros(ms * 1_000);
        let duty = LeaderDuty::Free.after(Leads::Yes, at(1_000));
        assert!(duty.is_held(at(4_999)) && !duty.is_held(at(5_000)));
        assert!(!duty.after(Leads::No, at(2_000)).is_held(at(2_000)), "another one has it");
        assert!(duty.after(Leads::Yes, at(3_000)).is_held(at(6_999)));
        assert!(LeaderDuty::Sole.after(Leads::No, at(0)).is_held(at(1 << 40)));
    }
}
