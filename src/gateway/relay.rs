//! The relay before its threads start, and its part of a reload.

use super::config::Config;
use super::config::relay_check;
use crate::job::relay::{RelayQueue, Routes};
use crate::metrics::relay::RelayMeters;
use std::sync::Arc;

/// The routes, and the queue to the store.
pub(super) struct PreparedRelay {
    pub(super) routes: Arc<Routes>,
    pub(super) queue: RelayQueue,
}

impl PreparedRelay {
    pub(super) fn new(config: &Config, meters: &RelayMeters) -> PreparedRelay {
        let routes = Arc::new(Routes::default());
        revise(config, &routes, meters);
        PreparedRelay { routes, queue: RelayQueue::new().0 }
    }

    /// The ways of the admin listener: the routes, and the queue to the store.
    pub(super) fn for_operators(&self) -> (Arc<Routes>, RelayQueue) {
        (Arc::clone(&self.routes), self.queue.clone())
    }
}

/// Puts the routes of a configuration into force. This ends the pauses of routes.
pub(super) fn revise(config: &Config, routes: &Routes, meters: &RelayMeters) {
    let table = relay_check::routes(config);
    meters.renew(table.iter().map(|route| &route.name));
    routes.replace(table);
}
