//! Clients: their flags, their versions, and their returns, which are reported once the client has everything that it recovers.

pub(super) mod flags;
pub(super) mod versions;

use super::Engine;
use super::peer::Peer;
use super::slots::SlotId;
use crate::auth::party::Party;
use crate::clock::Moment;
use crate::session::ReturningClient;
use crate::slo::returns::ClientReturn;
use flags::FlagRound;
use std::collections::VecDeque;
use std::time::Duration;
use versions::ClientVersions;

/// The time between two looks at returning clients: turns may be much more frequent while many recover.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// Returning clients that a look examines, so that it takes well under a millisecond. 10,000 that return together are all seen within a second.
const CLIENTS_PER_LOOK: usize = 1_024;

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
    waiting: VecDeque<(SlotId, Box<ReturningClient>)>,
    look_at: Moment,
    /// To be taken by the shell.
    done: Vec<ClientReturn>,
}

impl ClientSide {
    /// The moment of the next look at returning clients.
    pub(super) fn due(&self) -> Option<Moment> {
        (!self.returning.waiting.is_empty()).then_some(self.returning.look_at)
    }
}

impl Engine {
    /// Notes a client that is `connected`: its version and flags, and its last connection if it had one.
    pub(super) fn note_client(&mut self, id: SlotId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let (address, owner) = (peer.address, peer.owner);
        let Some(chat) = peer.chat_mut() else { return };
        let client = chat.session.client().map_or("", |(client, _)| client);
        let party = || match chat.session.sharing_user() {
            Some(user) => Some(Party::User(user.clone())),
            None => owner.client(address).map(Party::of),
        };
        chat.version = self.rounds.clients.versions.enter(client, party);
        self.rounds.clients.flags.clients.enter(chat.session.flags());
        if let Some(client) = chat.session.take_returning() {
            self.rounds.clients.returning.waiting.push_back((id, client));
        }
    }

    /// Finds the clients that have recovered everything, or have left again. A subscription that was once up to date is recovered, even if
    /// its client reads too slowly afterwards.
    pub(super) fn look_at_returns(&mut self) {
        let Returning { waiting, look_at, done } = &mut self.rounds.clients.returning;
        if waiting.is_empty() || *look_at > self.now.at {
            return;
        }
        *look_at = self.now.at + LOOK_PERIOD;
        for _ in 0..waiting.len().min(CLIENTS_PER_LOOK) {
            let Some((id, mut client)) = waiting.pop_front() else { break };
            let hub = &self.hub;
            // One that has ended has no name.
            client.restored.retain(|one| hub.name(*one).is_some() && !hub.is_live(*one));
            if !client.restored.is_empty() && self.peers.get(id).and_then(Peer::chat).is_some() {
                waiting.push_back((id, client));
                continue;
            }
            let ReturningClient { previous, asked, .. } = *client;
            let restore_ms = u32::try_from(self.now.at.since(asked).as_millis()).unwrap_or(u32::MAX);
            done.push(ClientReturn { previous: *previous, restore_ms });
        }
    }

    /// Takes the clients that returned since the last call.
    pub fn take_returns(&mut self) -> Vec<ClientReturn> {
        std::mem::take(&mut self.rounds.clients.returning.done)
    }
}
