//! Counters of the server API.

use super::duration::DurationHistogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The words of the endpoints, in the order of [`ApiCounters::requests`].
pub const ENDPOINTS: [&str; 23] = [
    "publish",
    "batch",
    "broadcast",
    "signal",
    "user_publish",
    "user_signal",
    "channel",
    "history",
    "presence",
    "cluster",
    "rebalance",
    "user",
    "users_lookup",
    "disconnect",
    "block",
    "block_show",
    "unblock",
    "revoke",
    "erase",
    "order",
    "openapi",
    "commands",
    "unknown",
];
/// The classes of statuses.
pub const CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// The outcome of one publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    Stored,
    Duplicate,
    Failed,
}

impl ItemOutcome {
    pub const ALL: [ItemOutcome; 3] = [ItemOutcome::Stored, ItemOutcome::Duplicate, ItemOutcome::Failed];

    /// The word in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            ItemOutcome::Stored => "stored",
            ItemOutcome::Duplicate => "duplicate",
            ItemOutcome::Failed => "failed",
        }
    }

    const fn index(self) -> usize {
        match self {
            ItemOutcome::Stored => 0,
            ItemOutcome::Duplicate => 1,
            ItemOutcome::Failed => 2,
        }
    }
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct ApiCounters {
    /// Requests answered, by endpoint in the order of [`ENDPOINTS`] and by class in the order of [`CLASSES`].
    pub requests: [[AtomicU64; CLASSES.len()]; ENDPOINTS.len()],
    /// Publications, in the order of [`ItemOutcome::ALL`].
    pub items: [AtomicU64; ItemOutcome::ALL.len()],
    /// Requests without a valid key.
    pub unauthorized: AtomicU64,
    /// TLS handshakes that did not complete.
    pub handshakes_failed: AtomicU64,
    /// Connections closed to make room for new ones.
    pub turned_out: AtomicU64,
    /// Publications in the store's queue now.
    pub in_flight: Arc<AtomicU64>,
    /// Bytes of the bodies that are received or worked on now.
    pub body_bytes: Arc<AtomicU64>,
    /// Commands of `POST /v1/commands`.
    pub commands: AtomicU64,
    /// The refused ones.
    pub commands_refused: AtomicU64,
    /// Bodies of commands that are read while they arrive now.
    pub open_bodies: Arc<AtomicU64>,
    /// From the last byte of a request to its answer.
    pub latency: DurationHistogram,
}

impl ApiCounters {
    /// Counts an answer.
    pub fn answered(&self, endpoint: &str, status: u16, took: Duration) {
        let unknown = ENDPOINTS.len() - 1;
        let endpoint = ENDPOINTS.iter().position(|word| *word == endpoint).unwrap_or(unknown);
        let class = match status {
            ..400 => 0,
            400..500 => 1,
            500.. => 2,
        };
        if let Some(cell) = self.requests.get(endpoint).and_then(|classes| classes.get(class)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.latency.record(took);
    }

    pub fn count(&self, outcome: ItemOutcome) {
        if let Some(cell) = self.items.get(outcome.index()) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_counted_under_its_endpoint_and_class() {
        let counters = ApiCounters::default();
        counters.answered("batch", 503, Duration::ZERO);
        counters.answered("nonsense", 404, Duration::ZERO);
        let read = |endpoint: usize, class: usize| counters.requests[endpoint][class].load(Ordering::Relaxed);
        assert_eq!((read(1, 2), read(ENDPOINTS.len() - 1, 1)), (1, 1));
        for (index, outcome) in ItemOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), index);
            counters.count(outcome);
            assert_eq!(counters.items[index].load(Ordering::Relaxed), 1);
        }
    }
}
