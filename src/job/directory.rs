//! The way to ask the registry about users.

use super::registry::{RegistryEvent, RegistrySender};
pub use super::users::PendingLookup;
use super::users::{UserLookup, UserTally};
use crate::cluster::user_lookup::FoundUser;
use crate::id::UserName;
use crossbeam_channel::bounded;
use std::time::Duration;

/// The longest wait for an answer: a call of Redis, and one that is under way.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(2_500);
/// The longest wait for the exact number of users.
const TALLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the registry. Cloned freely.
#[derive(Clone, Debug)]
pub struct UserDirectory(RegistrySender);

impl UserDirectory {
    pub fn new(registry: RegistrySender) -> UserDirectory {
        UserDirectory(registry)
    }

    /// Asks where users are connected; `None` if too many questions wait.
    pub fn ask(&self, users: Vec<UserName>) -> Option<PendingLookup> {
        let (lookup, answer) = UserLookup::new(users);
        self.0.ask(RegistryEvent::LookUp(lookup)).then_some(answer)
    }

    /// Asks, and waits for the answer, which has the users in their order.
    pub fn look_up(&self, users: Vec<UserName>) -> Option<Vec<FoundUser>> {
        self.ask(users)?.wait(LOOKUP_TIMEOUT)
    }

    /// Counts the users of all instances, each once.
    pub fn count(&self) -> Option<UserTally> {
        let (reply, answer) = bounded(1);
        self.0.ask(RegistryEvent::Tally(reply)).then_some(())?;
        answer.recv_timeout(TALLY_TIMEOUT).ok()
    }
}
