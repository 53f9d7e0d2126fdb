//! Counters of the admin listener.

use std::sync::atomic::{AtomicU64, Ordering};

/// The actions that are counted separately, in the order of [`AdminCounters::actions`].
pub const ACTIONS: [&str; 12] = [
    "probe",
    "force",
    "release",
    "admission",
    "drain",
    "order",
    "rebalance",
    "alert",
    "exclusion",
    "flag",
    "client-error",
    "relay",
];

/// Totals since the start.
#[derive(Debug, Default)]
pub struct AdminCounters {
    /// Requests answered, including refused ones.
    pub requests: AtomicU64,
    /// Requests without a token or with a wrong one.
    pub unauthorized: AtomicU64,
    /// Connections closed to make room for a new one.
    pub turned_out: AtomicU64,
    /// Actions performed, in the order of [`ACTIONS`].
    pub actions: [AtomicU64; ACTIONS.len()],
}

impl AdminCounters {
    /// Counts an action that was performed.
    pub fn count_action(&self, action: &str) {
        if let Some(place) = ACTIONS.iter().position(|known| *known == action)
            && let Some(cell) = self.actions.get(place)
        {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}
