//! One number that the engine counts.

use std::cell::Cell;

/// One number of a tally.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    #[inline]
    pub fn add(&self, by: u64) {
        self.0.set(self.0.get().wrapping_add(by));
    }

    /// Undoes an [`add`](Count::add) of the same turn, so that a published number never falls.
    pub(super) fn take_back(&self, by: u64) {
        self.0.set(self.0.get().wrapping_sub(by));
    }

    #[inline]
    pub fn set(&self, to: u64) {
        self.0.set(to);
    }

    #[inline]
    pub fn read(&self) -> u64 {
        self.0.get()
    }
}
