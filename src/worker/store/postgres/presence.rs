//! Which workers of one queue have a connection: one that has none leaves the jobs to those that have one.
//!
//! Whoever waits at a shared queue is given jobs. A worker without a connection can only refuse them, and does
//! that faster than others can work: where the server has a place for all but one, it would take most of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One worker's mark among those that share its queue. It ends with the worker.
#[derive(Debug, Default)]
pub(super) struct Presence {
    connected: Arc<AtomicUsize>,
    is_counted: bool,
}

impl Presence {
    /// Of another worker of the same queue, which has no connection yet.
    pub(super) fn another(&self) -> Presence {
        Presence { connected: Arc::clone(&self.connected), is_counted: false }
    }

    /// Notes whether this worker has a connection.
    pub(super) fn note(&mut self, is_up: bool) {
        if is_up && !self.is_counted {
            self.connected.fetch_add(1, Ordering::Relaxed);
        } else if !is_up && self.is_counted {
            self.connected.fetch_sub(1, Ordering::Relaxed);
        }
        self.is_counted = is_up;
    }

    /// True exactly when another worker has a connection, as far as that one knows.
    pub(super) fn has_others(&self) -> bool {
        self.connected.load(Ordering::Relaxed) > usize::from(self.is_counted)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.note(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_counts_once_and_not_for_itself_and_no_longer_than_it_lives() {
        let mut one = Presence::default();
        let mut other = one.another();
        assert!(!one.has_others() && !other.has_others());
        one.note(true);
        one.note(true);
        assert!(!one.has_others() && other.has_others());
        other.note(false);
        other.note(true);
        assert!(one.has_others() && other.has_others());
        one.note(false);
        assert!(one.has_others() && !other.has_others());
        drop(other);
        assert!(!one.has_others());
    }
}
