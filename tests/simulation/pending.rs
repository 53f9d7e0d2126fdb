//! What reactors ask of workers, and who waits for the answer until when.

use super::store::Origin;
use seawall::clock::Moment;
use seawall::hub::{ChannelId, SubscriptionId};
use seawall::id::{ChannelName, CommandId, Key};
use seawall::job::{Admit, Append, Read};
use seawall::limits::REPLY_TIMEOUT;
use std::collections::BTreeMap;

/// What waits for an answer. A connection is named by its serial.
#[derive(Debug)]
pub enum Request {
    Append { connection: u64, id: CommandId, channel: ChannelName, key: Option<Key> },
    History { connection: u64, id: CommandId, channel: ChannelName },
    Token { connection: u64, id: CommandId },
    Replay { connection: u64, subscription: SubscriptionId },
    Position(ChannelId),
    Older(ChannelId),
    Fill(ChannelId),
    Heads,
}

/// Work for somebody outside of the reactor.
#[derive(Debug)]
pub enum Job {
    Append(Append, Origin),
    Read(Read),
    Admit(Admit),
}

#[derive(Debug, Default)]
pub struct Pending {
    requests: BTreeMap<u64, (Moment, Request)>,
    next: u64,
}

impl Pending {
    pub fn insert(&mut self, request: Request, now: Moment) -> u64 {
        self.next += 1;
        self.requests.insert(self.next, (now + REPLY_TIMEOUT, request));
        self.next
    }

    pub fn take(&mut self, name: u64) -> Option<Request> {
        self.requests.remove(&name).map(|(_, request)| request)
    }

    pub fn pop_late(&mut self, now: Moment) -> Option<Request> {
        let (name, (deadline, _)) = self.requests.iter().min_by_key(|(_, (deadline, _))| *deadline)?;
        let late = (*deadline <= now).then_some(*name)?;
        self.take(late)
    }

    /// Commands of one connection that wait for a worker.
    pub fn commands_of(&self, serial: u64) -> usize {
        let own = |request: &Request| match request {
            Request::Append { connection, .. }
            | Request::History { connection, .. }
            | Request::Token { connection, .. } => *connection == serial,
            Request::Replay { .. }
            | Request::Position(_)
            | Request::Older(_)
            | Request::Fill(_)
            | Request::Heads => false,
        };
        self.requests.values().filter(|(_, request)| own(request)).count()
    }

    /// How many wait, the reactor's own round among them.
    pub fn all(&self) -> usize {
        self.requests.len()
    }

    /// How many wait; the reactor's own round over the heads is nobody's.
    pub fn len(&self) -> usize {
        self.requests.values().filter(|(_, request)| !matches!(request, Request::Heads)).count()
    }
}
