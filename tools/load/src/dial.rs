//! Who is dialled when, from which address.

use crate::arguments::{Common, Scheme};
use crate::member::Member;
use crate::tls::{self, Tls};
use ipnet::Ipv4Net;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Dials of one turn: what arrives meanwhile must not wait long.
const DIALS_PER_TURN: usize = 128;
/// Descriptors kept for everything but connections.
const RESERVED: u64 = 32;
/// First step of the backoff, its cap, and the least it waits: what clients of the protocol owe.
const BACKOFF: (Duration, Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(15), Duration::from_millis(100));

/// Whether a lost connection is dialled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It is a fault.
    Fault,
    /// It is dialled again, when the server said, or by the backoff clients owe.
    Redial,
}

/// Dials members, so many at once.
#[derive(Debug)]
pub(crate) struct Dialer {
    target: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    source: Option<Ipv4Net>,
    next_source: u32,
    queue: VecDeque<usize>,
    later: BinaryHeap<Reverse<(Instant, usize)>>,
    under_way: usize,
    at_once: usize,
    this_turn: usize,
    loss: Loss,
    /// Dials after a loss.
    pub(crate) retries: u64,
}

impl Dialer {
    /// A dialer for so many members; raises the descriptor limit as far as it goes.
    pub(crate) fn new(common: &Common, members: usize) -> Result<Dialer, String> {
        let limit = raise_descriptors();
        if members as u64 + RESERVED > limit {
            return Err(format!(
                "{members} connections need {} descriptors and this process may have {limit}: raise ulimit -n, or use \
                 fewer connections",
                members as u64 + RESERVED
            ));
        }
        let tls = match common.target.scheme {
            Scheme::Plain => None,
            Scheme::Tls => Some(tls::config(common.resuming)?),
        };
        let loopback = match common.target.address {
            SocketAddr::V4(target) => target.ip().is_loopback(),
            SocketAddr::V6(_) => false,
        };
        let usual = Ipv4Net::new(Ipv4Addr::new(127, 0, 1, 0), 24).ok().filter(|_| loopback);
        Ok(Dialer {
            target: common.target.address,
            tls,
            source: common.source.or(usual),
            next_source: 0,
            queue: VecDeque::new(),
            later: BinaryHeap::new(),
            under_way: 0,
            at_once: common.concurrency as usize,
            this_turn: 0,
            loss: Loss::Fault,
            retries: 0,
        })
    }

    /// Where it dials to.
    pub(crate) fn target(&self) -> SocketAddr {
        self.target
    }

    /// TLS for a new connection, where it is spoken.
    pub(crate) fn tls(&self) -> Result<Option<Box<Tls>>, String> {
        let make = |config| Tls::new(config, self.target.ip()).map(Box::new);
        self.tls.as_ref().map(make).transpose()
    }

    /// From now on so many at once, and losses are this.
    pub(crate) fn change(&mut self, at_once: usize, loss: Loss) {
        self.at_once = at_once;
        self.loss = loss;
    }

    /// Whether losses are dialled again.
    pub(crate) fn redials(&self) -> bool {
        self.loss == Loss::Redial
    }

    /// Dials these members as soon as there is room.
    pub(crate) fn enqueue(&mut self, members: impl IntoIterator<Item = usize>) {
        self.queue.extend(members);
    }

    /// Dials a member at a moment.
    pub(crate) fn enqueue_at(&mut self, member: usize, moment: Instant) {
        self.later.push(Reverse((moment, member)));
    }

    /// Dials a lost member again: when the server said, else by the backoff.
    pub(crate) fn again(&mut self, number: usize, member: &mut Member, now: Instant) {
        self.retries += 1;
        let hinted = member.retry_ms.take().map(Duration::from_millis);
        let wait = hinted.unwrap_or_else(|| backoff(member.attempts, fastrand::f64()));
        member.attempts += 1;
        self.enqueue_at(number, now + wait);
    }

    /// Whether one could be dialled at once.
    pub(crate) fn has_room(&self) -> bool {
        !self.queue.is_empty() && self.under_way < self.at_once
    }

    /// The next to dial in this turn.
    pub(crate) fn next(&mut self, now: Instant) -> Option<usize> {
        while let Some(Reverse((moment, member))) = self.later.peek().copied()
            && moment <= now
        {
            self.later.pop();
            self.queue.push_back(member);
        }
        if self.under_way >= self.at_once || self.this_turn == DIALS_PER_TURN {
            self.this_turn = 0;
            return None;
        }
        let Some(member) = self.queue.pop_front() else {
            self.this_turn = 0;
            return None;
        };
        self.this_turn += 1;
        self.under_way += 1;
        Some(member)
    }

    /// A dial came to its end, good or bad.
    pub(crate) fn arrived(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Opens a socket from the next source address.
    pub(crate) fn open(&mut self, registry: &Registry, token: Token) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.source_address() {
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&self.target.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    fn source_address(&mut self) -> Option<Ipv4Addr> {
        let net = self.source?;
        let first = u32::from(net.network());
        let hosts = (u32::from(net.broadcast()) - first).saturating_sub(1).max(1);
        let host = if net.prefix_len() < 31 { 1 + self.next_source % hosts } else { 0 };
        self.next_source = self.next_source.wrapping_add(1);
        Some(Ipv4Addr::from(first + host))
    }
}

/// How long to wait before attempt `attempts`, with `random` in 0 … 1.
fn backoff(attempts: u32, random: f64) -> Duration {
    let (first, most, least) = BACKOFF;
    first.saturating_mul(1 << attempts.min(16)).min(most).mul_f64(random).max(least)
}

fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_to_its_cap_and_keeps_its_least() {
        assert_eq!(backoff(0, 1.0), Duration::from_millis(500));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(4));
        assert_eq!(backoff(60, 1.0), Duration::from_secs(15));
        assert_eq!(backoff(60, 0.0), Duration::from_millis(100));
    }
}
