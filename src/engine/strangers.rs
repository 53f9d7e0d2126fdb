//! Bounds the connections that are not `connected`, so that clients without a token cannot take the places of those with one.
//!
//! They have a quarter of `limits.connections`, divided among the reactors. Over it the oldest goes, or an older one of an
//! address that has most of the oldest: one machine that opens connections displaces its own first. A handshake has at least
//! [`HANDSHAKE_TIME`] while the process has room; once it is nearly full, the share applies at once.

use super::Engine;
use super::peer::{Reading, Standing};
use super::slots::SlotId;
use crate::clock::Moment;
use crate::close::CloseReason;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// The part of `limits.connections` for connections that are not `connected`: one in this many.
const SHARE: u64 = 4;
/// The process is nearly full once fewer than one in this many of its connections are free.
const NEARLY: u64 = 8;
/// The time in which a client can complete its handshake before it may be displaced.
const HANDSHAKE_TIME: Duration = Duration::from_secs(1);
/// The oldest connections among which one is chosen.
const COMPARED: usize = 32;
/// The setting that is exceeded.
const BOUND: &str = "limits.connections";
/// The time after which a displaced client should return, in milliseconds.
const RETRY_MS: u32 = 5_000;

/// The connections that are not `connected`, oldest first. Ended and connected ones stay on the list until it is next looked
/// through.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    waiting: VecDeque<Stranger>,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Stranger {
    id: SlotId,
    since: Moment,
    /// The address by which it shares; `None` for a trusted proxy, which connects for many clients.
    address: Option<IpAddr>,
}

impl Engine {
    /// Lists an accepted connection, and makes room for it in the share.
    pub(super) fn list_stranger(&mut self, id: SlotId, address: Option<IpAddr>) {
        self.arrivals.strangers.waiting.push_back(Stranger { id, since: self.now.at, address });
        self.arrivals.strangers.count += 1;
        if self.strangers_are_full() {
            self.displace_strangers();
        } else if self.arrivals.strangers.waiting.len() > 2 * self.arrivals.strangers.count + COMPARED {
            self.forget_known();
        }
        self.tally.unconnected.set(self.arrivals.strangers.count as u64);
    }

    /// Takes a connection out of the share, because it is `connected`, serves an echo or has ended.
    pub(super) fn admit_stranger(&mut self, id: SlotId) {
        if let Some(peer) = self.peers.get_mut(id)
            && peer.standing == Standing::Stranger
        {
            peer.standing = Standing::Known;
            self.arrivals.strangers.count -= 1;
            self.tally.unconnected.set(self.arrivals.strangers.count as u64);
        }
    }

    /// True exactly when this reactor's share is used up.
    pub(super) fn strangers_are_full(&self) -> bool {
        let share = self.setup.vitals.connections_max() / SHARE / self.setup.reactors.max(1) as u64;
        self.arrivals.strangers.count as u64 > share.max(1)
    }

    fn displace_strangers(&mut self) {
        self.forget_known();
        let bound = self.setup.vitals.connections_max();
        let is_nearly_full = self.connections() >= bound - bound / NEARLY;
        let youngest = if is_nearly_full { self.now.at } else { self.now.at - HANDSHAKE_TIME };
        while self.strangers_are_full()
            && let Some(at) = self.arrivals.strangers.victim(youngest)
            && let Some(stranger) = self.arrivals.strangers.waiting.remove(at)
        {
            self.displace(stranger.id);
        }
    }

    /// Ends a connection that is not `connected`: with a reason if it is upgraded, and without waiting for its answer.
    fn displace(&mut self, id: SlotId) {
        self.tally.unconnected_displaced.add(1);
        self.close(id, CloseReason::OverCapacity { bound: BOUND, retry_ms: RETRY_MS });
        self.kill(id);
        self.admit_stranger(id);
    }

    fn forget_known(&mut self) {
        let peers = &self.peers;
        self.arrivals.strangers.waiting.retain(|stranger| {
            peers
                .get(stranger.id)
                .is_some_and(|peer| peer.standing == Standing::Stranger && peer.reading != Reading::Dead)
        });
    }

    /// The connections of the process, except the ones that end with this turn.
    pub(super) fn connections(&self) -> u64 {
        let reactors = self.setup.vitals.reactors.iter().enumerate();
        let others = reactors.filter(|(index, _)| *index != usize::from(self.basis.id.0));
        let others: u64 = others.map(|(_, reactor)| reactor.connections.read()).sum();
        others + self.peers.len().saturating_sub(self.out.dead.len()) as u64
    }
}

impl Strangers {
    /// The place of the connection to displace: of the oldest ones, the oldest of the address that has most of them.
    fn victim(&self, youngest: Moment) -> Option<usize> {
        let oldest: Vec<Option<IpAddr>> = self
            .waiting
            .iter()
            .take(COMPARED)
            .take_while(|stranger| stranger.since <= youngest)
            .map(|stranger| stranger.address)
            .collect();
        let count = |address: &Option<IpAddr>| match address {
            Some(_) => oldest.iter().filter(|other| *other == address).count(),
            None => 1,
        };
        // The first of equals, because the list begins with the oldest.
        (0..oldest.len()).rev().max_by_key(|at| oldest.get(*at).map(count))
    }
}
