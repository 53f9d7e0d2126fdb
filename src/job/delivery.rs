//! The state of the bus's delivery, shared by its sender, its receiver and its probe.

use crate::clock::Moment;
use crate::health::delivery::{Delivery, Seen, Subscribed, combine};
use crate::health::finding::Cause;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Shared delivery state. Its moments begin with it.
///
/// The bus over a cluster has one for each master, and one for the whole, which has these as its parts.
#[derive(Debug)]
pub struct Monitor {
    parts: ArcSwap<Vec<MonitorPart>>,
    delivery: Mutex<Delivery>,
    origin: Instant,
    doubts: AtomicU64,
}

/// The state of delivery over one master.
#[derive(Clone, Debug)]
pub struct MonitorPart {
    /// For people.
    pub name: Arc<str>,
    pub monitor: Arc<Monitor>,
}

impl Monitor {
    #[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
    pub fn new() -> Monitor {
        Monitor {
            parts: ArcSwap::default(),
            delivery: Mutex::new(Delivery::new(Moment::ZERO)),
            origin: Instant::now(),
            doubts: AtomicU64::new(0),
        }
    }

    pub fn verdict(&self) -> Result<(), Cause> {
        self.delivery.lock().verdict(self.now())
    }

    /// The verdict on the whole: `Ok` with a cause if only some parts deliver.
    pub fn whole_verdict(&self) -> Result<Option<Cause>, Cause> {
        let parts = self.parts.load();
        if parts.is_empty() {
            return self.verdict().map(|()| None);
        }
        combine(parts.iter().map(|part| (&*part.name, part.monitor.verdict())))
    }

    /// Replaces the parts.
    pub fn set_parts(&self, parts: Vec<MonitorPart>) {
        self.parts.store(Arc::new(parts));
    }

    /// The bus itself does not answer.
    pub fn refuted(&self) {
        self.delivery.lock().refuted();
        self.parts.load().iter().for_each(|part| part.monitor.refuted());
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
        match self.parts.load().first() {
            Some(part) => part.monitor.instances(),
            None => self.delivery.lock().instances(),
        }
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
