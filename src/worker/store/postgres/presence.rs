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

    /// This worker has a connection.
    pub(super) fn arrive(&mut self) {
        if !std::mem::replace(&mut self.is_counted, true) {
            self.connected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It has none any more.
    pub(super) fn leave(&mut self) {
        if std::mem::replace(&mut self.is_counted, false) {
            self.connected.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// True exactly when another worker has a connection, as far as that one knows.
    pub(super) fn has_others(&self) -> bool {
        self.connected.load(Ordering::Relaxed) > usize::from(self.is_counted)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.leave();
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
        one.arrive();
        one.arrive();
        assert!(!one.has_others() && other.has_others());
        other.leave();
        other.arrive();
        assert!(one.has_others() && other.has_others());
        one.leave();
        assert!(one.has_others() && !other.has_others());
        drop(other);
        assert!(!one.has_others());
    }
}
