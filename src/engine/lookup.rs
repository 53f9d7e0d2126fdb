//! Answers about sessions, for operators and for the log.

use super::Engine;
use super::ended::EndedSession;
use super::peer::Peer;
use super::slots::SlotId;
use crate::job::lookup::{SESSIONS_MAX, SessionEnd, SessionRecord, Wanted};

impl Engine {
    /// The sessions that are wanted: the open ones, then the ended ones, newest first. It looks at every peer.
    pub fn look_up(&self, wanted: &Wanted) -> Vec<SessionRecord> {
        let open = self.peers.iter().filter_map(|(_, peer)| self.open_session(peer));
        let open = open.filter(|session| wanted.is(session.connection, &session.user));
        let ended = self.ended.newest().filter(|session| wanted.is(session.connection, session.user()));
        open.chain(ended.map(record)).take(SESSIONS_MAX).collect()
    }

    /// The session of a peer, if it is open.
    pub fn session_of(&self, id: SlotId) -> Option<SessionRecord> {
        self.open_session(self.peers.get(id)?)
    }

    fn open_session(&self, peer: &Peer) -> Option<SessionRecord> {
        let chat = peer.chat()?;
        let (client, opened) = chat.session.client()?;
        let lasted = self.now.at.since(opened).as_millis();
        Some(SessionRecord {
            connection: chat.name,
            user: Box::from(chat.session.user()?.as_str()),
            client: Box::from(client),
            address: peer.address,
            opened_unix_ms: self.now.unix_ms.saturating_sub(u64::try_from(lasted).unwrap_or(u64::MAX)),
            end: None,
        })
    }
}

fn record(session: &EndedSession) -> SessionRecord {
    SessionRecord {
        connection: session.connection,
        user: Box::from(session.user()),
        client: Box::from(session.client()),
        address: session.address(),
        opened_unix_ms: session.opened_unix_ms(),
        end: Some(SessionEnd {
            unix_ms: session.ended_unix_ms,
            code: session.code,
            reason: session.reason,
            reference: Box::from(session.reference()),
        }),
    }
}
