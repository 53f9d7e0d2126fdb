//! The duty of the leader, and which instance holds it.

use crate::clock::Moment;
use crate::cluster::duty::{LeaderDuty, TERM};
use crate::cluster::instance::{InstanceRow, Leads};
use crate::job::registry::OwnSigns;
use std::sync::Arc;

pub(super) struct Leadership {
    duty: LeaderDuty,
    /// The leader according to the last rows, and until when.
    leader: Option<(Arc<str>, Moment)>,
}

impl Leadership {
    pub(super) fn new(duty: LeaderDuty) -> Leadership {
        Leadership { duty, leader: None }
    }

    /// Takes the rows of a call that began at `asked`. True if this instance has become the leader.
    pub(super) fn read_rows(
        &mut self,
        rows: &[InstanceRow],
        signs: &OwnSigns,
        asked: Moment,
        now: Moment,
    ) -> bool {
        // After an outage of the store the duty is taken again, which is no news.
        let was_own = self.leader.as_ref().is_some_and(|(name, _)| *name == signs.name);
        let leads = rows.iter().find(|row| row.leads == Leads::Yes);
        self.leader = leads.map(|row| (Arc::clone(&row.name), asked + TERM));
        let own = leads.filter(|row| row.origin == signs.origin);
        let before = self.duty.is_held(now);
        self.duty = self.duty.after(own.map_or(Leads::No, |row| row.leads), asked);
        self.duty.is_held(now) && !before && !was_own
    }

    /// The name of the leader; `None` if none is known.
    pub(super) fn leader(&self, signs: &OwnSigns, now: Moment) -> Option<Arc<str>> {
        match (&self.leader, self.is_own(now)) {
            (_, true) => Some(Arc::clone(&signs.name)),
            (Some((name, until)), false) if now < *until => Some(Arc::clone(name)),
            (Some(_) | None, false) => None,
        }
    }

    /// True while this instance leads.
    pub(super) fn is_own(&self, now: Moment) -> bool {
        self.duty.is_held(now)
    }

    /// True if there can be no other instance.
    pub(super) fn is_sole(&self) -> bool {
        matches!(self.duty, LeaderDuty::Sole)
    }

    /// The end of the own term.
    pub(super) fn term(&self, now: Moment) -> Option<Moment> {
        match self.duty {
            LeaderDuty::Held(until) if until > now => Some(until),
            LeaderDuty::Sole | LeaderDuty::Free | LeaderDuty::Held(_) => None,
        }
    }
}
