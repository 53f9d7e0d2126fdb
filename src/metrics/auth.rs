//! What the auth worker counts. It alone writes; a scrape reads.

use crate::auth::token::TokenFault;
use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the start, and two sizes as they are now.
#[derive(Debug, Default)]
pub struct AuthCounters {
    /// Tokens that were checked, good and bad.
    pub tokens_checked: AtomicU64,
    /// Tokens that were refused, by [`TokenFault::index`].
    token_faults: [AtomicU64; TokenFault::ALL.len()],
    /// Good tokens brought for another user's session.
    pub other_user: AtomicU64,
    /// Good tokens of a user with as many connections as allowed.
    pub too_many_of_user: AtomicU64,
    /// Checks that panicked; each is also a `malformed` token.
    pub panics: AtomicU64,
    /// Addresses that were asked for.
    pub addresses_checked: AtomicU64,
    /// Addresses with as many connections as allowed.
    pub addresses_too_many: AtomicU64,
    /// Addresses with too many new connections in a short time.
    pub addresses_too_fast: AtomicU64,
    /// Rings that failed: that reactor sees its answers with its next turn.
    pub rings_failed: AtomicU64,
    /// Users that are counted now.
    pub users: AtomicU64,
    /// Addresses that are remembered now.
    pub addresses: AtomicU64,
}

impl AuthCounters {
    /// Counts one refused token.
    pub fn count_fault(&self, fault: TokenFault) {
        if let Some(cell) = self.token_faults.get(fault.index()) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each fault with its total: the label is [`TokenFault::word`].
    pub fn token_faults(&self) -> impl Iterator<Item = (TokenFault, u64)> + '_ {
        TokenFault::ALL.into_iter().zip(self.token_faults.iter().map(|cell| cell.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_a_cell_of_its_own() {
        let counters = AuthCounters::default();
        for (times, fault) in TokenFault::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| counters.count_fault(fault));
        }
        assert!(counters.token_faults().enumerate().all(|(times, (_, total))| total == times as u64));
    }
}
