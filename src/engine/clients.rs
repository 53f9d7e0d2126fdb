//! Clients: their flags, their versions, and their returns, which are reported once the client has everything that it recovers.

pub(super) mod flags;
pub(super) mod versions;

use super::Engine;
use super::peer::Peer;
use super::slots::SlotId;
use crate::clock::Moment;
use crate::slo::returns::ClientReturn;
use crate::wire::command::Previous;
use flags::FlagRound;
use std::collections::VecDeque;
use versions::ClientVersions;

/// Returning clients that a turn looks at.
const LOOKS_PER_TURN: usize = 256;

/// The knowledge about clients.
#[derive(Debug, Default)]
pub(super) struct ClientSide {
    pub(super) flags: FlagRound,
    pub(super) versions: ClientVersions,
    returning: Returning,
}

/// Clients that are connected again and have not been reported.
#[derive(Debug, Default)]
struct Returning {
    waiting: VecDeque<(SlotId, Box<Previous>, Moment)>,
    /// To be taken by the shell.
    done: Vec<ClientReturn>,
}

impl Engine {
    /// Notes a client that is `connected`: its version and flags, and its last connection if it had one.
    pub(super) fn note_client(&mut self, id: SlotId) {
        let Some(chat) = self.peers.get_mut(id).and_then(Peer::chat_mut) else { return };
        let client = chat.session.client().map_or("", |(client, _)| client);
        chat.version = self.rounds.clients.versions.enter(client);
        self.rounds.clients.flags.clients.enter(chat.session.flags());
        if let Some((previous, asked)) = chat.session.take_returning() {
            self.rounds.clients.returning.waiting.push_back((id, previous, asked));
        }
    }

    /// Finds the clients that have recovered everything, or have left again.
    pub(super) fn look_at_returns(&mut self) {
        for _ in 0..self.rounds.clients.returning.waiting.len().min(LOOKS_PER_TURN) {
            let Some((id, previous, asked)) = self.rounds.clients.returning.waiting.pop_front() else {
                break;
            };
            let chat = self.peers.get(id).and_then(Peer::chat);
            let recovers = chat.is_some_and(|chat| {
                chat.session.subscriptions().iter().any(|subscription| !self.hub.is_live(*subscription))
            });
            if recovers {
                self.rounds.clients.returning.waiting.push_back((id, previous, asked));
            } else {
                let restore_ms = u32::try_from(self.now.at.since(asked).as_millis()).unwrap_or(u32::MAX);
                let previous = *previous;
                self.rounds.clients.returning.done.push(ClientReturn { previous, restore_ms });
            }
        }
    }

    /// Takes the clients that returned since the last call.
    pub fn take_returns(&mut self) -> Vec<ClientReturn> {
        std::mem::take(&mut self.rounds.clients.returning.done)
    }
}
