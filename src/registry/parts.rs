//! The parts that the registry is started with.

use crate::cluster::duty::LeaderDuty;
use crate::job::Outlook;
use crate::job::registry::{ClusterBoard, OwnSigns, RegistryEvent};
use crate::job::segments::SegmentInbox;
use crate::metrics::cluster::ClusterCounters;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::net::target::Target;
use crossbeam_channel::Receiver;
use std::sync::Arc;

/// The Redis of the registry: that of the bus.
#[derive(Clone, Debug)]
pub struct RegistryRedis {
    pub target: Target,
    /// `bus.prefix`
    pub prefix: Arc<str>,
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
}
