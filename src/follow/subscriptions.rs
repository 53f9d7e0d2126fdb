//! The channels that this process follows on the bus, and the commands to send to Redis for them. Pure: no socket, no clock.
//!
//! Redis answers in the order of the commands. A channel may be left and followed again before the first answer, so the last
//! outstanding answer is the one that counts.

use crate::id::ChannelName;
use std::collections::{HashMap, VecDeque};

/// Names per command.
const COMMAND_NAMES_MAX: usize = 512;
/// Answers that may be outstanding: Redis closes a connection whose answers fill its output buffer (8 MiB by default).
const OUTSTANDING_MAX: usize = 2_048;

/// A command to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusCommand {
    Subscribe(Vec<ChannelName>),
    Unsubscribe(Vec<ChannelName>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Subscribe,
    Unsubscribe,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Server {
    #[default]
    Away,
    Hears,
}

#[derive(Debug)]
struct Followed<T> {
    /// The number of reactors that follow it.
    reactors: u16,
    /// Unanswered `SUBSCRIBE`s.
    outstanding: u32,
    /// Tickets that wait for the last of them.
    waiting: Vec<T>,
    /// A follower did not wait.
    unwaited: bool,
}

#[derive(Debug)]
pub struct Follows<T> {
    server: Server,
    channels: HashMap<ChannelName, Followed<T>, ahash::RandomState>,
    /// Commands not yet sent, in order.
    wishes: VecDeque<(Direction, ChannelName)>,
    /// Subscriptions sent and not answered.
    outstanding: usize,
    /// Unconfirmed subscriptions among those wanted when the connection came up. Redis answers in order.
    resumed: usize,
    /// Channels that the server no longer serves, or did not accept: its slots moved. Asked for again by [`Follows::retry`].
    refused: Vec<ChannelName>,
}

/// The followers of a confirmed subscription.
#[derive(Debug, PartialEq, Eq)]
pub struct Confirmed<T> {
    /// Tickets that waited for it.
    pub waiting: Vec<T>,
    /// A follower did not wait: its log was read before the subscription was confirmed.
    pub unwaited: bool,
}

/// The reason why a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedSubscription {
    /// It was asked for.
    Asked,
    /// The server no longer serves the channel.
    Unasked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowState {
    /// It is confirmed.
    Subscribed,
    /// It is requested; the ticket waits.
    Asked,
}

impl<T> Default for Followed<T> {
    fn default() -> Followed<T> {
        Followed { reactors: 0, outstanding: 0, waiting: Vec::new(), unwaited: false }
    }
}

impl<T> Default for Follows<T> {
    fn default() -> Follows<T> {
        Follows {
            server: Server::default(),
            channels: HashMap::default(),
            wishes: VecDeque::new(),
            outstanding: 0,
            resumed: 0,
            refused: Vec::new(),
        }
    }
}

impl<T> Default for Confirmed<T> {
    fn default() -> Confirmed<T> {
        Confirmed { waiting: Vec::new(), unwaited: false }
    }
}

impl<T> Follows<T> {
    /// A reactor follows a channel and waits for the subscription.
    pub fn follow(&mut self, channel: ChannelName, ticket: T) -> FollowState {
        let followed = self.register(channel);
        if followed.outstanding == 0 {
            return FollowState::Subscribed;
        }
        followed.waiting.push(ticket);
        FollowState::Asked
    }

    /// A reactor follows a channel and does not wait. Without a connection, the next one subscribes to it.
    pub fn want(&mut self, channel: ChannelName) {
        self.register(channel).unwaited = true;
    }

    fn register(&mut self, channel: ChannelName) -> &mut Followed<T> {
        let followed = self.channels.entry(channel.clone()).or_default();
        followed.reactors += 1;
        if followed.reactors == 1 && self.server == Server::Hears {
            followed.outstanding += 1;
            self.wishes.push_back((Direction::Subscribe, channel));
        }
        followed
    }

    /// A reactor no longer follows the channel.
    pub fn leave(&mut self, channel: ChannelName) {
        let Some(followed) = self.channels.get_mut(&channel) else { return };
        followed.reactors = followed.reactors.saturating_sub(1);
        if followed.reactors > 0 {
            return;
        }
        // All who waited have left.
        followed.waiting.clear();
        if followed.outstanding == 0 {
            self.channels.remove(&channel);
        }
        if self.server == Server::Hears {
            self.wishes.push_back((Direction::Unsubscribe, channel));
        }
    }

    /// A connection is up: subscribes to all channels.
    pub fn connected(&mut self) {
        self.lost();
        self.server = Server::Hears;
        let names: Vec<ChannelName> = self.channels.keys().cloned().collect();
        for name in names {
            if let Some(followed) = self.channels.get_mut(&name) {
                followed.outstanding = 1;
                self.wishes.push_back((Direction::Subscribe, name));
            }
        }
        self.resumed = self.wishes.len();
    }

    /// The connection is lost. Returns the waiting tickets, which continue without a subscription.
    pub fn lost(&mut self) -> Vec<T> {
        self.server = Server::Away;
        self.wishes.clear();
        self.outstanding = 0;
        self.resumed = 0;
        self.refused.clear();
        let mut waiting = Vec::new();
        self.channels.retain(|_, followed| {
            followed.outstanding = 0;
            waiting.append(&mut followed.waiting);
            followed.reactors > 0
        });
        waiting
    }

    /// The next command to send; `None` if there is none or too much is outstanding.
    pub fn next_command(&mut self) -> Option<BusCommand> {
        let room = OUTSTANDING_MAX.saturating_sub(self.outstanding).min(COMMAND_NAMES_MAX);
        let kind = self.wishes.front()?.0;
        let most = if kind == Direction::Subscribe { room } else { COMMAND_NAMES_MAX };
        let count = self.wishes.iter().take(most).take_while(|(wish, _)| *wish == kind).count();
        if count == 0 {
            return None;
        }
        let names = self.wishes.drain(..count).map(|(_, name)| name).collect();
        Some(match kind {
            Direction::Subscribe => {
                self.outstanding += count;
                BusCommand::Subscribe(names)
            }
            Direction::Unsubscribe => BusCommand::Unsubscribe(names),
        })
    }

    /// Redis confirmed the subscription to a channel.
    pub fn subscribed(&mut self, channel: &ChannelName) -> Confirmed<T> {
        let Some(followed) = self.channels.get_mut(channel) else { return Confirmed::default() };
        // An answer after a refusal is counted with the refusal.
        if followed.outstanding > 0 {
            followed.outstanding -= 1;
            self.outstanding = self.outstanding.saturating_sub(1);
            self.resumed = self.resumed.saturating_sub(1);
        }
        if followed.outstanding > 0 {
            return Confirmed::default();
        }
        let waiting = std::mem::take(&mut followed.waiting);
        let unwaited = std::mem::take(&mut followed.unwaited);
        if followed.reactors == 0 {
            self.channels.remove(channel);
        }
        Confirmed { waiting, unwaited }
    }

    /// Returns the waiting tickets, which continue without a subscription.
    pub fn release(&mut self) -> Vec<T> {
        let mut waiting = Vec::new();
        for followed in self.channels.values_mut().filter(|followed| !followed.waiting.is_empty()) {
            followed.unwaited = true;
            waiting.append(&mut followed.waiting);
        }
        waiting
    }

    /// The server ended a subscription. If nothing asked for it, the slots moved: the channel is refused.
    pub fn unsubscribed(&mut self, channel: &ChannelName) -> EndedSubscription {
        match self.channels.get_mut(channel) {
            Some(followed) if followed.outstanding == 0 && followed.reactors > 0 => {
                followed.unwaited = true;
                self.refused.push(channel.clone());
                EndedSubscription::Unasked
            }
            Some(_) | None => EndedSubscription::Asked,
        }
    }

    /// The server does not serve these channels: their unanswered subscriptions are refused. Returns the waiting tickets, which
    /// continue without a subscription.
    pub fn refuse(&mut self, is_refused: impl Fn(&ChannelName) -> bool) -> Vec<T> {
        let (mut waiting, mut answered, mut unsent) = (Vec::new(), 0, 0);
        let Follows { channels, wishes, refused, .. } = self;
        wishes.retain(|(wish, name)| {
            let ends = *wish == Direction::Subscribe && is_refused(name);
            unsent += usize::from(ends);
            !ends
        });
        channels.retain(|name, followed| {
            if followed.outstanding == 0 || !is_refused(name) {
                return true;
            }
            answered += std::mem::take(&mut followed.outstanding) as usize;
            followed.unwaited = true;
            waiting.append(&mut followed.waiting);
            if followed.reactors > 0 {
                refused.push(name.clone());
            }
            followed.reactors > 0
        });
        self.outstanding = self.outstanding.saturating_sub(answered.saturating_sub(unsent));
        self.resumed = self.resumed.saturating_sub(answered);
        waiting
    }

    /// Asks again for the refused channels that are still followed. Returns their number.
    pub fn retry(&mut self) -> usize {
        let mut count = 0;
        for name in std::mem::take(&mut self.refused) {
            if let Some(followed) = self.channels.get_mut(&name)
                && followed.outstanding == 0
                && followed.reactors > 0
            {
                (followed.outstanding, count) = (1, count + 1);
                self.wishes.push_back((Direction::Subscribe, name));
            }
        }
        count
    }

    /// True if channels are refused and not asked for again.
    pub fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Another link follows these channels from now on. Returns the waiting tickets.
    pub fn forget(&mut self, is_forgotten: impl Fn(&ChannelName) -> bool) -> Vec<T> {
        let mut waiting = self.refuse(&is_forgotten);
        let Follows { channels, wishes, .. } = self;
        let is_heard = self.server == Server::Hears;
        channels.retain(|name, followed| {
            let is_forgotten = is_forgotten(name);
            if is_forgotten {
                waiting.append(&mut followed.waiting);
                if is_heard {
                    wishes.push_back((Direction::Unsubscribe, name.clone()));
                }
            }
            !is_forgotten
        });
        waiting
    }

    /// This link follows a channel of another link from now on, for this number of reactors. None waits for the subscription.
    pub fn adopt(&mut self, channel: ChannelName, reactors: u16) {
        if reactors > 0 {
            let followed = self.register(channel);
            followed.unwaited = true;
            followed.reactors += reactors - 1;
        }
    }

    /// True if everything wanted when the connection came up is subscribed to.
    pub fn is_complete(&self) -> bool {
        self.resumed == 0
    }

    /// Subscriptions sent and not answered.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// All followed channels.
    pub fn names(&self) -> impl Iterator<Item = &ChannelName> {
        self.channels.iter().filter(|(_, followed)| followed.reactors > 0).map(|(name, _)| name)
    }

    /// The number of channels, including those being left.
    pub fn count(&self) -> usize {
        self.channels.len()
    }
}

#[cfg(test)]
mod tests;
