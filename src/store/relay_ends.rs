//! The queues that a store shares with the relay.

use crate::job::relay::{RelayNotices, RelayRequest, Routes};
use crate::relay::route::RouteTable;
use crossbeam_channel::{Receiver, never};
use std::sync::Arc;

/// The requests of the relay, the notices to it, and the routes in force.
#[derive(Clone)]
pub struct RelayEnds {
    pub requests: Receiver<RelayRequest>,
    pub notices: RelayNotices,
    pub routes: Arc<Routes>,
}

impl RelayEnds {
    /// For a store without a relay.
    pub fn none() -> RelayEnds {
        RelayEnds { requests: never(), notices: RelayNotices::new().0, routes: Arc::default() }
    }

    /// The part that answers need.
    pub(super) fn watch(&self) -> (RelayNotices, Arc<Routes>) {
        (self.notices.clone(), Arc::clone(&self.routes))
    }

    /// The routes in force; `None`: there are none, which costs one load.
    pub(super) fn table(&self) -> Option<RouteTable> {
        if self.routes.is_empty() { None } else { Some(self.routes.current()) }
    }
}
