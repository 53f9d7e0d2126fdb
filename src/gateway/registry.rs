//! The registry before its thread starts.

use super::bus::PreparedBus;
use super::config::Config;
use crate::cluster::duty::LeaderDuty;
use crate::id::InstanceName;
use crate::job::directory::UserDirectory;
use crate::job::registry::{ClusterBoard, OwnSigns, RegistryEvent, RegistrySender};
use crate::job::segments::SegmentQueue;
use crate::job::{self, AuthJob, Outlook};
use crate::metrics::cluster::ClusterCounters;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::registry::{RegistryParts, RegistryRedis};
use crate::store::postgres::ClusterMember;
use crate::wire::envelope::Origin;
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;

/// The registry's shares with other threads, before it runs.
pub(super) struct PreparedRegistry {
    signs: Arc<OwnSigns>,
    sender: RegistrySender,
    events: Receiver<RegistryEvent>,
    board: Arc<ClusterBoard>,
    counters: Arc<ClusterCounters>,
    duty: LeaderDuty,
    url: Arc<str>,
    /// Users are registered in Redis.
    users: bool,
}

/// The parts of the registry, and what other threads share with it.
pub(super) struct PreparedThread {
    pub(super) registry: RegistryParts,
    /// The board of all that it will know.
    pub(super) cluster: Arc<ClusterBoard>,
    pub(super) directory: UserDirectory,
    /// For the owner of the rosters; `None` if they are not shared.
    pub(super) segments: Option<SegmentQueue>,
}

impl PreparedRegistry {
    /// Draws the identity of this process.
    pub(super) fn new(config: &Config, instance: &InstanceName) -> Result<PreparedRegistry, String> {
        let origin =
            getrandom::u64().map_err(|_| "cannot set up the registry: no random number".to_owned())?;
        let (sender, events) = RegistrySender::pair();
        Ok(PreparedRegistry {
            signs: Arc::new(OwnSigns::new(origin, Arc::clone(&instance.0))),
            sender,
            events,
            board: Arc::default(),
            counters: Arc::default(),
            // The folder of the embedded store has one owner.
            users: config.registry.users && config.bus.url.is_some(),
            duty: if config.store.postgres().is_some() { LeaderDuty::Free } else { LeaderDuty::Sole },
            url: Arc::from(config.admin.url.as_deref().unwrap_or_default()),
        })
    }

    /// This process, on the bus too.
    pub(super) fn origin(&self) -> Origin {
        Origin(self.signs.origin)
    }

    /// This instance, for the store.
    pub(super) fn member(&self, bus: Option<&PreparedBus>) -> ClusterMember {
        ClusterMember {
            bus: bus.map(|prepared| prepared.bus.clone()),
            signs: Arc::clone(&self.signs),
            registry: self.sender.clone(),
        }
    }

    pub(super) fn counters(&self) -> Arc<ClusterCounters> {
        Arc::clone(&self.counters)
    }

    /// The parts of the registry, and the ways to what it will know.
    pub(super) fn parts(
        self,
        bus: Option<&PreparedBus>,
        auth: &Sender<AuthJob>,
        metrics: &Arc<Metrics>,
        vitals: &Arc<Vitals>,
        outlook: &Arc<Outlook>,
    ) -> PreparedThread {
        let PreparedRegistry { signs, sender, events, board, counters, duty, users, url } = self;
        let (cluster, directory) = (Arc::clone(&board), UserDirectory::new(sender.clone()));
        let (segments, inbox) = bus.map(|_| job::segments::segments(signs.origin)).unzip();
        let registry = RegistryParts {
            redis: bus.map(|bus| RegistryRedis { users, ..bus.redis() }),
            duty,
            signs,
            events,
            sender,
            board,
            counters,
            url,
            metrics: Arc::clone(metrics),
            vitals: Arc::clone(vitals),
            outlook: Arc::clone(outlook),
            segments: inbox,
            auth: auth.clone(),
        };
        PreparedThread { registry, cluster, directory, segments }
    }
}
