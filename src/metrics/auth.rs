//! Counters of authentication. Only the auth worker and its introspection threads write them.

use crate::auth::token::TokenFault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls to an auth service, and the cache that saves calls. Written by the auth worker and by the threads that make
/// the calls.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    pub introspections: AtomicU64,
    /// Introspections without an answer, or with an unusable one.
    pub introspections_failed: AtomicU64,
    /// Total duration of all introspections, in microseconds.
    pub introspection_us: AtomicU64,
    /// Tokens that shared the call of another connection.
    pub joined: AtomicU64,
    /// Tokens with a fresh result in the cache.
    pub cache_hits: AtomicU64,
    /// Tokens admitted by a stale result because the service did not answer.
    pub cache_stale: AtomicU64,
    /// Tokens without a fresh result in the cache.
    pub cache_misses: AtomicU64,
    /// Tokens that could not be verified because neither the service nor the cache had an answer.
    pub unjudged: AtomicU64,
    /// Tokens refused because `auth.waiting` was reached.
    pub too_many_waiting: AtomicU64,
    /// Connections currently waiting for the service.
    pub waiting: AtomicU64,
    /// Results currently in the cache.
    pub cache_entries: AtomicU64,
    /// Approximate size of the positive results in the cache.
    pub cache_bytes: AtomicU64,
    /// Attempts to fetch the key set.
    pub key_set_fetches: AtomicU64,
    pub key_set_failures: AtomicU64,
    pub key_set_keys: AtomicU64,
    /// Time of the last successful fetch in Unix milliseconds; 0 if never.
    pub key_set_unix_ms: AtomicU64,
}

/// Totals since the start, and two current sizes.
#[derive(Debug, Default)]
pub struct AuthCounters {
    /// Tokens checked, valid or not.
    pub tokens_checked: AtomicU64,
    /// Tokens refused, indexed by [`TokenFault::index`].
    token_faults: [AtomicU64; TokenFault::ALL.len()],
    /// Valid tokens that were sent on the session of another user.
    pub other_user: AtomicU64,
    /// Valid tokens of users that already have the maximum number of connections.
    pub too_many_of_user: AtomicU64,
    /// Valid tokens of blocked users.
    pub blocked: AtomicU64,
    /// Checks that panicked. Each is also counted as a `malformed` token.
    pub panics: AtomicU64,
    pub addresses_checked: AtomicU64,
    /// Addresses that already have the maximum number of connections.
    pub addresses_too_many: AtomicU64,
    /// Addresses with too many new connections in a short time.
    pub addresses_too_fast: AtomicU64,
    /// Wake-ups that failed. The reactor sees its answers with its next turn.
    pub wakes_failed: AtomicU64,
    pub service: Arc<ServiceCounters>,
    /// Users that are currently counted.
    pub users: AtomicU64,
    /// Addresses that are currently tracked.
    pub addresses: AtomicU64,
}

impl AuthCounters {
    /// Counts a refused token.
    pub fn count_fault(&self, fault: TokenFault) {
        if let Some(cell) = self.token_faults.get(fault.index()) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each fault with its total. The label is [`TokenFault::word`].
    pub fn token_faults(&self) -> impl Iterator<Item = (TokenFault, u64)> + '_ {
        TokenFault::ALL.into_iter().zip(self.token_faults.iter().map(|cell| cell.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_counted_in_its_own_cell() {
        let counters = AuthCounters::default();
        for (times, fault) in TokenFault::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| counters.count_fault(fault));
        }
        assert!(counters.token_faults().enumerate().all(|(times, (_, total))| total == times as u64));
    }
}
