//! Requests that wait for a worker, each with a deadline.
//!
//! A command is answered in time whatever a worker does. All requests have the same timeout, so they expire in the order in
//! which they were made. A worker's answer that comes after the deadline finds no request and is dropped.

use super::slots::SlotId;
use crate::clock::Moment;
use crate::hub::{ChannelId, SubscriptionId};
use crate::id::{ChannelName, CommandId, Key, ReactorId, UserName};
use crate::job::Ticket;
use crate::limits::{ARRIVALS_OUTSTANDING_MAX, OUTSTANDING_MAX, REPLY_TIMEOUT};
use crate::wire::stream::StreamId;
use slab::Slab;
use std::collections::VecDeque;

/// A request to a worker, and what waits for the answer: a client's command, subscribers, or a channel of the hub.
#[derive(Debug)]
pub enum Request {
    Append {
        slot: SlotId,
        id: CommandId,
        channel: ChannelName,
        user: UserName,
        key: Option<Key>,
        /// The moment at which the command was read.
        asked: Moment,
    },
    /// A page of history.
    History {
        slot: SlotId,
        id: CommandId,
        channel: ChannelName,
        /// The moment at which the command was read.
        asked: Moment,
    },
    Token {
        slot: SlotId,
        id: CommandId,
        /// The moment at which it was read.
        asked: Moment,
    },
    /// A page of a roster.
    Presence {
        slot: SlotId,
        id: CommandId,
        /// The moment at which the command was read.
        asked: Moment,
    },
    /// Errors of the client's application.
    Report {
        slot: SlotId,
        id: CommandId,
        /// The moment at which the command was read.
        asked: Moment,
    },
    /// A repeated check of the token of an open session.
    Recheck {
        slot: SlotId,
    },
    Address {
        slot: SlotId,
    },
    /// A page of a replay.
    Replay {
        subscribers: Vec<Subscriber>,
    },
    /// The position of a channel's log.
    Position(ChannelId),
    /// Older publications for a channel's tail.
    Older(ChannelId),
    /// The publications that a channel missed.
    Fill(ChannelId),
    /// The open streams of a channel.
    Streams(ChannelId),
    /// A command about a stream.
    Stream {
        slot: SlotId,
        id: CommandId,
        stream: StreamId,
        /// The moment at which the command was read.
        asked: Moment,
    },
    /// An open stream, for a client.
    StreamRead {
        slot: SlotId,
        id: CommandId,
        stream: StreamId,
        /// The moment at which the command was read.
        asked: Moment,
    },
    /// The bus's subscription to a channel.
    Follow(ChannelId),
    /// The positions of many logs.
    Heads,
}

impl Request {
    /// The peer and the command that asked for it, if one did.
    fn command(&self) -> Option<(SlotId, CommandId)> {
        match self {
            Request::Append { slot, id, .. }
            | Request::History { slot, id, .. }
            | Request::Token { slot, id, .. }
            | Request::Presence { slot, id, .. }
            | Request::Report { slot, id, .. }
            | Request::Stream { slot, id, .. }
            | Request::StreamRead { slot, id, .. } => Some((*slot, *id)),
            Request::Recheck { .. }
            | Request::Address { .. }
            | Request::Replay { .. }
            | Request::Position(_)
            | Request::Older(_)
            | Request::Fill(_)
            | Request::Streams(_)
            | Request::Follow(_)
            | Request::Heads => None,
        }
    }

    /// True exactly for what a client needs before it is connected.
    fn is_arrival(&self) -> bool {
        matches!(self, Request::Token { .. } | Request::Address { .. })
    }

    /// True exactly for the reads that recovering clients need; at most `limits::RECOVERIES_AT_ONCE` are made at once.
    pub fn is_recovery(&self) -> bool {
        match self {
            Request::Replay { .. } | Request::Position(_) | Request::Older(_) | Request::Streams(_) => true,
            Request::Append { .. }
            | Request::History { .. }
            | Request::Token { .. }
            | Request::Presence { .. }
            | Request::Report { .. }
            | Request::Stream { .. }
            | Request::StreamRead { .. }
            | Request::Recheck { .. }
            | Request::Address { .. }
            | Request::Fill(_)
            | Request::Follow(_)
            | Request::Heads => false,
        }
    }
}

/// The reason why a request is answered without its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Its deadline passed.
    Late,
    /// The worker's queue was full, or too many requests were outstanding.
    Refused,
}

/// A peer, for one of its subscriptions.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    pub slot: SlotId,
    pub subscription: SubscriptionId,
}

/// The place of a request's job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JobPlace {
    /// With a worker, or in its queue.
    ByWorker,
    /// In this reactor, until its turn.
    Here,
}

#[derive(Debug)]
struct PendingEntry {
    serial: u32,
    place: JobPlace,
    request: Request,
}

/// The requests of some kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    appends: usize,
    pages: usize,
    recoveries: usize,
    arrivals: usize,
}

impl Counts {
    /// The count of a request's kind.
    fn of(&mut self, request: &Request) -> Option<&mut usize> {
        match request {
            Request::Append { .. } => Some(&mut self.appends),
            Request::History { .. } | Request::StreamRead { .. } => Some(&mut self.pages),
            Request::Replay { .. } | Request::Position(_) | Request::Older(_) | Request::Streams(_) => {
                Some(&mut self.recoveries)
            }
            Request::Token { .. } | Request::Address { .. } => Some(&mut self.arrivals),
            Request::Presence { .. }
            | Request::Report { .. }
            | Request::Stream { .. }
            | Request::Recheck { .. }
            | Request::Fill(_)
            | Request::Follow(_)
            | Request::Heads => None,
        }
    }

    fn add(&mut self, request: &Request) {
        if let Some(count) = self.of(request) {
            *count += 1;
        }
    }

    fn remove(&mut self, request: &Request) {
        if let Some(count) = self.of(request) {
            *count -= 1;
        }
    }
}

/// The requests of one reactor that wait for an answer.
#[derive(Debug)]
pub struct Pending {
    reactor: ReactorId,
    entries: Slab<PendingEntry>,
    serial: u32,
    deadlines: VecDeque<(Moment, u64)>,
    /// Requests whose jobs the workers hold.
    by_workers: Counts,
}

impl Pending {
    pub fn new(reactor: ReactorId) -> Pending {
        let (entries, deadlines) = (Slab::new(), VecDeque::new());
        Pending { reactor, entries, serial: 0, deadlines, by_workers: Counts::default() }
    }

    /// Reserves a place for the answer; gives the request back if `limits::OUTSTANDING_MAX` wait already.
    ///
    /// The deadline runs from `asked`, which is nearly always now. The request of a command that was held for a while is
    /// inserted a few entries before the end.
    pub fn insert(&mut self, request: Request, asked: Moment) -> Result<Ticket, Request> {
        if request.is_arrival() && self.by_workers.arrivals >= ARRIVALS_OUTSTANDING_MAX {
            return Err(request);
        }
        self.insert_at(JobPlace::ByWorker, request, asked)
    }

    /// The same for a request whose job waits here until it is handed out ([`Pending::hand_out`]).
    pub fn insert_waiting(&mut self, request: Request, asked: Moment) -> Result<Ticket, Request> {
        self.insert_at(JobPlace::Here, request, asked)
    }

    fn insert_at(&mut self, place: JobPlace, request: Request, asked: Moment) -> Result<Ticket, Request> {
        if self.entries.len() >= OUTSTANDING_MAX {
            return Err(request);
        }
        if place == JobPlace::ByWorker {
            self.by_workers.add(&request);
        }
        self.serial = self.serial.wrapping_add(1);
        let index = self.entries.insert(PendingEntry { serial: self.serial, place, request });
        let name = u64::from(self.serial) << 32 | index as u64;
        let deadline = asked + REPLY_TIMEOUT;
        let later = self.deadlines.iter().rev().take_while(|(other, _)| *other > deadline).count();
        self.deadlines.insert(self.deadlines.len() - later, (deadline, name));
        Ok(Ticket { reactor: self.reactor, request: name })
    }

    /// Takes the request of a ticket, unless it was answered already.
    pub fn take(&mut self, ticket: Ticket) -> Option<Request> {
        self.take_named(ticket.request)
    }

    fn take_named(&mut self, name: u64) -> Option<Request> {
        let PendingEntry { place, request, .. } = self.entries.remove(self.index(name)?);
        if place == JobPlace::ByWorker {
            self.by_workers.remove(&request);
        }
        Some(request)
    }

    /// Notes that the job of a waiting request goes to its worker; false if the request was answered already.
    pub fn hand_out(&mut self, ticket: Ticket) -> bool {
        let Some(entry) = self.index(ticket.request).and_then(|index| self.entries.get_mut(index)) else {
            return false;
        };
        entry.place = JobPlace::ByWorker;
        self.by_workers.add(&entry.request);
        true
    }

    /// The place of a request, unless it was answered.
    fn index(&self, name: u64) -> Option<usize> {
        let (index, serial) = ((name & u64::from(u32::MAX)) as usize, (name >> 32) as u32);
        self.entries.get(index).is_some_and(|entry| entry.serial == serial).then_some(index)
    }

    /// Takes a request whose deadline passed.
    pub fn pop_late(&mut self, now: Moment) -> Option<Request> {
        while let Some((deadline, name)) = self.deadlines.front().copied() {
            let answered = self.index(name).is_none();
            if !answered && deadline > now {
                return None;
            }
            self.deadlines.pop_front();
            if !answered {
                return self.take_named(name);
            }
        }
        None
    }

    /// The earliest deadline that may still count.
    pub fn deadline(&self) -> Option<Moment> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// The peer and the command that wait for a ticket.
    pub fn asker(&self, ticket: Ticket) -> Option<(SlotId, CommandId)> {
        self.entries.get(self.index(ticket.request)?)?.request.command()
    }

    /// The commands of a peer that wait.
    pub fn commands_of(&self, slot: SlotId) -> usize {
        let commands = self.entries.iter().filter_map(|(_, entry)| entry.request.command());
        commands.filter(|(of, _)| *of == slot).count()
    }

    /// Panics if the counts differ from the entries.
    pub fn check_invariants(&self) {
        let mut by_workers = Counts::default();
        let entries = self.entries.iter().map(|(_, entry)| entry);
        entries
            .filter(|entry| entry.place == JobPlace::ByWorker)
            .for_each(|entry| by_workers.add(&entry.request));
        assert_eq!(by_workers, self.by_workers, "requests of each kind");
        assert!(self.entries.len() <= self.deadlines.len(), "a request without a deadline");
        assert!(self.deadlines.iter().is_sorted_by_key(|(deadline, _)| *deadline), "deadlines out of order");
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Appends that the store holds.
    pub fn appends(&self) -> usize {
        self.by_workers.appends
    }

    /// History pages that the store holds.
    pub fn pages(&self) -> usize {
        self.by_workers.pages
    }

    /// Recovery reads that the store holds.
    pub fn recoveries(&self) -> usize {
        self.by_workers.recoveries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn held_request_expires_by_the_time_of_its_command() {
        let mut pending = Pending::new(ReactorId(0));
        let at = |seconds| Moment::ZERO + Duration::from_secs(seconds);
        for seconds in [10, 20] {
            pending.insert(Request::Heads, at(seconds)).expect("room");
        }
        let held = pending.insert(Request::Position(channel()), at(15)).expect("room");
        assert!(matches!(pending.pop_late(at(15) + REPLY_TIMEOUT), Some(Request::Heads)));
        assert!(matches!(pending.pop_late(at(15) + REPLY_TIMEOUT), Some(Request::Position(_))));
        assert!(pending.pop_late(at(15) + REPLY_TIMEOUT).is_none());
        assert!(pending.take(held).is_none());
    }

    fn channel() -> ChannelId {
        let mut hub = crate::hub::Hub::new(1, 0, ahash::RandomState::with_seeds(1, 2, 3, 4));
        let name = ChannelName::parse("c").expect("valid");
        let _ = hub.open(&name, crate::hub::Slot(0), crate::wire::command::StartAt::Now);
        match hub.take_needs().pop() {
            Some(crate::hub::Need::Position(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn request_is_answered_once_by_its_worker_or_at_its_deadline() {
        let mut pending = Pending::new(ReactorId(3));
        let start = Moment::from_micros(1);
        let answered = pending.insert(Request::Heads, start).expect("room");
        let late = pending.insert(Request::Heads, start + Duration::from_secs(1)).expect("room");
        assert_eq!(answered.reactor, ReactorId(3));
        assert!(pending.take(answered).is_some());
        assert!(pending.take(answered).is_none());
        assert!(pending.pop_late(start + REPLY_TIMEOUT).is_none());
        assert!(pending.pop_late(start + Duration::from_secs(1) + REPLY_TIMEOUT).is_some());
        assert!(pending.take(late).is_none(), "too late");
        assert_eq!(pending.len(), 0);
        let reused = pending.insert(Request::Heads, start).expect("room");
        assert!(pending.take(late).is_none(), "a ticket does not name the request that took its place");
        assert!(pending.take(reused).is_some());
    }
}
