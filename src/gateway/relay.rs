//! The relay before its threads start, and its part of a reload.

use super::config::Config;
use super::config::relay_check;
use crate::backends::{self, BackendEvidence, RelayControl, RelayParts, RunningRelay};
use crate::engine::Setup;
use crate::health::board::DependencyId;
use crate::health::finding::Evidence;
use crate::job::mailbox::ThreadMailboxes;
use crate::job::relay::{RelayNotice, RelayNotices, RelayQueue, RelayRequest, Routes};
use crate::job::{Append, EvidenceSender};
use crate::metrics::relay::RelayMeters;
use crate::reactor::Clock;
use crate::store::RelayEnds;
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender};
use std::io;
use std::sync::Arc;

/// The routes, and the queues between the relay and the store.
pub(super) struct PreparedRelay {
    routes: Arc<Routes>,
    queue: RelayQueue,
    requests: Receiver<RelayRequest>,
    notices: (RelayNotices, Receiver<RelayNotice>),
    evidence: Arc<ArcSwap<BackendEvidence>>,
}

/// The ways of the relay's threads to others.
pub(super) struct RelayWays {
    /// Producers of streams.
    pub(super) producers: Arc<ThreadMailboxes>,
    pub(super) appends: Sender<Append>,
}

/// The part of a reload.
#[derive(Clone)]
pub(super) struct RelayReload {
    routes: Arc<Routes>,
    evidence: Arc<ArcSwap<BackendEvidence>>,
    control: RelayControl,
}

impl PreparedRelay {
    /// `reporter` gives the senders of evidence about dependencies.
    pub(super) fn new(
        config: &Config,
        meters: &RelayMeters,
        reporter: impl Fn(&str) -> Option<EvidenceSender>,
    ) -> PreparedRelay {
        let routes = Arc::new(Routes::default());
        revise(config, &routes, meters);
        let (queue, requests) = RelayQueue::new();
        let evidence = Arc::new(ArcSwap::from_pointee(evidence(config, reporter)));
        PreparedRelay { routes, queue, requests, notices: RelayNotices::new(), evidence }
    }

    /// The ways of the admin listener: the routes, and the queue to the store.
    pub(super) fn for_operators(&self) -> (Arc<Routes>, RelayQueue) {
        (Arc::clone(&self.routes), self.queue.clone())
    }

    /// The part of the store.
    pub(super) fn ends(&self) -> RelayEnds {
        let (requests, routes) = (self.requests.clone(), Arc::clone(&self.routes));
        RelayEnds { requests, notices: self.notices.0.clone(), routes }
    }

    /// Starts the threads.
    pub(super) fn start(
        self,
        config: &Config,
        setup: &Setup,
        ways: RelayWays,
        clock: Clock,
    ) -> io::Result<(RunningRelay, RelayReload)> {
        let PreparedRelay { routes, queue, requests: _, notices: (_, notices), evidence } = self;
        let parts = RelayParts {
            routes: Arc::clone(&routes),
            queue,
            notices,
            mailboxes: ways.producers,
            appends: ways.appends,
            outlook: Arc::clone(&setup.outlook),
            evidence: Arc::clone(&evidence),
            meters: Arc::clone(&setup.metrics.relay),
            vitals: Arc::clone(&setup.vitals),
            source: config.server.source_address,
            idle: config.streams.idle,
            life: config.streams.life,
            message_bytes: config.limits.message_bytes as usize,
        };
        let running = backends::start(parts, move || clock.read())?;
        let control = running.control();
        Ok((running, RelayReload { routes, evidence, control }))
    }
}

impl RelayReload {
    /// Puts the routes of a configuration into force. `watched` are the dependencies of it.
    pub(super) fn revise(
        &self,
        config: &Config,
        meters: &RelayMeters,
        watched: &[(Arc<str>, DependencyId)],
        sender: &Sender<(DependencyId, Evidence)>,
    ) {
        let reporter = |name: &str| {
            let (_, id) = watched.iter().find(|(known, _)| **known == *name)?;
            Some(EvidenceSender::new(*id, sender.clone()))
        };
        self.evidence.store(Arc::new(evidence(config, reporter)));
        revise(config, &self.routes, meters);
        self.control.renew();
    }
}

/// The senders of evidence about the dependencies of routes.
fn evidence(config: &Config, reporter: impl Fn(&str) -> Option<EvidenceSender>) -> BackendEvidence {
    let names = config.relays.iter().filter_map(|relay| relay.route.dependency.as_ref());
    names.filter_map(|name| Some((Arc::clone(name), reporter(name)?))).collect()
}

/// Puts the routes of a configuration into force. This ends the pauses of routes.
fn revise(config: &Config, routes: &Routes, meters: &RelayMeters) {
    let table = relay_check::routes(config);
    meters.renew(table.iter().map(|route| &route.name));
    routes.replace(table);
}
