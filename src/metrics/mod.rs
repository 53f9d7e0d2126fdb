//! Observed values: cells that one thread writes and a scrape sums.
//!
//! Each reactor counts into cells of its own: no lock, no shared cache line, no atomic read-modify-write. The scrape
//! reads them all. It may see one reactor a turn later than another, but never a torn number.

pub mod admin;
pub mod alerts;
pub mod answers;
pub mod api;
pub mod auth;
pub mod bus;
pub mod changes;
pub mod client_errors;
pub mod clients;
pub mod cluster;
pub mod drain;
pub mod duration;
pub mod flags;
pub mod history;
pub mod latency;
pub mod presence;
pub mod reactor;
pub mod rebalance;
pub mod registry;
pub mod relay;
pub mod reload;
pub mod scrape;
pub mod series;
pub mod settings;
pub mod slo;
pub mod store;
pub mod streams;
pub mod tls;
pub mod vitals;
pub mod watch;

use std::sync::atomic::{AtomicU64, Ordering};

/// A number with a single writer.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `by`. Only the single writer may call it.
    #[inline]
    pub fn add(&self, by: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    /// Adds `by`, from any of several writers.
    pub fn add_shared(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Sets the value. Only the single writer may call it.
    #[inline]
    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// Reads the value, from any thread.
    #[inline]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
