//! Takes new connections in, as many as there is room for, and never spins when there is none.

use super::connection::{Connection, Expects};
use super::{ProxyHeader, Reactor};
use crate::clock::Moment;
use crate::limits::REFUSALS_AT_ONCE;
use mio::Interest;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// After a failed accept the listener is left alone for so long: the kernel keeps who waits.
const REST: Duration = Duration::from_millis(50);

/// When to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// When the poll says so.
    Edge,
    /// In this turn: an edge came, or the last turn left some.
    Now,
    /// From then on: there was no room, or those who arrive have to wait.
    After(Moment),
    /// Never again.
    Never,
}

impl Accepting {
    pub(super) fn due(self) -> Option<Moment> {
        match self {
            Accepting::After(due) => Some(due),
            Accepting::Edge | Accepting::Now | Accepting::Never => None,
        }
    }
}

impl Reactor {
    pub(super) fn accept(&mut self) {
        match self.accepting {
            Accepting::Now => {}
            Accepting::After(due) if due <= self.now.at => {}
            Accepting::Edge | Accepting::After(_) | Accepting::Never => return,
        }
        self.accepting = Accepting::Now;
        if self.arrivals.rests(self.now.at) {
            self.accepting = Accepting::After(self.arrivals.rests_until());
            return;
        }
        if self.handshakes.rests(self.now.at) {
            // Refusals alone would take too much: the kernel keeps who waits.
            self.accepting = Accepting::After(self.now.at + REST);
            return;
        }
        let before = self.counters.accepted.read();
        for _ in 0..self.arrivals.accepts(self.now.at) {
            // They are read in the order they came, so more of them would only wait here.
            if self.is_crowded() {
                self.accepting = Accepting::After(self.now.at + REST);
                break;
            }
            if self.has_heads_enough() || !self.accept_one() {
                break;
            }
        }
        if self.counters.accepted.read() != before {
            self.spent(self.setup.clock.moment().since(self.now.at));
        }
    }

    /// Takes the next one in; false when there is none, or the system gives none.
    pub(super) fn accept_one(&mut self) -> bool {
        let Some(listener) = &self.listener else { return false };
        match listener.accept() {
            Ok((socket, peer)) => self.take_in(socket, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.accepting = Accepting::Edge;
                return false;
            }
            // The peer left before it was taken, or the call was interrupted.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                self.counters.accept_failures.add(1);
                tracing::warn!(%error, "cannot accept; trying again in 50 ms");
                self.accepting = Accepting::After(self.now.at + REST);
                return false;
            }
        }
        true
    }

    /// Past the bound some more are taken, only to be told so; past these the kernel keeps them waiting.
    fn is_crowded(&self) -> bool {
        let vitals = &self.setup.vitals;
        let others: u64 = vitals
            .reactors
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != usize::from(self.id.0))
            .map(|(_, reactor)| reactor.connections.read())
            .sum();
        others + self.slots.len() as u64 >= vitals.connections_max() + REFUSALS_AT_ONCE as u64
    }

    fn take_in(&mut self, socket: mio::net::TcpStream, peer: SocketAddr) {
        self.counters.accepted.add(1);
        let peer = peer.ip().to_canonical();
        let expects = match self.setup.proxy_header {
            ProxyHeader::Off => Expects::FirstHead,
            ProxyHeader::Required => {
                if !self.setup.trusted_proxies.iter().any(|network| network.contains(&peer)) {
                    return;
                }
                Expects::ProxyHeader
            }
        };
        let id = self.slots.insert(Connection::new(socket, peer, expects, self.now.at));
        let Some(connection) = self.slots.get_mut(id) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut connection.socket, id.token(), interest) {
            self.counters.accept_failures.add(1);
            tracing::warn!(%error, "cannot watch an accepted connection; it is dropped");
            self.kill(id);
            return;
        }
        self.secure(id);
        self.schedule(id);
    }
}
