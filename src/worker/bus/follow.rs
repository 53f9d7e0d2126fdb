//! Which channels this process follows on the bus, and what is to be said to Redis for it. Pure: no socket, no clock.
//!
//! Redis answers in the order asked. A channel may be left and followed again before the first answer, so what counts is not
//! an answer but the last one that is outstanding.

use crate::id::ChannelName;
use crate::job::Ticket;
use std::collections::{HashMap, VecDeque};

/// Names in one command.
const COMMAND_NAMES_MAX: usize = 512;
/// Answers that may be outstanding: Redis ends a connection whose answers fill its output buffer (8 MiB by default).
const OUTSTANDING_MAX: usize = 2_048;

/// Said to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Subscribe(Vec<ChannelName>),
    Unsubscribe(Vec<ChannelName>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Subscribe,
    Unsubscribe,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Server {
    #[default]
    Away,
    Hears,
}

#[derive(Debug, Default)]
struct Followed {
    /// Reactors that want it.
    reactors: u16,
    /// `SUBSCRIBE`s that are not answered.
    outstanding: u32,
    /// Who waits for the last of them.
    waiting: Vec<Ticket>,
    /// Somebody wants it and did not wait.
    unwaited: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Follows {
    server: Server,
    channels: HashMap<ChannelName, Followed, ahash::RandomState>,
    /// Not said yet, in order.
    wishes: VecDeque<(Wish, ChannelName)>,
    /// Subscriptions said and not answered.
    outstanding: usize,
    /// Of what was wanted when the connection came up, what is not confirmed. Redis answers in order.
    resumed: usize,
}

/// What a confirmed subscription is good for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Confirmed {
    /// Who waited for it.
    pub(super) waiting: Vec<Ticket>,
    /// Somebody did not: his log was read before it was listened to.
    pub(super) unwaited: bool,
}

/// Whether a follower can rely on the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is there.
    Subscribed,
    /// It is asked for; the ticket waits.
    Asked,
}

impl Follows {
    /// A reactor wants a channel, and waits for it.
    pub(super) fn follow(&mut self, channel: ChannelName, ticket: Ticket) -> Standing {
        let followed = self.register(channel);
        if followed.outstanding == 0 {
            return Standing::Subscribed;
        }
        followed.waiting.push(ticket);
        Standing::Asked
    }

    /// A reactor wants a channel, and does not wait: without a connection it is subscribed to with the next one.
    pub(super) fn want(&mut self, channel: ChannelName) {
        self.register(channel).unwaited = true;
    }

    fn register(&mut self, channel: ChannelName) -> &mut Followed {
        let followed = self.channels.entry(channel.clone()).or_default();
        followed.reactors += 1;
        if followed.reactors == 1 && self.server == Server::Hears {
            followed.outstanding += 1;
            self.wishes.push_back((Wish::Subscribe, channel));
        }
        followed
    }

    /// A reactor wants it no longer.
    pub(super) fn leave(&mut self, channel: ChannelName) {
        let Some(followed) = self.channels.get_mut(&channel) else { return };
        followed.reactors = followed.reactors.saturating_sub(1);
        if followed.reactors > 0 {
            return;
        }
        // Whoever waited has left.
        followed.waiting.clear();
        if followed.outstanding == 0 {
            self.channels.remove(&channel);
        }
        if self.server == Server::Hears {
            self.wishes.push_back((Wish::Unsubscribe, channel));
        }
    }

    /// A connection is up: all channels are to be subscribed to.
    pub(super) fn connected(&mut self) {
        self.lost();
        self.server = Server::Hears;
        let names: Vec<ChannelName> = self.channels.keys().cloned().collect();
        for name in names {
            if let Some(followed) = self.channels.get_mut(&name) {
                followed.outstanding = 1;
                self.wishes.push_back((Wish::Subscribe, name));
            }
        }
        self.resumed = self.wishes.len();
    }

    /// The connection is gone. Those that waited are named: they go on without.
    pub(super) fn lost(&mut self) -> Vec<Ticket> {
        self.server = Server::Away;
        self.wishes.clear();
        self.outstanding = 0;
        self.resumed = 0;
        let mut waiting = Vec::new();
        self.channels.retain(|_, followed| {
            followed.outstanding = 0;
            waiting.append(&mut followed.waiting);
            followed.reactors > 0
        });
        waiting
    }

    /// The next command to say; `None` when there is none, or too much is outstanding.
    pub(super) fn next_command(&mut self) -> Option<Command> {
        let room = OUTSTANDING_MAX.saturating_sub(self.outstanding).min(COMMAND_NAMES_MAX);
        let kind = self.wishes.front()?.0;
        let most = if kind == Wish::Subscribe { room } else { COMMAND_NAMES_MAX };
        let count = self.wishes.iter().take(most).take_while(|(wish, _)| *wish == kind).count();
        if count == 0 {
            return None;
        }
        let names = self.wishes.drain(..count).map(|(_, name)| name).collect();
        Some(match kind {
            Wish::Subscribe => {
                self.outstanding += count;
                Command::Subscribe(names)
            }
            Wish::Unsubscribe => Command::Unsubscribe(names),
        })
    }

    /// Redis says that a channel is subscribed to.
    pub(super) fn subscribed(&mut self, channel: &ChannelName) -> Confirmed {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.resumed = self.resumed.saturating_sub(1);
        let Some(followed) = self.channels.get_mut(channel) else { return Confirmed::default() };
        followed.outstanding = followed.outstanding.saturating_sub(1);
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

    /// Those that wait are named: they go on without.
    pub(super) fn release(&mut self) -> Vec<Ticket> {
        let mut waiting = Vec::new();
        for followed in self.channels.values_mut().filter(|followed| !followed.waiting.is_empty()) {
            followed.unwaited = true;
            waiting.append(&mut followed.waiting);
        }
        waiting
    }

    /// True exactly when everything is subscribed to that was wanted when the connection came up.
    pub(super) fn is_complete(&self) -> bool {
        self.resumed == 0
    }

    /// Subscriptions said and not answered.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// All channels that are wanted.
    pub(super) fn names(&self) -> impl Iterator<Item = &ChannelName> {
        self.channels.iter().filter(|(_, followed)| followed.reactors > 0).map(|(name, _)| name)
    }

    /// How many they are, those on their way out among them.
    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReactorId;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text).expect("valid")
    }

    fn ticket(request: u64) -> Ticket {
        Ticket { reactor: ReactorId(0), request }
    }

    fn up() -> Follows {
        let mut follows = Follows::default();
        follows.connected();
        follows
    }

    #[test]
    fn who_follows_waits_for_the_answer_and_who_follows_later_does_not() {
        let mut follows = up();
        assert_eq!(follows.follow(name("a"), ticket(1)), Standing::Asked);
        assert_eq!(follows.next_command(), Some(Command::Subscribe(vec![name("a")])));
        assert_eq!(follows.subscribed(&name("a")).waiting, [ticket(1)]);
        assert_eq!(follows.follow(name("a"), ticket(2)), Standing::Subscribed);
        assert_eq!(follows.next_command(), None);
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_not_taken_for_the_later_one() {
        let mut follows = up();
        follows.follow(name("a"), ticket(1));
        follows.leave(name("a"));
        assert_eq!(follows.follow(name("a"), ticket(2)), Standing::Asked);
        while follows.next_command().is_some() {}
        assert_eq!(follows.subscribed(&name("a")).waiting, [], "SUBSCRIBE, and UNSUBSCRIBE is on its way");
        assert_eq!(follows.subscribed(&name("a")).waiting, [ticket(2)]);
    }

    #[test]
    fn a_lost_connection_frees_those_that_wait_and_the_next_one_subscribes_to_all() {
        let mut follows = up();
        follows.follow(name("a"), ticket(1));
        follows.follow(name("b"), ticket(2));
        let mut freed = follows.lost();
        freed.sort_by_key(|ticket| ticket.request);
        assert_eq!(freed, [ticket(1), ticket(2)]);
        follows.want(name("c"));
        follows.leave(name("b"));
        follows.connected();
        let Some(Command::Subscribe(mut names)) = follows.next_command() else { panic!("a command") };
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        assert_eq!(names, [name("a"), name("c")]);
    }

    #[test]
    fn what_was_wanted_at_the_start_is_complete_though_more_is_wanted_all_the_time() {
        let mut follows = Follows::default();
        follows.want(name("a"));
        follows.connected();
        follows.follow(name("b"), ticket(1));
        assert!(!follows.is_complete());
        while follows.next_command().is_some() {}
        let confirmed = follows.subscribed(&name("a"));
        assert!(confirmed.unwaited && confirmed.waiting.is_empty());
        assert!(follows.is_complete());
        assert_eq!(follows.release(), [ticket(1)]);
        assert!(follows.subscribed(&name("b")).unwaited, "whoever was released has not heard all");
    }

    #[test]
    fn a_storm_of_subscriptions_is_said_in_pieces_as_answers_come() {
        let mut follows = Follows::default();
        for number in 0..20_000 {
            follows.want(name(&format!("c{number}")));
        }
        follows.connected();
        let mut said = Vec::new();
        while let Some(Command::Subscribe(names)) = follows.next_command() {
            assert!(names.len() <= COMMAND_NAMES_MAX);
            said.extend(names);
        }
        assert_eq!(said.len(), OUTSTANDING_MAX);
        follows.subscribed(&said[0]);
        assert!(matches!(follows.next_command(), Some(Command::Subscribe(names)) if names.len() == 1));
    }

    /// What Redis does: it takes commands in order, some time after they were said.
    #[derive(Default)]
    struct Redis {
        said: VecDeque<(Wish, ChannelName)>,
        subscribed: BTreeSet<ChannelName>,
    }

    impl Redis {
        fn hear(&mut self, command: Option<Command>) -> bool {
            let (wish, names) = match command {
                Some(Command::Subscribe(names)) => (Wish::Subscribe, names),
                Some(Command::Unsubscribe(names)) => (Wish::Unsubscribe, names),
                None => return false,
            };
            self.said.extend(names.into_iter().map(|name| (wish, name)));
            true
        }

        /// Does what was said next; the channel whose subscription it answers.
        fn act(&mut self) -> Option<Option<ChannelName>> {
            let (wish, name) = self.said.pop_front()?;
            Some(match wish {
                Wish::Subscribe => {
                    self.subscribed.insert(name.clone());
                    Some(name)
                }
                Wish::Unsubscribe => {
                    self.subscribed.remove(&name);
                    None
                }
            })
        }
    }

    proptest! {
        /// Whoever was told so is subscribed; in the end exactly what is wanted is.
        #[test]
        fn what_is_said_leads_to_what_is_wanted(steps in prop::collection::vec((0_u8..6, 0_usize..3), 1..80)) {
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
                        let standing = follows.follow(names[at].clone(), ticket(asked.len() as u64 - 1));
                        prop_assert!(standing == Standing::Asked || server.subscribed.contains(&names[at]));
                    }
                    2 | 3 if wanted[at] > 0 => {
                        wanted[at] -= 1;
                        follows.leave(names[at].clone());
                    }
                    4 => { server.hear(follows.next_command()); }
                    _ => if let Some(Some(answer)) = server.act() {
                        for told in follows.subscribed(&answer).waiting {
                            prop_assert!(server.subscribed.contains(&names[asked[told.request as usize]]));
                        }
                    },
                }
            }
            prop_assert!(follows.is_complete());
            let wanted: BTreeSet<ChannelName> =
                (0..3).filter(|at| wanted[*at] > 0).map(|at| names[at].clone()).collect();
            prop_assert_eq!(&server.subscribed, &wanted);
            prop_assert_eq!(&follows.names().cloned().collect::<BTreeSet<_>>(), &wanted);
            prop_assert_eq!(follows.len(), wanted.len());
        }
    }
}
