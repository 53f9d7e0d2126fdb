//! Views of an engine for simulations and fuzzers, which know what it must do and look whether it does.

use super::Engine;
use super::peer::Reading;
use super::slots::SlotId;
use crate::hub::Hub;
use crate::id::CommandId;
use crate::job::Ticket;
use crate::limits::Limits;
use crate::wire::outbox::{Arena, Outbox};

impl Engine {
    /// The subscriptions of this reactor.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The limits that hold.
    pub fn limits(&self) -> &Limits {
        &self.setup.policy.limits
    }

    /// The peer and the command that wait for a ticket's completion; `None` if none do, or no command asked for it.
    pub fn asker(&self, ticket: Ticket) -> Option<(SlotId, CommandId)> {
        self.pending.asker(ticket)
    }

    /// The commands of a peer that wait for a worker.
    pub fn commands_of(&self, id: SlotId) -> usize {
        self.pending.commands_of(id)
    }

    /// The outbox of a peer, with the arena that it refers to; `None` if the peer is gone or about to go.
    pub fn outbox(&self, id: SlotId) -> Option<(&Outbox, &Arena)> {
        let peer = self.peers.get(id).filter(|peer| peer.reading != Reading::Dead)?;
        Some((&peer.outbox, &self.scratch.arena))
    }
}
