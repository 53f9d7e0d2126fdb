//! Values of the cluster. The registry thread writes them.

use crate::cluster::instance::InstanceState;
use crate::cluster::report::ClusterReport;
use std::sync::atomic::{AtomicU64, Ordering};

/// The cluster at the last look of the registry.
#[derive(Debug, Default)]
pub struct ClusterCounters {
    /// The number of instances, by their index in [`InstanceState::ALL`].
    pub instances: [AtomicU64; InstanceState::ALL.len()],
    /// Connections of all living instances whose load is known.
    pub connections: AtomicU64,
    /// The connections of the fullest and the emptiest instance, in thousandths of the mean; 0 without connections.
    pub spread_max: AtomicU64,
    pub spread_min: AtomicU64,
    /// 1 while this instance leads.
    pub leader: AtomicU64,
    /// 1 while the report is complete.
    pub complete: AtomicU64,
    /// Incarnations that were begun because of a doubt, since the start.
    pub doubts: AtomicU64,
    /// The last renewal of the lease, in microseconds.
    pub renewal_us: AtomicU64,
    /// Renewals that failed, since the start.
    pub renewal_failures: AtomicU64,
}

impl ClusterCounters {
    /// Notes what a report says.
    pub fn note(&self, report: &ClusterReport) {
        let set = |cell: &AtomicU64, value| cell.store(value, Ordering::Relaxed);
        for (cell, state) in self.instances.iter().zip(InstanceState::ALL) {
            set(cell, report.count(state));
        }
        set(&self.connections, report.totals.connections);
        let thousandths = |value: f64| (value * 1_000.0).round() as u64;
        let spread = report.spread.as_ref();
        set(&self.spread_max, spread.map_or(0, |spread| thousandths(spread.max_over_mean)));
        set(&self.spread_min, spread.map_or(0, |spread| thousandths(spread.min_over_mean)));
        set(&self.complete, u64::from(report.complete));
    }
}
