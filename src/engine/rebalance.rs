//! Clients that are asked to move because this instance has more connections than others.
//!
//! Nothing is closed: a client that does not move stays, and is not asked again. The oldest connections are asked first, so that
//! none moves twice in a round.

use super::Engine;
use super::peer::{Peer, Stage};
use super::slots::SlotId;
use crate::clock::Moment;
use crate::drain::{DrainPhase, slot, whole_ms};
use crate::metrics::Cell;
use crate::metrics::rebalance::ReactorMoves;
use crate::wire::push;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The reason that clients get.
const REASON: &str = "rebalance";
/// The moves of one request are spread over this time, in which the next one comes.
const SPREAD: Duration = Duration::from_secs(1);
/// The time in which a client that was asked moves. After it, the client has stayed.
const MOVE_WITHIN: Duration = Duration::from_secs(30);
/// The least time between two searches for the oldest connections, because each one looks at all peers.
const SEARCH_PERIOD: Duration = Duration::from_secs(10);

/// The answer of a peer that was asked to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MoveAnswer {
    Awaited,
    Stayed,
}

/// The peers that were asked, and those to be asked next.
#[derive(Debug, Default)]
pub(super) struct Rebalancing {
    /// Peers to be asked; the oldest connection last.
    oldest: Vec<SlotId>,
    /// No search before this moment.
    search_at: Moment,
    /// At most one entry for each open connection.
    asked: HashMap<SlotId, MoveAnswer, ahash::RandomState>,
    /// The end of the wait for each answer, in order.
    until: VecDeque<(Moment, SlotId)>,
    /// Until this moment, an arrival that was sent elsewhere counts as returned.
    asks_until: Moment,
}

impl Rebalancing {
    fn awaited(&self) -> u64 {
        self.asked.values().filter(|answer| **answer == MoveAnswer::Awaited).count() as u64
    }
}

impl Engine {
    /// Asks the oldest connections to move, one for each instance in `targets`. During a round it comes every second, possibly
    /// with no target.
    pub(super) fn ask_to_move(&mut self, targets: &[Arc<str>]) {
        self.end_waits();
        // Clients of a draining instance are asked by the drain.
        if self.rounds.draining.phase == DrainPhase::Serving {
            self.rounds.rebalancing.asks_until = self.now.at + MOVE_WITHIN;
            for (index, to) in targets.iter().enumerate() {
                let Some(id) = self.next_oldest() else { break };
                let slot_ms = whole_ms(slot(index, targets.len(), SPREAD, self.random.f32()));
                self.write(id, |out| push::drain(out, REASON, slot_ms, whole_ms(MOVE_WITHIN), Some(to)));
                self.rounds.rebalancing.asked.insert(id, MoveAnswer::Awaited);
                self.rounds.rebalancing.until.push_back((self.now.at + MOVE_WITHIN, id));
                self.count_move(|cells| &cells.asked);
            }
        }
        let awaited = self.rounds.rebalancing.awaited();
        if let Some(cells) = self.move_cells() {
            cells.waiting.set(awaited);
        }
    }

    /// The oldest connection that was not asked and reads what it is sent.
    fn next_oldest(&mut self) -> Option<SlotId> {
        if self.rounds.rebalancing.oldest.is_empty() && self.rounds.rebalancing.search_at <= self.now.at {
            self.rounds.rebalancing.search_at = self.now.at + SEARCH_PERIOD;
            self.rounds.rebalancing.oldest = self.find_oldest();
        }
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize;
        let reads = |peer: &Peer| {
            matches!(peer.stage, Stage::WebSocket(_)) && peer.is_open() && peer.outbox.bytes() < bytes_max
        };
        let Engine { rounds, peers, .. } = self;
        let rebalancing = &mut rounds.rebalancing;
        std::iter::from_fn(|| rebalancing.oldest.pop()).find(|id| peers.get(*id).is_some_and(reads))
    }

    fn find_oldest(&self) -> Vec<SlotId> {
        let opened = |peer: &Peer| peer.chat()?.session.client().map(|(_, opened)| opened);
        let mut found: Vec<(Moment, SlotId)> = self
            .peers
            .iter()
            .filter(|(id, _)| !self.rounds.rebalancing.asked.contains_key(id))
            .filter_map(|(id, peer)| opened(peer).map(|opened| (opened, id)))
            .collect();
        found.sort_unstable_by_key(|(opened, _)| std::cmp::Reverse(*opened));
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Counts the peers that did not move in time.
    fn end_waits(&mut self) {
        while let Some((until, id)) = self.rounds.rebalancing.until.front().copied()
            && until <= self.now.at
        {
            self.rounds.rebalancing.until.pop_front();
            if let Some(answer) = self.rounds.rebalancing.asked.get_mut(&id) {
                *answer = MoveAnswer::Stayed;
                self.count_move(|cells| &cells.stayed);
            }
        }
    }

    /// Counts a peer that left after it was asked. Called for each peer that ends.
    pub(super) fn count_moved(&mut self, id: SlotId) {
        if !self.rounds.rebalancing.asked.is_empty()
            && self.rounds.rebalancing.asked.remove(&id) == Some(MoveAnswer::Awaited)
        {
            self.count_move(|cells| &cells.moved);
            if let Some(cells) = self.move_cells() {
                cells.waiting.set(cells.waiting.read().saturating_sub(1));
            }
        }
    }

    /// Counts an arrival that asked for another instance while this one asks clients to move.
    pub(super) fn count_sent_elsewhere(&self) {
        if self.now.at < self.rounds.rebalancing.asks_until {
            self.count_move(|cells| &cells.returned);
        }
    }

    fn count_move(&self, cell: impl Fn(&ReactorMoves) -> &Cell) {
        if let Some(cells) = self.move_cells() {
            cell(cells).add(1);
        }
    }

    fn move_cells(&self) -> Option<&ReactorMoves> {
        self.setup.vitals.rebalance.reactors.get(usize::from(self.basis.id.0))
    }
}
