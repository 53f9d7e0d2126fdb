//! Flags: when they change, each session is sent the names that are on for it, a few hundred a turn.

use crate::clock::Moment;
use crate::engine::Engine;
use crate::engine::slots::SlotId;
use crate::flag::{FlagSet, Flags};
use crate::limits::TELLS_PER_TURN;
use crate::metrics::flags::FlagClients;
use std::sync::Arc;
use std::time::Duration;

/// The delay after which a full outbox is offered the flags again.
const LATE_PERIOD: Duration = Duration::from_secs(1);

/// The flags of this turn, and the sessions that do not know them yet.
#[derive(Debug, Default)]
pub(in crate::engine) struct FlagRound {
    pub(in crate::engine) flags: Arc<Flags>,
    left: Vec<SlotId>,
    /// Peers whose outboxes were full.
    late: Vec<SlotId>,
    again: Moment,
    /// The clients by flag, without the canary.
    pub(in crate::engine) clients: FlagClients,
    /// The numbers that were taken last.
    taken: FlagClients,
}

impl FlagRound {
    /// True exactly when no session is to be notified now.
    pub(in crate::engine) fn is_done(&self) -> bool {
        self.left.is_empty()
    }
}

impl Engine {
    /// Takes the flags if they have changed, which costs one comparison otherwise, and notifies the next sessions.
    pub(in crate::engine) fn tell_flags(&mut self) {
        let revision = self.setup.vitals.flags.revision();
        let round = &mut self.rounds.clients.flags;
        if revision != round.flags.revision() {
            round.flags = self.setup.vitals.flags.load();
            round.clients = FlagClients::of(&round.flags);
            (round.left, round.late) = (self.peers.ids(), Vec::new());
        }
        if round.left.is_empty() && !round.late.is_empty() && round.again <= self.now.at {
            round.left = std::mem::take(&mut round.late);
        }
        let from = round.left.len().saturating_sub(TELLS_PER_TURN);
        for id in round.left.split_off(from) {
            self.tell_flags_to(id);
        }
    }

    /// A session that is not `connected` yet learns its flags from `connected`.
    fn tell_flags_to(&mut self, id: SlotId) {
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize;
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.is_open()) else { return };
        if peer.outbox.bytes() >= bytes_max {
            self.rounds.clients.flags.late.push(id);
            self.rounds.clients.flags.again = self.now.at + LATE_PERIOD;
            return;
        }
        let (mut known, mut sent) = (FlagSet::default(), FlagSet::default());
        self.with_session(id, |session, cx| {
            known = session.flags();
            session.tell_flags(cx);
            sent = session.flags();
        });
        if self.peers.get(id).and_then(|peer| peer.chat()).is_some_and(|chat| !chat.session.is_of_canary()) {
            self.rounds.clients.flags.clients.leave(known);
            self.rounds.clients.flags.clients.enter(sent);
        }
    }

    /// The numbers of clients by flag, if they have changed since the last call.
    pub fn take_flag_clients(&mut self) -> Option<FlagClients> {
        let FlagRound { clients, taken, .. } = &mut self.rounds.clients.flags;
        (*clients != *taken).then(|| {
            taken.clone_from(clients);
            clients.clone()
        })
    }
}
