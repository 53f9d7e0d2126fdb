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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text).expect("valid")
    }

    /// Names who waits.
    type Ticket = usize;

    fn up() -> Follows<Ticket> {
        let mut follows = Follows::default();
        follows.connected();
        follows
    }

    #[test]
    fn first_follower_waits_for_the_answer_and_later_ones_do_not() {
        let mut follows = up();
        assert_eq!(follows.follow(name("a"), 1), FollowState::Asked);
        assert_eq!(follows.next_command(), Some(BusCommand::Subscribe(vec![name("a")])));
        assert_eq!(follows.subscribed(&name("a")).waiting, [1]);
        assert_eq!(follows.follow(name("a"), 2), FollowState::Subscribed);
        assert_eq!(follows.next_command(), None);
    }

    #[test]
    fn answer_to_an_earlier_command_is_not_taken_for_the_later_one() {
        let mut follows = up();
        follows.follow(name("a"), 1);
        follows.leave(name("a"));
        assert_eq!(follows.follow(name("a"), 2), FollowState::Asked);
        while follows.next_command().is_some() {}
        assert!(
            follows.subscribed(&name("a")).waiting.is_empty(),
            "SUBSCRIBE, and UNSUBSCRIBE is on its way"
        );
        assert_eq!(follows.subscribed(&name("a")).waiting, [2]);
    }

    #[test]
    fn lost_connection_frees_waiting_tickets_and_the_next_subscribes_to_all() {
        let mut follows = up();
        follows.follow(name("a"), 1);
        follows.follow(name("b"), 2);
        let mut freed = follows.lost();
        freed.sort_unstable();
        assert_eq!(freed, [1, 2]);
        follows.want(name("c"));
        follows.leave(name("b"));
        follows.connected();
        let Some(BusCommand::Subscribe(mut names)) = follows.next_command() else { panic!("a command") };
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        assert_eq!(names, [name("a"), name("c")]);
    }

    #[test]
    fn initial_channels_are_complete_although_more_are_followed_meanwhile() {
        let mut follows = Follows::default();
        follows.want(name("a"));
        follows.connected();
        follows.follow(name("b"), 1);
        assert!(!follows.is_complete());
        while follows.next_command().is_some() {}
        let confirmed = follows.subscribed(&name("a"));
        assert!(confirmed.unwaited && confirmed.waiting.is_empty());
        assert!(follows.is_complete());
        assert_eq!(follows.release(), [1]);
        assert!(follows.subscribed(&name("b")).unwaited, "a released follower may have missed something");
    }

    #[test]
    fn many_subscriptions_are_sent_in_pieces_as_answers_arrive() {
        let mut follows = Follows::<Ticket>::default();
        for number in 0..20_000 {
            follows.want(name(&format!("c{number}")));
        }
        follows.connected();
        let mut said = Vec::new();
        while let Some(BusCommand::Subscribe(names)) = follows.next_command() {
            assert!(names.len() <= COMMAND_NAMES_MAX);
            said.extend(names);
        }
        assert_eq!(said.len(), OUTSTANDING_MAX);
        follows.subscribed(&said[0]);
        assert!(matches!(follows.next_command(), Some(BusCommand::Subscribe(names)) if names.len() == 1));
    }

    /// A model of Redis: it takes commands in order, some time after they were sent.
    #[derive(Default)]
    struct Redis {
        said: VecDeque<(Direction, ChannelName)>,
        subscribed: BTreeSet<ChannelName>,
    }

    impl Redis {
        fn hear(&mut self, command: Option<BusCommand>) -> bool {
            let (wish, names) = match command {
                Some(BusCommand::Subscribe(names)) => (Direction::Subscribe, names),
                Some(BusCommand::Unsubscribe(names)) => (Direction::Unsubscribe, names),
                None => return false,
            };
            self.said.extend(names.into_iter().map(|name| (wish, name)));
            true
        }

        /// Executes the next command; returns the channel whose subscription it answers.
        fn act(&mut self) -> Option<Option<ChannelName>> {
            let (wish, name) = self.said.pop_front()?;
            Some(match wish {
                Direction::Subscribe => {
                    self.subscribed.insert(name.clone());
                    Some(name)
                }
                Direction::Unsubscribe => {
                    self.subscribed.remove(&name);
                    None
                }
            })
        }
    }

    #[test]
    fn channel_whose_slots_moved_is_refused_and_asked_for_again() {
        let mut follows = up();
        follows.follow(name("a"), 1);
        follows.follow(name("b"), 2);
        while follows.next_command().is_some() {}
        follows.subscribed(&name("b"));
        assert_eq!(follows.refuse(|channel| *channel == name("a")), [1], "MOVED in place of a confirmation");
        assert_eq!(follows.unsubscribed(&name("b")), EndedSubscription::Unasked);
        assert_eq!((follows.outstanding(), follows.has_refused()), (0, true));
        assert_eq!(follows.retry(), 2);
        assert_eq!(follows.next_command(), Some(BusCommand::Subscribe(vec![name("a"), name("b")])));
        assert!(follows.subscribed(&name("a")).unwaited, "something may have been missed meanwhile");
        follows.leave(name("b"));
        assert_eq!(follows.unsubscribed(&name("b")), EndedSubscription::Asked);
        follows.subscribed(&name("b"));
        assert_eq!((follows.outstanding(), follows.count(), follows.retry()), (0, 1, 0));
    }

    #[test]
    fn unsent_subscriptions_that_are_refused_are_not_counted_as_answered() {
        let mut follows = up();
        follows.follow(name("a"), 1);
        assert!(follows.next_command().is_some());
        follows.follow(name("b"), 2);
        assert_eq!(follows.refuse(|channel| *channel == name("b")), [2]);
        assert_eq!((follows.outstanding(), follows.next_command()), (1, None));
    }

    #[test]
    fn forgotten_channels_are_left_and_adopted_ones_followed() {
        let (mut from, mut to) = (up(), up());
        from.follow(name("a"), 1);
        from.follow(name("a"), 2);
        from.follow(name("b"), 3);
        while from.next_command().is_some() {}
        assert_eq!(from.forget(|channel| *channel == name("a")), [1, 2]);
        assert_eq!(from.next_command(), Some(BusCommand::Unsubscribe(vec![name("a")])));
        assert_eq!((from.count(), from.outstanding()), (1, 1));
        to.adopt(name("a"), 2);
        assert_eq!(to.next_command(), Some(BusCommand::Subscribe(vec![name("a")])));
        assert!(to.subscribed(&name("a")).unwaited);
        to.leave(name("a"));
        assert_eq!(to.next_command(), None, "the other reactor stays");
        to.leave(name("a"));
        assert_eq!(to.count(), 0);
    }

    proptest! {
        /// A confirmed follower is subscribed; in the end exactly the followed channels are.
        #[test]
        fn commands_lead_to_the_followed_channels(steps in prop::collection::vec((0_u8..6, 0_usize..3), 1..80)) {
            let (mut follows, mut server) = (Follows::default(), Redis::default());
            let names = [name("a"), name("b"), name("c")];
            let mut wanted = [0_u32; 3];
            let mut asked: Vec<usize> = Vec::new();
            follows.connected();
            let rest = std::iter::repeat_n((4, 0), 200).chain(std::iter::repeat_n((5, 0), 400));
            for (step, at) in steps.into_iter().chain(rest) {
                match step {
                    0 | 1 => {
                        wanted[at] += 1;
                        asked.push(at);
                        let standing = follows.follow(names[at].clone(), asked.len() - 1);
                        prop_assert!(standing == FollowState::Asked || server.subscribed.contains(&names[at]));
                    }
                    2 | 3 if wanted[at] > 0 => {
                        wanted[at] -= 1;
                        follows.leave(names[at].clone());
                    }
                    4 => { server.hear(follows.next_command()); }
                    _ => if let Some(Some(answer)) = server.act() {
                        for confirmed in follows.subscribed(&answer).waiting {
                            prop_assert!(server.subscribed.contains(&names[asked[confirmed]]));
                        }
                    },
                }
            }
            prop_assert!(follows.is_complete());
            let wanted: BTreeSet<ChannelName> =
                (0..3).filter(|at| wanted[*at] > 0).map(|at| names[at].clone()).collect();
            prop_assert_eq!(&server.subscribed, &wanted);
            prop_assert_eq!(&follows.names().cloned().collect::<BTreeSet<_>>(), &wanted);
            prop_assert_eq!(follows.count(), wanted.len());
        }
    }
}
