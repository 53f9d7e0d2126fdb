//! The settings of the bus.

use super::topics::Naming;
use crate::health::advice::look_at;
use crate::health::definition::DependencyKind;
use crate::health::finding::{Cause, Fault};
use crate::job::EvidenceSender;
use crate::job::bus::SharedSlots;
use crate::job::delivery::Monitor;
use crate::metrics::bus::{BusCounters, BusGauges};
use crate::net::dial::Dialer;
use crate::net::redis::RedisTarget;
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crate::wire::envelope::Origin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time after a start in which the slots of a cluster become known.
const SLOTS_KNOWN_AFTER: Duration = Duration::from_secs(1);

/// The settings of the bus.
#[derive(Clone, Debug)]
pub struct BusSettings {
    pub target: Target,
    /// The prefix of its channel names: one for each system that shares a Redis.
    pub prefix: Arc<str>,
    /// This process.
    pub origin: Origin,
    /// Where connections and calls are reported.
    pub evidence: Option<EvidenceSender>,
    /// The shared state of delivery.
    pub monitor: Arc<Monitor>,
    pub counters: Arc<BusCounters>,
    /// Where the masters of a cluster are made known to other threads.
    pub slots: SharedSlots,
}

/// The settings of a pair of threads: of the whole bus, or of its part at one master of a cluster.
#[derive(Clone, Debug)]
pub(super) struct LinkSettings {
    /// `None`: no master has the slots.
    pub(super) target: Option<Target>,
    pub(super) prefix: Arc<str>,
    pub(super) naming: Naming,
    pub(super) origin: Origin,
    pub(super) evidence: Option<EvidenceSender>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) counters: Arc<BusCounters>,
    /// The gauges of this part.
    pub(super) gauges: Arc<BusGauges>,
}

impl LinkSettings {
    /// Those of a bus over one server.
    pub(super) fn whole(settings: BusSettings) -> LinkSettings {
        let BusSettings { target, prefix, origin, evidence, monitor, counters, slots: _ } = settings;
        let gauges = Arc::clone(&counters.gauges);
        let (target, naming) = (Some(target), Naming::Plain);
        LinkSettings { target, prefix, naming, origin, evidence, monitor, counters, gauges }
    }

    pub(super) fn dialer(&self) -> Option<Dialer> {
        self.target.as_ref().map(Target::dialer)
    }

    /// The time of the first dial. Slots without a master get one within it when a process starts, so no failure is logged.
    pub(super) fn first_dial(&self, now: Instant) -> Instant {
        if self.target.is_some() { now } else { now + SLOTS_KNOWN_AFTER }
    }

    /// The server, or the trouble that there is none.
    pub(super) fn server(&self) -> Result<&RedisTarget, Trouble> {
        let text = "no master of the cluster has these slots";
        self.target.as_ref().and_then(Target::redis).ok_or_else(|| Trouble::new(Fault::NotReady, text))
    }

    /// Adds the advice for a trouble, and hides secrets.
    pub(super) fn cause(&self, trouble: Trouble) -> Cause {
        let look_at = look_at(DependencyKind::Redis, trouble.fault);
        trouble.into_cause(look_at, self.target.as_ref().map_or(&[], Target::secrets))
    }
}
