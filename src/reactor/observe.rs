//! The end of a turn: what others may see of it.

use super::{Reactor, SLOW_TURN};
use crate::limits::{ARENA_BYTES_KEPT, ARENA_BYTES_MAX};

impl Reactor {
    /// True exactly when this turn wrote as much for single connections as it should before it flushes.
    pub(super) fn turn_is_full(&self) -> bool {
        self.arena.bytes() + self.sharing.bytes() > ARENA_BYTES_MAX
    }

    /// Shows what others may see, and forgets what the turn no longer needs.
    pub(super) fn observe(&mut self) {
        self.arena.clear(ARENA_BYTES_KEPT);
        self.sharing.clear();
        let counters = &self.counters;
        for code in self.refused.drain(..) {
            counters.count_error(code);
        }
        counters.turns.add(1);
        counters.connections.set(self.slots.len() as u64);
        counters.pending.set(self.pending.len() as u64);
        counters.outbox_bytes.set(self.waiting_bytes);
        counters.recoveries_waiting.set(self.recoveries.waiting() as u64);
        let (channels, subscriptions, tail_bytes) = self.hub.sizes();
        counters.channels.set(channels as u64);
        counters.subscriptions.set(subscriptions as u64);
        counters.tail_bytes.set(tail_bytes as u64);
        if let Some(vitals) = self.setup.vitals.reactors.get(usize::from(self.id.0)) {
            let end = self.setup.clock.read().at;
            let busy = end.since(self.now.at);
            let runs = counters.runs.read();
            if runs != self.runs_before {
                self.runs_before = runs;
                // Without what handshakes took: a wait saves nothing of that.
                self.fan_out = busy.saturating_sub(self.handshake_time);
            }
            if busy > SLOW_TURN {
                counters.slow_turns.add(1);
            }
            vitals.note_turn(self.now.at, end);
            vitals.connections.set(self.slots.len() as u64);
            self.measure_arrivals(busy);
        }
    }
}
