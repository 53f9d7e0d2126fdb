//! What the admin listener counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Actions that are counted by themselves, in the order of [`AdminCounters::actions`].
pub const ACTIONS: [&str; 5] = ["probe", "force", "release", "admission", "drain"];

/// Totals since the start.
#[derive(Debug, Default)]
pub struct AdminCounters {
    /// Requests answered, refusals among them.
    pub requests: AtomicU64,
    /// Requests without a token, or with a wrong one.
    pub unauthorized: AtomicU64,
    /// Connections ended to make room for a new one.
    pub turned_out: AtomicU64,
    /// Actions that were done, by [`ACTIONS`].
    pub actions: [AtomicU64; ACTIONS.len()],
}

impl AdminCounters {
    /// Counts an action that was done.
    pub fn did(&self, action: &str) {
        if let Some(place) = ACTIONS.iter().position(|known| *known == action)
            && let Some(cell) = self.actions.get(place)
        {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}
