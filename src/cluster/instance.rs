//! The signs of life of one instance, as another one knows them.

use crate::clock::Moment;
use crate::id::Incarnation;
use crate::wire::lease::{LeaseParts, LeasePhase};
use crate::wire::stats::InstanceStats;
use std::sync::Arc;
use std::time::Duration;

/// The state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    Alive,
    /// Its lease in Redis is not renewed, but its row in PostgreSQL is: it lost Redis, and serves its clients.
    Isolated,
    /// Neither sign of life is renewed.
    Gone,
    /// It lives, and its clients move.
    Draining,
    /// It said goodbye.
    Left,
}

impl InstanceState {
    /// All states, in the order of the metric.
    pub const ALL: [InstanceState; 5] = [
        InstanceState::Alive,
        InstanceState::Isolated,
        InstanceState::Gone,
        InstanceState::Draining,
        InstanceState::Left,
    ];

    /// The word in reports, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            InstanceState::Alive => "alive",
            InstanceState::Isolated => "isolated",
            InstanceState::Gone => "gone",
            InstanceState::Draining => "draining",
            InstanceState::Left => "left",
        }
    }

    /// True if the process lives, as far as is known.
    pub const fn lives(self) -> bool {
        match self {
            InstanceState::Alive | InstanceState::Isolated | InstanceState::Draining => true,
            InstanceState::Gone | InstanceState::Left => false,
        }
    }
}

/// A row of the store, as one call of it shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRow {
    /// The process.
    pub origin: u64,
    pub name: Arc<str>,
    /// The number of the last canary that it committed.
    pub canary: u64,
    /// The count of its incarnation; 0: a program of an earlier version, which has no leases.
    pub count: u32,
    /// The number of the last order that it has carried out.
    pub done: u64,
    pub leaving: Goodbye,
    /// The time since it was renewed, by the clock of the store.
    pub age: Duration,
    pub leads: Leads,
}

/// The goodbye of an instance that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    NotSaid,
    Said,
}

/// The duty of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    No,
    /// Its term has not ended.
    Yes,
}

/// An instance other than this one.
#[derive(Clone, Debug)]
pub struct KnownInstance {
    pub origin: u64,
    /// The highest count seen; leases with a lower one are ignored.
    pub count: u32,
    pub name: Arc<str>,
    pub state: InstanceState,
    /// The beginning of the state.
    pub since: Moment,
    /// The newest stats, and when they were read.
    pub stats: Option<(InstanceStats, Moment)>,
    /// The number of the last order that it has carried out, according to its row.
    pub done: u64,
    pub(super) lease: SeenLease,
    pub(super) row: Option<SeenRow>,
}

/// The last lease of an instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenLease {
    /// 0: none was seen.
    pub(super) renewals: u64,
    pub(super) phase: LeasePhase,
    pub(super) parts: LeaseParts,
    /// The moment at which a renewal was last noticed, or at which the incarnation was first heard of.
    pub(super) renewed: Moment,
    /// Redis does not have it, or it was not renewed since leases can be read again: what it says may have been true before only.
    pub(super) is_old: bool,
}

/// The last row of an instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenRow {
    /// The earliest moment at which it can have been renewed.
    pub(super) written: Moment,
    /// Its age when it was read.
    pub(super) age: Duration,
    pub(super) leaving: Goodbye,
}

impl SeenLease {
    /// That of an incarnation that was first heard of at `now`.
    fn unseen(now: Moment) -> SeenLease {
        let (phase, parts) = (LeasePhase::Serving, LeaseParts::default());
        SeenLease { renewals: 0, phase, parts, renewed: now, is_old: false }
    }
}

impl KnownInstance {
    /// An instance that was just heard of. It is judged like all others.
    pub(super) fn new(origin: u64, count: u32, name: Arc<str>, now: Moment) -> KnownInstance {
        KnownInstance {
            origin,
            count,
            name,
            state: InstanceState::Alive,
            since: now,
            stats: None,
            done: 0,
            lease: SeenLease::unseen(now),
            row: None,
        }
    }

    /// Notes a higher count: what is known of the lease of a lower one ends. The silence of its own counts from `renewed`.
    pub(super) fn begin(&mut self, count: u32, renewed: Moment) {
        if count > self.count {
            self.count = count;
            self.lease = SeenLease::unseen(renewed);
        }
    }

    /// The moment from which the silence of its lease counts.
    pub(super) fn renewed(&self) -> Moment {
        self.lease.renewed
    }

    /// Its newest incarnation.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation { origin: self.origin, count: self.count }
    }

    /// The renewals of its lease that were seen.
    pub fn renewals(&self) -> u64 {
        self.lease.renewals
    }

    /// The content that it has written completely, according to its last lease; none if that may have changed in an outage.
    pub fn parts(&self) -> LeaseParts {
        if self.lease.is_old { LeaseParts::default() } else { self.lease.parts }
    }

    /// True if its lease is lost, or from before an outage and not renewed yet.
    pub fn has_old_lease(&self) -> bool {
        self.lease.is_old
    }

    /// The time since the last sign of life.
    pub fn silence(&self, now: Moment) -> Duration {
        let row = self.row.map(|row| row.written).unwrap_or_default();
        let lease = if self.lease.renewals > 0 { self.lease.renewed } else { Moment::ZERO };
        match row.max(lease) {
            Moment::ZERO => now.since(self.since),
            last => now.since(last),
        }
    }
}
