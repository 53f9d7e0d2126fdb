//! What the auth worker counts. It alone writes; a scrape reads.

use crate::auth::token::TokenFault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls to an auth service, and what made calls needless. The auth worker and the threads that call write.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    /// Introspections that were made.
    pub introspections: AtomicU64,
    /// Those that were not answered, or with what is no answer.
    pub introspections_failed: AtomicU64,
    /// Microseconds of all of them together.
    pub introspection_us: AtomicU64,
    /// Tokens that joined the call of another connection.
    pub joined: AtomicU64,
    /// Tokens of which a fresh answer was known.
    pub cache_hits: AtomicU64,
    /// Tokens that were let in by an old answer, since the service does not answer.
    pub cache_stale: AtomicU64,
    /// Tokens of which no fresh answer was known.
    pub cache_misses: AtomicU64,
    /// Tokens that nobody could judge.
    pub unjudged: AtomicU64,
    /// Tokens that found `auth.waiting` reached.
    pub too_many_waiting: AtomicU64,
    /// Connections that wait for the service now.
    pub waiting: AtomicU64,
    /// Answers that are remembered now.
    pub cache_entries: AtomicU64,
    /// Bytes of the good ones among them, about.
    pub cache_bytes: AtomicU64,
    /// Fetches of the key set.
    pub key_set_fetches: AtomicU64,
    /// Those that brought none.
    pub key_set_failures: AtomicU64,
    /// Keys in the set that is in use.
    pub key_set_keys: AtomicU64,
    /// When it was fetched, Unix milliseconds; 0: never.
    pub key_set_unix_ms: AtomicU64,
}

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
    /// What is asked of an auth service.
    pub service: Arc<ServiceCounters>,
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
