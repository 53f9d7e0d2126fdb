//! Questions about users on their way to the registry, and the answers.
//!
//! The registry answers from what it knows of this instance and from Redis. Without the registry of users it passes a question on to
//! the auth worker, which counts the connections of this instance.

use crate::clock::Now;
use crate::cluster::own_users::UserCount;
pub use crate::cluster::user_lookup::LOOKUP_USERS_MAX;
use crate::cluster::user_lookup::{FoundUser, UserAt};
use crate::id::UserName;
use crate::wire::user_fields::UserConnections;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Users of all instances up to which they are counted one by one.
pub const TALLY_USERS_MAX: u64 = 1_000_000;

/// The question where users are connected.
#[derive(Clone, Debug)]
pub struct UserLookup {
    /// At most [`LOOKUP_USERS_MAX`].
    pub users: Vec<UserName>,
    reply: Sender<Vec<FoundUser>>,
    asker: Weak<()>,
}

/// The asker's end. Its drop takes the question back.
#[derive(Debug)]
pub struct PendingLookup {
    answer: Receiver<Vec<FoundUser>>,
    _asker: Arc<()>,
}

impl PendingLookup {
    /// Waits for the answer, which has the users in their order; `None` if there is none in time, or the question was refused.
    pub fn wait(self, within: Duration) -> Option<Vec<FoundUser>> {
        self.answer.recv_timeout(within).ok()
    }
}

impl UserLookup {
    /// A question, and the way to its answer.
    pub fn new(users: Vec<UserName>) -> (UserLookup, PendingLookup) {
        let (reply, answer) = bounded(1);
        let waits = Arc::new(());
        let lookup = UserLookup { users, reply, asker: Arc::downgrade(&waits) };
        (lookup, PendingLookup { answer, _asker: waits })
    }

    /// True while its asker waits for the answer.
    pub fn is_wanted(&self) -> bool {
        self.asker.strong_count() > 0
    }

    /// Answers. The asker may have given up.
    pub fn answer(self, found: Vec<FoundUser>) {
        let _ = self.reply.try_send(found);
    }
}

/// A question for the auth worker.
#[derive(Clone, Debug)]
pub struct OwnLookup {
    pub lookup: UserLookup,
    pub instance: Arc<str>,
    /// True if there is no other instance.
    pub is_alone: bool,
}

impl OwnLookup {
    /// Answers from the connections of this instance, in the order of the users.
    pub fn answer(self, counts: Vec<UserCount>) {
        let OwnLookup { lookup, instance, is_alone } = self;
        let found = counts.into_iter().map(|UserCount { user, connections, since_unix_s }| {
            let since_unix_ms = u64::from(since_unix_s) * 1_000;
            let connections = UserConnections { connections, since_unix_ms };
            let at = || UserAt { instance: Arc::clone(&instance), connections };
            let instances: Vec<UserAt> = (connections.connections > 0).then(at).into_iter().collect();
            // `anonymous` is any number of people, who are not counted.
            FoundUser { is_complete: is_alone && !user.is_anonymous(), user, instances }
        });
        lookup.answer(found.collect());
    }
}

/// The number of users that are connected to any instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserTally {
    Counted {
        users: u64,
        is_complete: bool,
    },
    /// There are more than [`TALLY_USERS_MAX`].
    TooMany,
}

/// Converts a moment of this process, in whole seconds, to Unix seconds.
pub fn unix_s(since_s: u32, now: Now) -> u32 {
    let ago = (now.at.micros() / 1_000_000).saturating_sub(since_s.into());
    u32::try_from((now.unix_ms / 1_000).saturating_sub(ago)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    #[test]
    fn moment_becomes_a_time_of_the_wall_clock() {
        let now = Now { at: Moment::from_micros(100_900_000), unix_ms: 5_000_300 };
        assert_eq!(unix_s(40, now), 4_940);
        assert_eq!(unix_s(200, now), 5_000, "a later one is now");
    }

    #[test]
    fn answer_from_this_instance_is_complete_only_if_there_is_no_other() {
        for (is_alone, name, connections, online) in [
            (true, "ann", 2, Some(true)),
            (true, "ann", 0, Some(false)),
            (false, "ann", 0, None),
            (false, "ann", 1, Some(true)),
            (true, "anonymous", 0, None),
        ] {
            let user = UserName::parse(name).expect("a user name");
            let (lookup, answer) = UserLookup::new(vec![user.clone()]);
            let count = UserCount { user, connections, since_unix_s: 7 };
            OwnLookup { lookup, instance: Arc::from("gw-1"), is_alone }.answer(vec![count]);
            let found = answer.wait(Duration::ZERO).expect("an answer");
            assert_eq!(found[0].is_online(), online, "{name} {connections}");
            assert_eq!(found[0].connections(), u64::from(connections));
        }
    }
}
