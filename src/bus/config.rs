//! The settings of the bus, and the names of its channels.

use crate::job::EvidenceSender;
use crate::job::delivery::Monitor;
use crate::metrics::bus::BusCounters;
use crate::net::target::Target;
use crate::wire::envelope::Origin;
use std::sync::Arc;

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
}

/// `PREFIX:c:`, the beginning of a channel's name on the bus.
pub fn channel_prefix(prefix: &str) -> String {
    format!("{prefix}:c:")
}

/// `PREFIX:orders`, the channel of orders to all instances.
pub(super) fn order_channel(prefix: &str) -> String {
    format!("{prefix}:orders")
}

pub(super) fn canary_channel(prefix: &str) -> String {
    format!("{prefix}:canary")
}
