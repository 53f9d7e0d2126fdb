//! A reactor's listener: how it is opened, and how it is left without losing who is on the way in.
//!
//! Who connects goes through two queues of the kernel before [`accept`](super::accept) sees him: handshakes that are not
//! complete, and connections that nobody took. When a listener closes, the kernel resets both, also where another
//! process listens at the same address (unless `net.ipv4.tcp_migrate_req` is 1, which no system sets by itself). So a
//! listener that shares its port is left in two steps: from now on no new handshake begins here, which a packet filter
//! on the listener sees to; what has begun is completed and accepted. Then it closes. A client whose first packet was
//! filtered sends it again after a second (RFC 6298 section 2) and finds only the successor.

use super::Reactor;
use super::accept::Accepting;
use crate::clock::Moment;
use crate::limits::{LISTEN_BACKLOG, UNSENT_BYTES_MAX};
use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// For handshakes that have begun: longer than a round trip to most clients, and shorter than the second after which
/// a filtered first packet comes again.
const HANDOVER: Duration = Duration::from_millis(500);

/// Whether another process may listen at the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// None does.
    Own,
    /// A successor may.
    Shared,
}

/// How far the listener is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It takes in whoever comes.
    No,
    /// It takes in who was on the way, until then.
    HandingOver(Moment),
    /// It is closed.
    Left,
}

impl Leaving {
    /// When there is something to do again.
    pub(super) fn due(self) -> Option<Moment> {
        match self {
            Leaving::HandingOver(until) => Some(until),
            Leaving::No | Leaving::Left => None,
        }
    }
}

/// Opens one reactor's listener. Several share an address by `SO_REUSEPORT`, and the kernel spreads
/// connections over them.
///
/// What accepted sockets inherit is set here: no delay, since a chat's messages are small and each is sent
/// whole, and a bound on what the kernel holds unsent.
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
    /// Leaves the port; to be called each turn until it answers [`Leaving::Left`]. A port of its own is left at once.
    pub(super) fn leave_port(&mut self) -> Leaving {
        self.leaving_port = match (self.leaving_port, self.setup.port, &self.listener) {
            (Leaving::No, Port::Shared, Some(listener)) => match begin_no_handshake(listener) {
                Ok(()) => Leaving::HandingOver(self.engine.now().at + HANDOVER),
                Err(error) => {
                    tracing::warn!(%error, "cannot filter the listener: who connects in this moment may be reset");
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

    /// Takes in who waits, then closes in the same turn: the time in which somebody may still come is as short as can be.
    fn close_port(&mut self) -> Leaving {
        if self.listener.is_some() {
            // Twice as many as can wait: some come meanwhile.
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
    /// Where the flags stand in a TCP header, and two of them.
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
