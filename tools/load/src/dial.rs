//! Schedules dials and picks their source addresses.

use crate::arguments::{Common, Scheme};
use crate::member::Member;
use crate::socket::{self, Sources};
use crate::tls::{self, Tls};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ClientConfig;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Dials per turn. The bound keeps arriving messages from waiting long.
const DIALS_PER_TURN: usize = 128;
/// Descriptors reserved for everything but connections.
const RESERVED: u64 = 32;
/// First step, cap and minimum of the reconnect backoff, as the protocol requires of clients.
const BACKOFF: (Duration, Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(15), Duration::from_millis(100));

/// The consequence of a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It is recorded as a fault.
    Fault,
    /// It is dialled again, when the server said or else by the backoff.
    Redial,
}

/// Dials members, with a bound on how many at once.
#[derive(Debug)]
pub(crate) struct Dialer {
    target: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    sources: Sources,
    queue: VecDeque<usize>,
    later: BinaryHeap<Reverse<(Instant, usize)>>,
    under_way: usize,
    at_once: usize,
    this_turn: usize,
    loss: Loss,
    pub(crate) retries: u64,
}

impl Dialer {
    /// Creates a dialer for this many members. Raises the descriptor limit as far as allowed.
    pub(crate) fn new(common: &Common, members: usize) -> Result<Dialer, String> {
        let limit = socket::raise_descriptors();
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
        let sources = match common.source {
            Some(net) => Sources::new(Some(net)),
            None => Sources::usual(common.target.address),
        };
        Ok(Dialer {
            target: common.target.address,
            tls,
            sources,
            queue: VecDeque::new(),
            later: BinaryHeap::new(),
            under_way: 0,
            at_once: common.concurrency as usize,
            this_turn: 0,
            loss: Loss::Fault,
            retries: 0,
        })
    }

    pub(crate) fn target(&self) -> SocketAddr {
        self.target
    }

    /// A TLS session for a new connection; `None` if the target is plain.
    pub(crate) fn tls(&self) -> Result<Option<Box<Tls>>, String> {
        let make = |config| Tls::new(config, self.target.ip()).map(Box::new);
        self.tls.as_ref().map(make).transpose()
    }

    /// Changes the bound on concurrent dials and the treatment of losses.
    pub(crate) fn change(&mut self, at_once: usize, loss: Loss) {
        self.at_once = at_once;
        self.loss = loss;
    }

    /// True if lost connections are dialled again.
    pub(crate) fn redials(&self) -> bool {
        self.loss == Loss::Redial
    }

    pub(crate) fn enqueue(&mut self, members: impl IntoIterator<Item = usize>) {
        self.queue.extend(members);
    }

    pub(crate) fn enqueue_at(&mut self, member: usize, moment: Instant) {
        self.later.push(Reverse((moment, member)));
    }

    /// Schedules another dial of a lost member: when the server said, else by the backoff.
    pub(crate) fn again(&mut self, number: usize, member: &mut Member, now: Instant) {
        self.retries += 1;
        let hinted = member.retry_ms.take().map(Duration::from_millis);
        let wait = hinted.unwrap_or_else(|| backoff(member.attempts, fastrand::f64()));
        member.attempts += 1;
        self.enqueue_at(number, now + wait);
    }

    /// True if a member could be dialled now.
    pub(crate) fn has_room(&self) -> bool {
        !self.queue.is_empty() && self.under_way < self.at_once
    }

    /// The next member to dial in this turn.
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

    /// Records that a dial has finished, successfully or not.
    pub(crate) fn arrived(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    pub(crate) fn open(&mut self, registry: &Registry, token: Token) -> io::Result<TcpStream> {
        let mut stream = self.sources.dial(self.target)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }
}

/// The wait before attempt `attempts`, with `random` in 0..1.
fn backoff(attempts: u32, random: f64) -> Duration {
    let (first, most, least) = BACKOFF;
    first.saturating_mul(1 << attempts.min(16)).min(most).mul_f64(random).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap_and_respects_its_minimum() {
        assert_eq!(backoff(0, 1.0), Duration::from_millis(500));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(4));
        assert_eq!(backoff(60, 1.0), Duration::from_secs(15));
        assert_eq!(backoff(60, 0.0), Duration::from_millis(100));
    }
}
