//! Appends and history pages of clients: a few at the store at once, the others in turn by party.
//!
//! The store's queues serve jobs in their order of arrival, so a user with thousands of jobs would delay everybody behind
//! them. So an engine hands out only as many as keep the store busy. The others wait here, and each user, or each address
//! of anonymous clients, has its turn. Once all places are taken, the party with the most of them loses its newest.
//!
//! The store commits all that it holds at once, and the next job waits for that commit. So the number at the store depends on the
//! parties whose jobs wait: each adds a share that is committed quickly. A party that is alone delays no other, and has it all.
//!
//! While few jobs are outstanding, none waits and nothing is counted by party.

use super::Engine;
use super::order::Job;
use super::peer::Peer;
use super::pending::{Request, Unanswered};
use super::slots::SlotId;
use crate::auth::fair_queue::FairQueue;
use crate::auth::party::Party;
use crate::clock::Moment;
use crate::job::Ticket;
use crate::limits::{
    APPENDS_AT_ONCE, APPENDS_AT_ONCE_MIN, APPENDS_PER_PARTY, APPENDS_PER_PARTY_MIN, OUTSTANDING_MAX,
    PAGES_AT_ONCE, PAGES_AT_ONCE_MIN, WAITING_MAX,
};
use crate::metrics::vitals::Crowd;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// Peers that are looked at, at most, to see whether more than one party is connected. With more, there may be another among the
/// rest: a single user has fewer, unless `limits.connections_per_user` was raised.
const LOOKED_AT_MAX: usize = 256;

/// How long room is shared after the last sight of a second party.
const SHARED_FOR: Duration = Duration::from_secs(10);

/// The room at the store for the jobs of the parties that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StoreRoom {
    /// All of it: no other party was connected for a while.
    #[default]
    Whole,
    /// A share for each of the parties.
    Shared,
}

impl StoreRoom {
    /// The number of jobs that may be at the store at once, `all` at most.
    pub(super) fn places(self, all: usize, share: usize, parties: usize) -> usize {
        match self {
            StoreRoom::Whole => all,
            StoreRoom::Shared => (share * parties.max(1)).min(all),
        }
    }
}

/// A kind of job whose number at the store is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreLine {
    Appends,
    Pages,
}

/// Jobs that wait for their turn. A job whose client was answered at its deadline is dropped when its turn comes.
#[derive(Debug, Default)]
pub(super) struct Turns {
    appends: FairQueue<Party, (Ticket, Job)>,
    pages: FairQueue<Party, (Ticket, Job)>,
    pub(super) room: StoreRoom,
    /// Room is shared until then: a party that comes back now and then finds short commits.
    shared_until: Moment,
}

impl Turns {
    fn line(&mut self, line: StoreLine) -> &mut FairQueue<Party, (Ticket, Job)> {
        match line {
            StoreLine::Appends => &mut self.appends,
            StoreLine::Pages => &mut self.pages,
        }
    }

    /// Appends and pages that wait.
    pub(super) fn len(&self) -> usize {
        self.appends.len() + self.pages.len()
    }

    /// Takes the newest job of the party with the most, if `party` would still have fewer.
    fn displace_for(&mut self, party: &Party, line: StoreLine) -> Option<Ticket> {
        let line = match line {
            line if self.line(line).len() >= WAITING_MAX => line,
            _ if self.appends.len() >= self.pages.len() => StoreLine::Appends,
            _ => StoreLine::Pages,
        };
        self.line(line).displace_for(party).map(|(ticket, _)| ticket)
    }
}

impl Engine {
    /// Has the store asked for a client, now or in the turn of the client's party.
    pub(super) fn ask_in_turn(
        &mut self,
        slot: SlotId,
        line: StoreLine,
        request: Request,
        asked: Moment,
        job: impl FnOnce(Ticket) -> Job,
    ) {
        if self.turns.line(line).is_empty() && self.has_place(line) {
            return self.ask(request, asked, job);
        }
        let Some(party) = self.peers.get(slot).map(Peer::party) else {
            return self.ask(request, asked, job);
        };
        while self.turns.line(line).len() >= WAITING_MAX || self.pending.len() >= OUTSTANDING_MAX {
            match self.turns.displace_for(&party, line) {
                Some(displaced) => self.refuse(displaced),
                None => return self.answer_without_worker(request, Unanswered::Refused),
            }
        }
        match self.pending.insert_waiting(request, asked) {
            Ok(ticket) => self.turns.line(line).push(party, (ticket, job(ticket))),
            Err(request) => self.answer_without_worker(request, Unanswered::Refused),
        }
    }

    /// Hands out the waiting jobs that there are places for.
    pub(super) fn take_turns(&mut self) {
        for line in [StoreLine::Appends, StoreLine::Pages] {
            while self.has_place(line)
                && let Some((ticket, job)) = self.turns.line(line).pop()
            {
                if self.pending.hand_out(ticket) {
                    self.hand_out(job);
                }
            }
        }
    }

    fn has_place(&self, line: StoreLine) -> bool {
        let reactors = self.setup.reactors.max(1);
        match line {
            StoreLine::Appends => {
                let all = (APPENDS_AT_ONCE / reactors).max(APPENDS_AT_ONCE_MIN);
                let share = (all * APPENDS_PER_PARTY / APPENDS_AT_ONCE).max(APPENDS_PER_PARTY_MIN);
                self.pending.appends() < self.turns.room.places(all, share, self.turns.appends.parties())
            }
            StoreLine::Pages => {
                self.pending.pages() < (PAGES_AT_ONCE / reactors).max(PAGES_AT_ONCE_MIN)
                    && self.out.read_room > 0
            }
        }
    }

    /// Looks for the parties with sessions, here and at the other reactors, and returns the former. Call about once a second.
    pub fn look_around(&mut self) -> Crowd {
        let (crowd, now) = (self.crowd(), self.now.at);
        self.advance_session_time();
        self.rounds.rosters.addresses.forget_rested(now);
        if self.setup.vitals.crowd().and(crowd) == Crowd::Several {
            self.turns.shared_until = now + SHARED_FOR;
        }
        self.turns.room = if now < self.turns.shared_until { StoreRoom::Shared } else { StoreRoom::Whole };
        crowd
    }

    /// The parties with sessions here.
    fn crowd(&self) -> Crowd {
        let chats = self.peers.iter().map(|(_, peer)| peer).filter(|peer| peer.chat().is_some());
        let mut crowd = Crowd::Empty;
        for (looked_at, peer) in chats.enumerate() {
            crowd = match looked_at {
                LOOKED_AT_MAX => Crowd::Several,
                _ => crowd.and(Crowd::One(number_of(&peer.party()))),
            };
            if crowd == Crowd::Several {
                break;
            }
        }
        crowd
    }
}

fn number_of(party: &Party) -> u64 {
    let mut hasher = DefaultHasher::new();
    party.hash(&mut hasher);
    hasher.finish().max(2)
}
