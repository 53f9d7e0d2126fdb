//! Values of the registry of users. The registry thread is the only writer.

use super::Cell;

/// Totals since the start, and current sizes.
#[derive(Debug, Default)]
pub struct RegistryCounters {
    /// Users of this instance that the registry has, or is about to have.
    pub users: Cell,
    /// Users whose changes are not written yet.
    pub waiting: Cell,
    /// 1 while all users of this instance were written for its incarnation.
    pub written: Cell,
    /// Changes of users' connections.
    pub changes: Cell,
    /// Flushes, of users and of other segments.
    pub flushes: Cell,
    /// Flushes that failed.
    pub flush_failures: Cell,
    /// The last flush, in microseconds.
    pub flush_us: Cell,
    /// Users that were looked up.
    pub lookups: Cell,
    /// Of these, those of which not all instances are known.
    pub lookups_incomplete: Cell,
    /// Recounts, because more changed than the queue holds.
    pub recounts: Cell,
    /// Fields that the audit found different from what was written.
    pub repairs: Cell,
}
