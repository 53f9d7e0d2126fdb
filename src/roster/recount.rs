//! Recounts: a reactor whose event was lost repeats everything that it holds, and what it does not repeat is gone.

use super::event::ConnectionId;
use crate::id::{ChannelName, ReactorId, UserName};
use std::collections::HashMap;

/// A membership of a reactor's connection that was not repeated yet.
pub(super) type Unconfirmed = HashMap<(ChannelName, u64), UserName>;

/// The recounts in progress.
#[derive(Debug, Default)]
pub(super) struct Recounts(HashMap<ReactorId, Unconfirmed>);

impl Recounts {
    /// Begins a recount of a reactor that has these memberships as far as is known.
    pub(super) fn begin(&mut self, reactor: ReactorId, known: Unconfirmed) {
        self.0.insert(reactor, known);
    }

    /// Notes that a reactor has this membership.
    pub(super) fn confirm(&mut self, channel: &ChannelName, connection: ConnectionId) {
        if self.0.is_empty() {
            return;
        }
        if let Some(unconfirmed) = self.0.get_mut(&connection.reactor) {
            unconfirmed.remove(&(channel.clone(), connection.name));
        }
    }

    /// Ends a recount, and returns the memberships that the reactor does not have any more.
    pub(super) fn end(&mut self, reactor: ReactorId) -> Unconfirmed {
        self.0.remove(&reactor).unwrap_or_default()
    }
}
