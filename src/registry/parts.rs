//! The parts that the registry is started with.

use crate::cluster::duty::LeaderDuty;
use crate::job::registry::{ClusterBoard, OwnSigns, RegistryEvent, RegistrySender};
use crate::job::segments::SegmentInbox;
use crate::job::{AuthJob, Outlook};
use crate::metrics::cluster::ClusterCounters;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::net::target::Target;
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;

/// The Redis of the registry: that of the bus.
#[derive(Clone, Debug)]
pub struct RegistryRedis {
    pub target: Target,
    /// `bus.prefix`
    pub prefix: Arc<str>,
    /// `registry.users`, while auth is on
    pub users: bool,
}

/// The registry's ends of what it shares.
#[derive(Debug)]
pub struct RegistryParts {
    /// `None`: rows judge alone.
    pub redis: Option<RegistryRedis>,
    /// [`LeaderDuty::Sole`] if there can be no other instance.
    pub duty: LeaderDuty,
    pub signs: Arc<OwnSigns>,
    pub events: Receiver<RegistryEvent>,
    /// The other end of the same queue.
    pub sender: RegistrySender,
    pub board: Arc<ClusterBoard>,
    pub counters: Arc<ClusterCounters>,
    /// `admin.url`, or nothing.
    pub url: Arc<str>,
    /// The load of this instance.
    pub metrics: Arc<Metrics>,
    pub vitals: Arc<Vitals>,
    pub outlook: Arc<Outlook>,
    /// The segments of another thread; `None` if there is none.
    pub segments: Option<SegmentInbox>,
    /// To the auth worker, which counts the users of this instance.
    pub auth: Sender<AuthJob>,
}

impl RegistryParts {
    /// The queue for the reports of the auth worker; `None` if users are not registered.
    pub fn reports(&self) -> Option<RegistrySender> {
        self.redis.as_ref().filter(|redis| redis.users).map(|_| self.sender.clone())
    }
}
