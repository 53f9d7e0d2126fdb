//! The relay, as far as operators reach it.

use crate::job::mailbox::ThreadMailboxes;
use crate::job::relay::{RelayQueue, Routes};
use std::net::IpAddr;
use std::sync::Arc;

/// The ways of the admin listener to the relay.
#[derive(Clone, Debug)]
pub struct RelayLinks {
    /// The routes in force.
    pub routes: Arc<Routes>,
    pub store: RelayQueue,
    /// Reads what is sent again, and ends the answers to questions that are skipped.
    pub producers: Arc<ThreadMailboxes>,
    /// Requests leave from this address; `None`: the system chooses.
    pub source: Option<IpAddr>,
}
