//! Accepts as many connections as there is room for, without spinning while there is none.

use super::Reactor;
use super::socket::{Socket, token_of};
use crate::clock::Moment;
use crate::engine::{AcceptQuota, Transport};
use mio::Interest;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The pause after a failed accept, or while the process is full: the kernel keeps waiting connections.
const REST: Duration = Duration::from_millis(50);

/// The next time to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// When the poll reports the listener.
    Edge,
    /// In this turn: the poll reported the listener, or the last turn left connections.
    Now,
    /// At this moment: there was no room, or arriving connections have to wait.
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
        let now = self.engine.now().at;
        match self.accepting {
            Accepting::Now => {}
            Accepting::After(due) if due <= now => {}
            Accepting::Edge | Accepting::After(_) | Accepting::Never => return,
        }
        self.accepting = Accepting::Now;
        let quota = match self.engine.accept_quota() {
            AcceptQuota::Now(quota) => quota,
            AcceptQuota::After(moment) => {
                self.accepting = Accepting::After(moment);
                return;
            }
        };
        let before = self.counters.accepted.read();
        for _ in 0..quota {
            if self.engine.is_crowded() {
                self.accepting = Accepting::After(now + REST);
                break;
            }
            // Heads are read in the order of arrival, so further connections would only wait here.
            if self.engine.has_heads_enough() || !self.accept_one() {
                break;
            }
        }
        let accepted = self.counters.accepted.read().wrapping_sub(before) as u32;
        if accepted > 0 {
            self.engine.handle_accept_time(self.setup.clock.moment().since(now), accepted);
        }
    }

    /// Accepts the next connection; false if there is none, or accepting failed.
    pub(super) fn accept_one(&mut self) -> bool {
        let Some(listener) = &self.listener else { return false };
        match listener.accept() {
            Ok((stream, peer)) => self.take_in(stream, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.accepting = Accepting::Edge;
                return false;
            }
            // The client left before it was accepted, or the call was interrupted.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                self.counters.accept_failures.add(1);
                tracing::warn!(%error, "cannot accept; trying again in 50 ms");
                self.accepting = Accepting::After(self.engine.now().at + REST);
                return false;
            }
        }
        true
    }

    fn take_in(&mut self, stream: mio::net::TcpStream, peer: SocketAddr) {
        self.counters.accepted.add(1);
        let transport = if self.setup.tls.is_some() { Transport::Handshaking } else { Transport::Plain };
        let Some(id) = self.engine.handle_accepted(peer.ip(), transport) else { return };
        let tls = match self.new_tls() {
            Ok(tls) => tls,
            Err(error) => {
                tracing::error!(%error, "cannot begin a TLS connection; it is dropped");
                return self.engine.handle_broken(id);
            }
        };
        let mut socket = Socket { stream, tls };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket.stream, token_of(id), interest) {
            self.counters.accept_failures.add(1);
            tracing::warn!(%error, "cannot watch an accepted connection; it is dropped");
            self.engine.handle_broken(id);
        }
        self.sockets.insert(id, socket);
    }
}
