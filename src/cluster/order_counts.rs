//! Counters of orders to all instances.

use super::order::OrderKind;
use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the start, and current sizes.
#[derive(Debug, Default)]
pub struct OrderCounters {
    /// Orders that this instance learned of, indexed by [`OrderKind::index`].
    taken: [AtomicU64; OrderKind::ALL.len()],
    /// Orders that this instance knows and has not carried out.
    pub lag: AtomicU64,
    /// Users that are blocked.
    pub blocks: AtomicU64,
    /// Revocations of tokens.
    pub revocations: AtomicU64,
}

impl OrderCounters {
    /// Counts an order of this kind, which is to be carried out.
    pub fn take(&self, kind: OrderKind) {
        if let Some(cell) = self.taken.get(kind.index()) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.lag.fetch_add(1, Ordering::Relaxed);
    }

    /// Each kind with its total.
    pub fn taken(&self) -> impl Iterator<Item = (OrderKind, u64)> + '_ {
        OrderKind::ALL.into_iter().zip(self.taken.iter().map(|cell| cell.load(Ordering::Relaxed)))
    }
}
