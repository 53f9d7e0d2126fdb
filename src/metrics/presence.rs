//! Counters of the rosters.

use super::Cell;
use crate::roster::RosterSizes;

/// Totals since the start, and current sizes. The presence thread is the only writer.
#[derive(Debug, Default)]
pub struct PresenceCounters {
    /// Channels with a roster.
    pub rosters: Cell,
    /// Users at this instance, once for each roster that they are on.
    pub members: Cell,
    /// Connections at this instance, once for each roster that they are on.
    pub connections: Cell,
    /// Rosters with watchers.
    pub watched: Cell,
    /// Events of reactors.
    pub events: Cell,
    /// Frames made for watchers, however many they were sent to.
    pub pushes: Cell,
    /// Pages read by commands and operators.
    pub pages: Cell,
    /// Recounts: a reactor repeated what it has, because the queue of events had been full or the rosters were lost.
    pub recounts: Cell,
    /// Frames that a reactor had no room for, so that its watchers got snapshots.
    pub missed: Cell,
    /// Rosters that are kept up to date with other instances, and the memory of those members in bytes.
    pub views: Cell,
    pub views_bytes: Cell,
    /// Rosters with changes that are not written for other instances yet.
    pub unwritten: Cell,
    /// Changes of rosters written for other instances, and batches of them that failed.
    pub writes: Cell,
    pub writes_failed: Cell,
    /// Rosters read with the segments of all instances.
    pub reads: Cell,
    /// Rosters that an audit found changed in Redis, so that they were written again.
    pub repairs: Cell,
    /// Messages of other instances: applied; known already; with one missing before them.
    pub deltas_applied: Cell,
    pub deltas_old: Cell,
    pub deltas_gap: Cell,
}

impl PresenceCounters {
    /// Notes the sizes.
    pub fn report(&self, sizes: RosterSizes) {
        self.rosters.set(sizes.rosters as u64);
        self.members.set(sizes.members);
        self.connections.set(sizes.connections);
        self.watched.set(sizes.watched);
        self.views.set(sizes.views as u64);
        self.views_bytes.set(sizes.views_bytes as u64);
        self.unwritten.set(sizes.unwritten as u64);
    }
}
