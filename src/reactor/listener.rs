//! A reactor's listener, which closes without losing connections that are still being established.
//!
//! A connection passes through two queues of the kernel before [`accept`](super::accept) sees it: incomplete handshakes, and
//! connections that were not accepted yet. When a listener closes, the kernel resets both, even if another process listens at
//! the same address (unless `net.ipv4.tcp_migrate_req` is 1, which no system sets by default). So a listener that shares its
//! port closes in two steps. First a packet filter on it keeps new handshakes from beginning, while handshakes under way
//! are completed and accepted. Then it closes. A client whose first packet was filtered sends it again after a second (RFC 6298
//! section 2) and reaches only the successor.

use super::Reactor;
use super::accept::Accepting;
use crate::clock::Moment;
use crate::limits::{LISTEN_BACKLOG, UNSENT_BYTES_MAX};
use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The time for handshakes that have begun: longer than a round trip to most clients, and shorter than the second after which
/// a client repeats a filtered first packet.
const HANDOVER: Duration = Duration::from_millis(500);

/// The use of the listener's address by other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// No other process listens there.
    Own,
    /// A successor may listen there.
    Shared,
}

/// The progress of closing the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// Until then it accepts connections whose handshakes have begun.
    HandingOver(Moment),
    Left,
}

impl Leaving {
    pub(super) fn due(self) -> Option<Moment> {
        match self {
            Leaving::HandingOver(until) => Some(until),
            Leaving::No | Leaving::Left => None,
        }
    }
}

/// Opens one reactor's listener. Several share an address by `SO_REUSEPORT`, and the kernel spreads connections over them.
///
/// Accepted sockets inherit two options: no delay, because a chat's messages are small and each is sent whole, and a bound on
/// the unsent bytes that the kernel holds.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Reactor {
    /// Closes the listener; call it each turn until it returns [`Leaving::Left`]. One that shares no port closes at once.
    pub(super) fn leave_port(&mut self) -> Leaving {
        self.leaving_port = match (self.leaving_port, self.setup.port, &self.listener) {
            (Leaving::No, Port::Shared, Some(listener)) => match begin_no_handshake(listener) {
                Ok(()) => Leaving::HandingOver(self.engine.now().at + HANDOVER),
                Err(error) => {
                    tracing::warn!(%error, "listener not filtered; connections that begin now may be reset");
                    self.close_port()
                }
            },
            (Leaving::HandingOver(until), _, Some(_)) if self.engine.now().at < until => {
                Leaving::HandingOver(until)
            }
            (Leaving::No | Leaving::HandingOver(_) | Leaving::Left, _, _) => self.close_port(),
        };
        self.leaving_port
    }

    /// Accepts the connections that wait, and closes in the same turn, so that as few as possible arrive in between.
    fn close_port(&mut self) -> Leaving {
        if self.listener.is_some() {
            // Twice as many as can wait, because some arrive meanwhile.
            for _ in 0..=2 * LISTEN_BACKLOG {
                if !self.accept_one() {
                    break;
                }
            }
        }
        self.accepting = Accepting::Never;
        self.listener = None;
        Leaving::Left
    }
}

/// Drops every first packet of a handshake (SYN without ACK, RFC 9293 section 3.5) and lets all others pass.
fn begin_no_handshake(listener: &TcpListener) -> io::Result<()> {
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// The offset of the flags in a TCP header, and two of them.
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let step = |code, jump_false, value| SockFilter::new(code, 0, jump_false, value);
    SockRef::from(listener).attach_filter(&[
        step(LOAD_BYTE, 0, FLAGS_AT),
        step(AND, 0, SYN | ACK),
        step(JUMP_IF_EQUAL, 1, SYN),
        step(RETURN, 0, 0),
        step(RETURN, 0, u32::MAX),
    ])
}
