//! The workers of one queue that have a connection. A worker without one leaves the jobs to the others.
//!
//! A worker that waits at a shared queue is given jobs. Without a connection it can only refuse them, which is faster than
//! work: if the server accepts all but one connection, that worker would take most jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One worker's mark among the workers of its queue. It ends with the worker.
#[derive(Debug, Default)]
pub(super) struct Presence {
    connected: Arc<AtomicUsize>,
    is_counted: bool,
}

impl Presence {
    /// A mark for another worker of the same queue, which has no connection yet.
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

    /// True if this many workers have a connection, as far as is known.
    pub(super) fn is_of(&self, count: usize) -> bool {
        self.connected.load(Ordering::Relaxed) >= count
    }

    /// True if another worker has a connection, as far as is known.
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
    fn worker_counts_once_for_the_others_and_while_it_lives() {
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
