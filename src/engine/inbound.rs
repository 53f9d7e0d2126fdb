//! Bounds the bytes of requests and messages that have begun and not ended, all connections together.
//!
//! Each connection may hold one message, so without a total many connections would hold any amount. Over it the largest of a
//! connection that is not `connected` goes, and then those of the user with the most.

use super::Engine;
use super::holders::{Holder, victims};
use super::peer::{Peer, Reading, Standing};
use super::slots::SlotId;
use crate::close::CloseReason;

/// The setting that is exceeded.
const BOUND: &str = "limits.inbound_bytes_total";
/// The time after which the client of an ended connection should return, in milliseconds.
const RETRY_MS: u32 = 5_000;
/// The memory of a message besides its payload, whose buffer may be twice as long.
const MESSAGE_OVERHEAD_BYTES: u64 = 1_024;

impl Engine {
    /// Counts what a peer holds after a read, and enforces the total.
    pub(super) fn count_inbound(&mut self, id: SlotId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let bytes = peer.inbound_bytes();
        if bytes == peer.counted_inbound {
            return;
        }
        self.memory.inbound_bytes =
            self.memory.inbound_bytes + u64::from(bytes) - u64::from(peer.counted_inbound);
        peer.counted_inbound = bytes;
        if self.memory.inbound_bytes > self.inbound_bytes_max() {
            self.relieve_inbound();
        }
    }

    /// This reactor's share of `limits.inbound_bytes_total`, which has room for at least one message.
    fn inbound_bytes_max(&self) -> u64 {
        let limits = &self.setup.policy.limits;
        let share = limits.inbound_bytes_total / self.setup.reactors.max(1) as u64;
        share.max(2 * u64::from(limits.message_bytes) + MESSAGE_OVERHEAD_BYTES)
    }

    /// Ends connections until a tenth is free again.
    fn relieve_inbound(&mut self) {
        let bytes_max = self.inbound_bytes_max();
        let surplus = self.memory.inbound_bytes - bytes_max + bytes_max / 10;
        let strangers = self.inbound_holders(Standing::Stranger);
        let held: u64 = strangers.iter().map(|holder| holder.bytes).sum();
        let known = match surplus.saturating_sub(held) {
            0 => Vec::new(),
            rest => victims(self.inbound_holders(Standing::Known), rest),
        };
        for id in victims(strangers, surplus).into_iter().chain(known) {
            self.tally.inbound_displaced.add(1);
            self.close(id, CloseReason::OverCapacity { bound: BOUND, retry_ms: RETRY_MS });
            self.kill(id);
            self.forget_inbound(id);
        }
    }

    fn inbound_holders(&self, standing: Standing) -> Vec<Holder> {
        let holds = |peer: &Peer| {
            peer.counted_inbound > 0 && peer.standing == standing && peer.reading != Reading::Dead
        };
        let holders = self.peers.iter().filter(|(_, peer)| holds(peer)).map(|(id, peer)| {
            let bytes = u64::from(peer.counted_inbound);
            let party = match standing {
                // One party, because it costs a stranger little to come from many addresses.
                Standing::Stranger => None,
                Standing::Known => Some(peer.party()),
            };
            // The largest goes first.
            Holder { party, rank: u64::MAX - bytes, id, bytes }
        });
        holders.collect()
    }

    /// Releases what a peer was counted with, because it ends.
    pub(super) fn forget_inbound(&mut self, id: SlotId) {
        if let Some(peer) = self.peers.get_mut(id) {
            self.memory.inbound_bytes -= u64::from(std::mem::take(&mut peer.counted_inbound));
        }
    }
}
