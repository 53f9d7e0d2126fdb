//! The issuer's keys, and when newer ones are fetched.

use super::waiter::Waiter;
use crate::auth::key_set::KeySet;
use crate::auth::party::Party;
use crate::clock::Moment;
use std::sync::Arc;
use std::time::Duration;

/// The issuer's keys, and the waiters for newer ones.
pub(super) struct Keys<W> {
    pub(super) set: Arc<KeySet>,
    /// `None` if no key set is fetched.
    pub(super) pause: Option<Duration>,
    /// When the last fetch ended.
    pub(super) last: Option<Moment>,
    pub(super) fetch: Fetch,
    pub(super) parked: Vec<(Box<str>, Waiter<W>)>,
}

/// The state of a request to fetch the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// No.
    No,
    /// Yes, and the worker has yet to take the request.
    Wanted,
    /// Yes, and the worker has the request.
    Requested,
}

impl<W> Keys<W> {
    /// Has the key set fetched, unless that was just done or is about to be.
    pub(super) fn want(&mut self, now: Moment) {
        let Some(pause) = self.pause else { return };
        let has_rested = self.last.is_some_and(|last| now.since(last) >= pause);
        if has_rested && self.fetch == Fetch::No {
            self.fetch = Fetch::Wanted;
        }
    }

    /// The moment of the next fetch, if it is in the future: no fetch is under way, and the pause since the last is not over.
    pub(super) fn next_fetch(&self, now: Moment) -> Option<Moment> {
        let due = self.last? + self.pause?;
        (self.fetch == Fetch::No && due > now).then_some(due)
    }

    /// Takes the newest waiter of a party.
    pub(super) fn newest(&mut self, party: &Party) -> Option<Waiter<W>> {
        let place = self.parked.iter().rposition(|(_, waiter)| waiter.party == *party)?;
        Some(self.parked.remove(place).1)
    }
}
