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
    assert!(follows.subscribed(&name("a")).waiting.is_empty(), "SUBSCRIBE, and UNSUBSCRIBE is on its way");
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
