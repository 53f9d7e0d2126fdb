//! The shares of the waiting room and of the callers.
//!
//! Made-up tokens cost an attacker nothing, so tokens that were good before have half of the room and one caller to
//! themselves. Within both halves the parties have equal shares: if the room is full, the newest waiter of the party with the
//! most goes, and calls are made for one party after the other.

use crate::auth::fair_queue::FairQueue;
use crate::auth::known::TokenHash;
use crate::auth::party::Party;
use std::collections::BTreeMap;

/// The history of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenHistory {
    /// The service accepted it before.
    Good,
    /// Nothing is known of it. It may be made up.
    Unknown,
}

/// The answer to one more waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RoomEntry {
    /// It has a place.
    Granted,
    /// It has a place, and a waiter of this party with a token of the same history must go.
    InsteadOf(Party),
    /// There is no place.
    Full,
}

/// The number of waiters of each party.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    max: usize,
    good: Shares,
    unknown: Shares,
}

#[derive(Debug, Default)]
struct Shares {
    waiting: usize,
    parties: BTreeMap<Party, usize>,
}

impl WaitingRoom {
    pub(super) fn new(max: usize) -> WaitingRoom {
        WaitingRoom { max, good: Shares::default(), unknown: Shares::default() }
    }

    pub(super) fn waiting(&self) -> usize {
        self.good.waiting + self.unknown.waiting
    }

    /// Counts a waiter, if there is a place for it.
    pub(super) fn enter(&mut self, history: TokenHistory, party: &Party) -> RoomEntry {
        let is_full = self.waiting() >= self.max
            || (history == TokenHistory::Unknown && self.unknown.waiting >= self.max.div_ceil(2));
        let shares = self.shares(history);
        let displaced = match is_full {
            false => None,
            true => match shares.over_share(party) {
                Some(longest) => Some(longest),
                None => return RoomEntry::Full,
            },
        };
        shares.waiting += 1;
        *shares.parties.entry(party.clone()).or_default() += 1;
        displaced.map_or(RoomEntry::Granted, RoomEntry::InsteadOf)
    }

    /// Releases a waiter that was counted.
    pub(super) fn leave(&mut self, history: TokenHistory, party: &Party) {
        let shares = self.shares(history);
        let Some(count) = shares.parties.get_mut(party) else { return };
        *count -= 1;
        if *count == 0 {
            shares.parties.remove(party);
        }
        shares.waiting -= 1;
    }

    fn shares(&mut self, history: TokenHistory) -> &mut Shares {
        match history {
            TokenHistory::Good => &mut self.good,
            TokenHistory::Unknown => &mut self.unknown,
        }
    }
}

impl Shares {
    /// The party with the most waiters, if `party` would still have fewer after one more.
    fn over_share(&self, party: &Party) -> Option<Party> {
        let own = self.parties.get(party).copied().unwrap_or_default();
        let (longest, count) = self.parties.iter().max_by_key(|(_, count)| **count)?;
        (*count > own + 1).then(|| longest.clone())
    }
}

/// The calls that wait for a caller, and the callers at work.
#[derive(Debug)]
pub(super) struct CallQueue {
    callers: usize,
    good: Calls,
    unknown: Calls,
    /// The kind that is served next, if it may be.
    next: TokenHistory,
}

#[derive(Debug, Default)]
struct Calls {
    queue: FairQueue<Party, TokenHash>,
    under_way: usize,
}

impl CallQueue {
    pub(super) fn new(callers: usize) -> CallQueue {
        let (good, unknown) = (Calls::default(), Calls::default());
        CallQueue { callers, good, unknown, next: TokenHistory::Good }
    }

    pub(super) fn push(&mut self, history: TokenHistory, party: Party, token: TokenHash) {
        self.calls(history).queue.push(party, token);
    }

    pub(super) fn remove(&mut self, history: TokenHistory, party: &Party, token: &TokenHash) {
        self.calls(history).queue.remove(party, |queued| queued == token);
    }

    /// Takes the token to ask about now; `None` if no caller may take one.
    pub(super) fn start(&mut self) -> Option<(TokenHistory, TokenHash)> {
        let free = self.callers.saturating_sub(self.good.under_way + self.unknown.under_way);
        let unknown_free = self.callers.saturating_sub(self.unknown.under_way + 1);
        let good = free > 0 && !self.good.queue.is_empty();
        let unknown = free.min(unknown_free) > 0 && !self.unknown.queue.is_empty();
        let history = match (good, unknown) {
            (true, true) => self.next,
            (true, false) => TokenHistory::Good,
            (false, true) => TokenHistory::Unknown,
            (false, false) => return None,
        };
        self.next = match history {
            TokenHistory::Good => TokenHistory::Unknown,
            TokenHistory::Unknown => TokenHistory::Good,
        };
        let calls = self.calls(history);
        let token = calls.queue.pop()?;
        calls.under_way += 1;
        Some((history, token))
    }

    /// Notes that a call has ended.
    pub(super) fn end(&mut self, history: TokenHistory) {
        let calls = self.calls(history);
        calls.under_way = calls.under_way.saturating_sub(1);
    }

    fn calls(&mut self, history: TokenHistory) -> &mut Calls {
        match history {
            TokenHistory::Good => &mut self.good,
            TokenHistory::Unknown => &mut self.unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenHistory::{Good, Unknown};

    fn party(last: u8) -> Party {
        Party::of([192, 0, 2, last].into())
    }

    #[test]
    fn half_of_the_room_is_kept_for_tokens_that_were_good() {
        let mut room = WaitingRoom::new(8);
        assert!((0..4).all(|_| room.enter(Unknown, &party(1)) == RoomEntry::Granted));
        assert_eq!(room.enter(Unknown, &party(1)), RoomEntry::Full);
        assert!((0..4).all(|_| room.enter(Good, &party(1)) == RoomEntry::Granted));
        assert_eq!(room.enter(Good, &party(1)), RoomEntry::Full);
        room.leave(Unknown, &party(1));
        assert_eq!(room.enter(Good, &party(1)), RoomEntry::Granted, "free places serve both");
        assert_eq!(room.waiting(), 8);
    }

    #[test]
    fn waiter_of_an_address_with_most_makes_room_for_one_with_fewer() {
        let mut room = WaitingRoom::new(8);
        assert!((0..3).all(|_| room.enter(Unknown, &party(1)) == RoomEntry::Granted));
        assert_eq!(room.enter(Unknown, &party(2)), RoomEntry::Granted);
        assert_eq!(room.enter(Unknown, &party(2)), RoomEntry::InsteadOf(party(1)));
        room.leave(Unknown, &party(1));
        assert_eq!(room.enter(Unknown, &party(2)), RoomEntry::Full, "both have two");
        assert_eq!(room.enter(Unknown, &party(3)), RoomEntry::InsteadOf(party(2)));
    }

    #[test]
    fn one_caller_is_kept_for_tokens_that_were_good() {
        let mut calls = CallQueue::new(4);
        let token = |n: u8| TokenHash::of(&n.to_string(), &[0; 16]);
        (0..10).for_each(|n| calls.push(Unknown, party(1), token(n)));
        calls.push(Unknown, party(2), token(100));
        let mut started = || calls.start().map(|(_, token)| token);
        assert_eq!([started(), started(), started()], [0, 100, 1].map(|n| Some(token(n))), "in turn");
        assert_eq!(started(), None);
        calls.push(Good, party(3), token(200));
        calls.push(Good, party(3), token(201));
        assert_eq!((calls.start(), calls.start()), (Some((Good, token(200))), None));
        calls.end(Unknown);
        assert_eq!(calls.start(), Some((Unknown, token(2))), "the kinds take turns");
        calls.end(Unknown);
        assert_eq!((calls.start(), calls.start()), (Some((Good, token(201))), None));
    }
}
