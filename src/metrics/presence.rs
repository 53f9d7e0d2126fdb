//! Counters of the rosters.

use super::Cell;
use crate::roster::RosterSizes;

/// Totals since the start, and current sizes. The presence thread is the only writer.
#[derive(Debug, Default)]
pub struct PresenceCounters {
    /// Channels with a roster.
    pub rosters: Cell,
    /// Users, once for each roster that they are on.
    pub members: Cell,
    /// Connections, once for each roster that they are on.
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
}

impl PresenceCounters {
    /// Notes the sizes.
    pub fn report(&self, sizes: RosterSizes) {
        self.rosters.set(sizes.rosters as u64);
        self.members.set(sizes.members);
        self.connections.set(sizes.connections);
        self.watched.set(sizes.watched);
    }
}
