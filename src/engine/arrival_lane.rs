//! One of two lists of arriving peers, with its rest.

use super::slots::SlotId;
use crate::clock::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// Arriving peers to be read in order of arrival, upgraded ones first.
#[derive(Debug)]
pub(super) struct ArrivalLane {
    pub(super) upgraded: VecDeque<SlotId>,
    pub(super) heads: VecDeque<SlotId>,
    /// The end of the current rest, and its length from the end of the last turn.
    pub(super) rests_until: Moment,
    pub(super) rest: Duration,
    /// Peers of this lane that took time in this turn.
    pub(super) served: u32,
}

impl ArrivalLane {
    pub(super) fn new() -> ArrivalLane {
        ArrivalLane {
            upgraded: VecDeque::new(),
            heads: VecDeque::new(),
            rests_until: Moment::ZERO,
            rest: Duration::ZERO,
            served: 0,
        }
    }

    /// True exactly when no peer waits to be read.
    pub(super) fn is_idle(&self) -> bool {
        self.upgraded.is_empty() && self.heads.is_empty()
    }

    /// True exactly during a rest, in which no peer is read.
    pub(super) fn rests(&self, now: Moment) -> bool {
        self.rests_until > now
    }

    /// True exactly when a peer waits and may be read.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        !self.is_idle() && !self.rests(now)
    }

    /// Begins a rest at the end of a turn, unless one is under way.
    pub(super) fn settle_rest(&mut self, rest: Duration, end: Moment) {
        self.rest = if self.rests_until > end { self.rests_until.since(end) } else { rest };
        self.rests_until = end + self.rest;
    }

    pub(super) fn next(&mut self) -> Option<SlotId> {
        self.upgraded.pop_front().or_else(|| self.heads.pop_front())
    }

    /// The peers that wait.
    pub(super) fn len(&self) -> usize {
        self.upgraded.len() + self.heads.len()
    }

    pub(super) fn listed(&self) -> impl Iterator<Item = &SlotId> {
        self.upgraded.iter().chain(&self.heads)
    }
}
