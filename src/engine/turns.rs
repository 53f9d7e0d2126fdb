//! Appends and history pages of clients: a few at the store at once, the others in turn by party.
//!
//! The store's queues serve jobs in their order of arrival, so a user with thousands of jobs would delay everybody behind
//! them. So an engine hands out only as many as keep the store busy. The others wait here, and each user, or each address
//! of anonymous clients, has its turn. Once all places are taken, the party with the most of them loses its newest.
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
    APPENDS_AT_ONCE, APPENDS_AT_ONCE_MIN, OUTSTANDING_MAX, PAGES_AT_ONCE, PAGES_AT_ONCE_MIN, WAITING_MAX,
};

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
                self.pending.appends() < (APPENDS_AT_ONCE / reactors).max(APPENDS_AT_ONCE_MIN)
            }
            StoreLine::Pages => {
                self.pending.pages() < (PAGES_AT_ONCE / reactors).max(PAGES_AT_ONCE_MIN)
                    && self.out.read_room > 0
            }
        }
    }
}
