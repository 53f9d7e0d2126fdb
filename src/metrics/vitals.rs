//! What all threads may know of the process at any time, without a lock.

use super::Cell;
use crate::clock::Moment;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A reactor silent for so long is not alive.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

/// One reactor's signs of life.
#[derive(Debug, Default)]
pub struct ReactorVitals {
    /// The moment of its last turn.
    pub turned: Cell,
    /// Its connections.
    pub connections: Cell,
}

/// See the module.
#[derive(Debug)]
pub struct Vitals {
    /// By reactor.
    pub reactors: Vec<ReactorVitals>,
    /// Connections the process may have.
    pub connections_max: u64,
    /// Descriptors the process may have.
    pub descriptors_max: u64,
    /// Resident memory past which handshakes are refused.
    pub memory_bytes_max: u64,
    memory_bytes: AtomicU64,
    descriptors_base: AtomicU64,
    stopping: AtomicBool,
}

impl Vitals {
    /// For so many reactors, all alive at `now`.
    pub fn new(
        reactors: usize,
        connections_max: u64,
        descriptors_max: u64,
        memory_bytes_max: u64,
        now: Moment,
    ) -> Vitals {
        let reactors: Vec<ReactorVitals> = (0..reactors).map(|_| ReactorVitals::default()).collect();
        for reactor in &reactors {
            reactor.turned.set(now.micros());
        }
        Vitals {
            reactors,
            connections_max,
            descriptors_max,
            memory_bytes_max,
            memory_bytes: AtomicU64::new(0),
            descriptors_base: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// All connections of the process.
    pub fn connections(&self) -> u64 {
        self.reactors.iter().map(|reactor| reactor.connections.read()).sum()
    }

    /// The first reactor that made no turn for [`SILENCE_MAX`], and for how long.
    pub fn silent(&self, now: Moment) -> Option<(usize, Duration)> {
        self.reactors
            .iter()
            .map(|reactor| now.since(Moment::from_micros(reactor.turned.read())))
            .enumerate()
            .find(|(_, silence)| *silence >= SILENCE_MAX)
    }

    /// Notes the resident memory.
    pub fn set_memory_bytes(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Resident memory when it was last looked at.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Notes the descriptors that are open before the first connection.
    pub fn set_descriptors_base(&self, descriptors: u64) {
        self.descriptors_base.store(descriptors, Ordering::Relaxed);
    }

    /// Descriptors in use: those of the start, and one a connection. Counting them all would read a folder
    /// of as many entries.
    pub fn descriptors(&self) -> u64 {
        self.descriptors_base.load(Ordering::Relaxed) + self.connections()
    }

    /// Tells every thread that the process ends.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// True exactly when the process ends.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
