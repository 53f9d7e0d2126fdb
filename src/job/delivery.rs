//! The state of the bus's delivery, shared by its sender, its receiver and its probe.

use crate::clock::Moment;
use crate::health::delivery::{Delivery, Seen, Subscribed};
use crate::health::finding::Cause;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Shared delivery state. Its moments begin with it.
#[derive(Debug)]
pub struct Monitor {
    delivery: Mutex<Delivery>,
    origin: Instant,
    doubts: AtomicU64,
}

impl Monitor {
    #[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
    pub fn new() -> Monitor {
        Monitor {
            delivery: Mutex::new(Delivery::new(Moment::ZERO)),
            origin: Instant::now(),
            doubts: AtomicU64::new(0),
        }
    }

    pub fn verdict(&self) -> Result<(), Cause> {
        self.delivery.lock().verdict(self.now())
    }

    /// The bus itself does not answer.
    pub fn refuted(&self) {
        self.delivery.lock().refuted();
    }

    /// True if the present subscription has brought a canary.
    pub fn is_proven(&self) -> bool {
        self.delivery.lock().is_proven()
    }

    /// True if an own canary is lost.
    pub fn is_lost(&self) -> bool {
        self.delivery.lock().is_lost(self.now())
    }

    /// Makes the sender reconnect: its connection may lead to another server than the receiver's.
    pub fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the sender's connection was doubted.
    pub fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Relaxed)
    }

    pub fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    pub fn committed(&self, number: u64, seen: &[Seen]) {
        self.delivery.lock().committed(number, seen, self.now());
    }

    /// The names of the other instances whose canaries are in the store.
    pub fn instances(&self) -> Vec<Arc<str>> {
        self.delivery.lock().instances()
    }

    pub fn set_subscribed(&self, subscribed: Subscribed) {
        self.delivery.lock().set_subscribed(subscribed, self.now());
    }

    pub fn came_back(&self, number: u64) {
        self.delivery.lock().came_back(number);
    }

    pub fn heard(&self, origin: u64, number: u64) {
        self.delivery.lock().heard(origin, number);
    }
}

impl Default for Monitor {
    fn default() -> Monitor {
        Monitor::new()
    }
}
