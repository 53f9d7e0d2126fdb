//! The state of every other instance, judged from its lease in Redis, its row in PostgreSQL, and the own monotonic time.
//!
//! A renewal counts because the lease has *changed* since it was last read; the age of a row is computed by the store. So no
//! clock of another machine matters. A source that cannot be read here says nothing about the others: after an outage of Redis the
//! silence of a lease is counted from the first lease that was read again, and with both sources out of reach no instance is
//! judged.

use super::instance::{Goodbye, InstanceRow, InstanceState, KnownInstance, SeenRow};
use crate::clock::Moment;
use crate::id::Incarnation;
use crate::limits::INSTANCES_MAX;
use crate::wire::lease::{Lease, LeasePhase};
use crate::wire::stats::InstanceStats;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

/// A lease that was not renewed for this time is silent.
pub const LEASE_SILENCE: Duration = Duration::from_secs(4);
/// From this silence on the row is read, so that it is known when the lease counts as silent.
const ASK_AFTER: Duration = Duration::from_millis(3_500);
/// With a silent lease, a row up to this age shows that the process lives.
const ISOLATED_ROW: Duration = Duration::from_secs(3);
/// Without leases, a row up to this age does: rows are renewed at least every 2.4 s.
const ROW_SILENCE: Duration = Duration::from_millis(4_500);
/// Leases are read every second; a longer gap is an outage of Redis here, or a stop of this process.
const LEASES_GAP: Duration = Duration::from_millis(2_500);
/// Rows are read at least every 2.4 s.
const ROWS_GAP: Duration = Duration::from_secs(5);
/// How long an instance that is gone or has left is still listed.
const LISTED: Duration = Duration::from_secs(300);
/// A lease that was not renewed for this time is removed from Redis. Several instances may do it.
const LEASE_KEPT: Duration = Duration::from_secs(60);
/// A name counts as shared after this time. An instance that was killed and started again has a living namesake until it is gone.
pub const SHARED_AFTER: Duration = Duration::from_secs(10);
/// The leases in Redis that are followed; an incarnation that ends leaves one for a minute.
const LEASES_MAX: usize = 4 * INSTANCES_MAX;

/// A source of signs of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignSource {
    /// It fails here, or there is none.
    Unreadable,
    /// `since` is the first success of an unbroken series, `last` the newest.
    Readable { since: Moment, last: Moment },
}

impl SignSource {
    fn succeed(&mut self, now: Moment, gap: Duration) {
        let since = match *self {
            SignSource::Readable { since, last } if now.since(last) <= gap => since,
            SignSource::Unreadable | SignSource::Readable { .. } => now,
        };
        *self = SignSource::Readable { since, last: now };
    }

    /// The beginning of the series, if the source can be read now.
    fn readable(self, now: Moment, gap: Duration) -> Option<Moment> {
        match self {
            SignSource::Readable { since, last } if now.since(last) <= gap => Some(since),
            SignSource::Unreadable | SignSource::Readable { .. } => None,
        }
    }
}

/// The sign that showed an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignOfLife {
    Lease,
    Row,
}

/// The need for another reading of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsNeed {
    /// The regular reading suffices.
    Regular,
    /// An instance cannot be judged without a reading made now.
    Now,
}

/// The leases that exist besides those of this process.
#[derive(Clone, Copy, Debug)]
struct StoredLease {
    renewals: u64,
    renewed: Moment,
}

/// All other instances.
#[derive(Clone, Debug)]
pub struct Liveness {
    own: u64,
    leases: SignSource,
    rows: SignSource,
    /// The beginning of the call that read the newest rows.
    rows_asked: Moment,
    known: BTreeMap<u64, KnownInstance>,
    stored: BTreeMap<Incarnation, StoredLease>,
    /// The names that several living instances have, and since when.
    shared: BTreeMap<Arc<str>, Moment>,
}

/// A change of an instance's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceChange {
    pub name: Arc<str>,
    pub from: InstanceState,
    pub to: InstanceState,
}

impl Liveness {
    /// Nothing is known yet to the process `own`.
    pub fn new(own: u64) -> Liveness {
        Liveness {
            own,
            leases: SignSource::Unreadable,
            rows: SignSource::Unreadable,
            rows_asked: Moment::ZERO,
            known: BTreeMap::new(),
            stored: BTreeMap::new(),
            shared: BTreeMap::new(),
        }
    }

    /// The instances, by their origin.
    pub fn instances(&self) -> impl Iterator<Item = &KnownInstance> {
        self.known.values()
    }

    /// Takes all leases that Redis has.
    pub fn read_leases(&mut self, leases: &[(Incarnation, Lease)], now: Moment) {
        self.leases.succeed(now, LEASES_GAP);
        // A renewal that the first reading finds may have been made before the outage.
        let is_first = self.leases.readable(now, LEASES_GAP) == Some(now);
        let others =
            || leases.iter().filter(|(incarnation, _)| incarnation.origin != self.own).take(LEASES_MAX);
        let mut stored = BTreeMap::new();
        for (incarnation, lease) in others() {
            let renewed = match self.stored.get(incarnation) {
                Some(before) if before.renewals == lease.renewals => before.renewed,
                Some(_) | None => now,
            };
            stored.insert(*incarnation, StoredLease { renewals: lease.renewals, renewed });
        }
        let others: Vec<_> = others().collect();
        self.stored = stored;
        // One that Redis has lost says nothing either.
        let is_lost = |known: &&mut KnownInstance| !self.stored.contains_key(&known.incarnation());
        self.known.values_mut().filter(is_lost).for_each(|known| known.lease.is_old = true);
        for (incarnation, lease) in others {
            let Some(known) = self.hear(*incarnation, &lease.name, SignOfLife::Lease, now) else { continue };
            if incarnation.count < known.count {
                continue;
            }
            (known.lease.phase, known.lease.parts) = (lease.phase, lease.parts);
            known.lease.is_old |= is_first;
            if known.lease.renewals != lease.renewals {
                // A lower one is from before: Redis lost the newer ones.
                known.lease.is_old = is_first || lease.renewals < known.lease.renewals;
                // The first one that is seen may be old: it shows only that there was a process.
                if known.lease.renewals > 0 {
                    known.lease.renewed = now;
                }
                known.lease.renewals = lease.renewals;
            }
        }
    }

    /// Notes that the leases could not be read.
    pub fn fail_leases(&mut self) {
        self.leases = SignSource::Unreadable;
    }

    /// Takes the rows of a call that began at `asked`.
    pub fn read_rows(&mut self, rows: &[InstanceRow], asked: Moment, now: Moment) {
        self.rows.succeed(now, ROWS_GAP);
        self.rows_asked = asked;
        for known in self.known.values_mut() {
            if let Some(row) = &mut known.row {
                row.age = asked.since(row.written);
            }
        }
        let own = self.own;
        for row in rows.iter().filter(|row| row.origin != own) {
            let incarnation = Incarnation { origin: row.origin, count: row.count };
            let Some(known) = self.hear(incarnation, &row.name, SignOfLife::Row, now) else { continue };
            known.name = Arc::clone(&row.name);
            known.done = row.done;
            let seen = SeenRow { written: asked - row.age, age: row.age, leaving: row.leaving };
            known.row = Some(seen);
        }
    }

    /// Notes that the rows could not be read.
    pub fn fail_rows(&mut self) {
        self.rows = SignSource::Unreadable;
    }

    /// Notes the stats of an incarnation.
    pub fn read_stats(&mut self, incarnation: Incarnation, stats: InstanceStats, now: Moment) {
        let known = self.known.get_mut(&incarnation.origin).filter(|known| known.count == incarnation.count);
        if let Some(known) = known {
            known.stats = Some((stats, now));
        }
    }

    /// The beginning of the unbroken series of readings of the leases; `None` if they cannot be read.
    pub fn reads_leases_since(&self, now: Moment) -> Option<Moment> {
        self.leases.readable(now, LEASES_GAP)
    }

    /// True if the incarnation has a lease, or is the newest one of an instance that lives: what it wrote must stay.
    pub fn is_listed(&self, incarnation: Incarnation) -> bool {
        let known = self.known.get(&incarnation.origin);
        self.stored.contains_key(&incarnation)
            || known.is_some_and(|known| known.count == incarnation.count && known.state.lives())
    }

    /// The incarnations whose leases are no longer renewed: their fields can be removed.
    pub fn abandoned(&self, now: Moment) -> Vec<Incarnation> {
        let Some(since) = self.leases.readable(now, LEASES_GAP) else { return Vec::new() };
        let silent = |lease: &StoredLease| now.since(lease.renewed.max(since)) > LEASE_KEPT;
        self.stored.iter().filter(|(_, lease)| silent(lease)).map(|(incarnation, _)| *incarnation).collect()
    }

    /// Judges every instance, and forgets instances that ended long ago.
    pub fn judge(&mut self, now: Moment) -> (Vec<InstanceChange>, RowsNeed) {
        let mut changes = Vec::new();
        let mut need = RowsNeed::Regular;
        let mut verdicts = Vec::new();
        for known in self.known.values() {
            let (state, wants) = self.verdict(known, now);
            if wants == RowsNeed::Now {
                need = RowsNeed::Now;
            }
            if state != known.state {
                verdicts.push((known.origin, state));
            }
        }
        for (origin, state) in verdicts {
            if let Some(known) = self.known.get_mut(&origin) {
                changes.push(InstanceChange { name: Arc::clone(&known.name), from: known.state, to: state });
                (known.state, known.since) = (state, now);
            }
        }
        self.known.retain(|_, known| known.state.lives() || now.since(known.since) <= LISTED);
        (changes, need)
    }

    /// The next moment at which a state may change without a further reading; `None` if there is none.
    pub fn due(&self, now: Moment) -> Option<Moment> {
        let of = |known: &KnownInstance| {
            let renewed = self.renewed(known, now).unwrap_or(known.lease.renewed);
            let row = known.row.map(|row| row.written).unwrap_or_default();
            [renewed + ASK_AFTER, renewed + LEASE_SILENCE, row + ISOLATED_ROW, row + ROW_SILENCE]
        };
        let living = self.known.values().filter(|known| known.state.lives());
        living.flat_map(of).filter(|due| *due > now).min()
    }

    /// The names that several living instances have had for [`SHARED_AFTER`], `own` among them. Call it after each judgement.
    pub fn shared_names(&mut self, own: &str, now: Moment) -> Vec<Arc<str>> {
        let shared = self.names_shared_now(own);
        let before = std::mem::take(&mut self.shared);
        let since = |name: Arc<str>| before.get(&name).map_or(now, |since| *since);
        self.shared = shared.into_iter().map(|name| (Arc::clone(&name), since(name))).collect();
        let lasting = self.shared.iter().filter(|(_, since)| now.since(**since) >= SHARED_AFTER);
        lasting.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// The names that several living instances have, `own` among them.
    fn names_shared_now(&self, own: &str) -> Vec<Arc<str>> {
        let living = self.known.values().filter(|known| known.state.lives());
        let mut names: Vec<&Arc<str>> = living.map(|known| &known.name).collect();
        names.sort();
        let mut shared: Vec<Arc<str>> = names
            .windows(2)
            .filter_map(|pair| match pair {
                [one, other] if one == other => Some(Arc::clone(one)),
                _ => None,
            })
            .collect();
        shared.extend(names.into_iter().find(|name| ***name == *own).cloned());
        shared.sort();
        shared.dedup();
        shared
    }

    /// The entry of an instance; `None` if there are too many that live.
    fn hear(
        &mut self,
        incarnation: Incarnation,
        name: &str,
        sign: SignOfLife,
        now: Moment,
    ) -> Option<&mut KnownInstance> {
        let Incarnation { origin, count } = incarnation;
        if self.known.len() >= INSTANCES_MAX && !self.known.contains_key(&origin) {
            let ended = self.known.values().filter(|known| !known.state.lives());
            let oldest = ended.min_by_key(|known| known.since).map(|known| known.origin)?;
            self.known.remove(&oldest);
        }
        match self.known.entry(origin) {
            Entry::Vacant(place) => {
                Some(place.insert(KnownInstance::new(origin, count, Arc::from(name), now)))
            }
            Entry::Occupied(place) => {
                let known = place.into_mut();
                // A row with a higher count does not end the silence of the lease: an instance that lost Redis begins one as well.
                known.begin(count, if sign == SignOfLife::Lease { now } else { known.renewed() });
                Some(known)
            }
        }
    }

    /// The moment from which the silence of its lease counts; `None` if leases say nothing about it.
    fn renewed(&self, known: &KnownInstance, now: Moment) -> Option<Moment> {
        let since = self.leases.readable(now, LEASES_GAP)?;
        let renewed = known.lease.renewed;
        (known.count > 0).then(|| match known.state {
            // Its silence was judged before. It ends with a renewal, not with an outage of Redis here.
            InstanceState::Gone | InstanceState::Isolated => renewed,
            InstanceState::Alive | InstanceState::Draining | InstanceState::Left => renewed.max(since),
        })
    }

    fn verdict(&self, known: &KnownInstance, now: Moment) -> (InstanceState, RowsNeed) {
        let row = known.row;
        let said_goodbye = row.is_some_and(|row| row.leaving == Goodbye::Said);
        let serving = match known.lease.phase {
            LeasePhase::Left => return (InstanceState::Left, RowsNeed::Regular),
            LeasePhase::Serving | LeasePhase::Draining if said_goodbye => {
                return (InstanceState::Left, RowsNeed::Regular);
            }
            LeasePhase::Serving => InstanceState::Alive,
            LeasePhase::Draining => InstanceState::Draining,
        };
        let reads_rows = self.rows.readable(now, ROWS_GAP).is_some();
        match self.renewed(known, now) {
            // After an outage of Redis silence is counted again, which shows no life of an instance that ended before.
            Some(_) if known.state == InstanceState::Gone && known.lease.renewed <= known.since => {
                (InstanceState::Gone, RowsNeed::Regular)
            }
            Some(renewed) if now.since(renewed) < LEASE_SILENCE => {
                let asks =
                    now.since(renewed) >= ASK_AFTER && self.rows_asked < renewed + ASK_AFTER && reads_rows;
                (serving, if asks { RowsNeed::Now } else { RowsNeed::Regular })
            }
            // An incarnation that ended never counts again by its row: only its lease shows that it goes on after all.
            Some(_) if known.state == InstanceState::Gone => (InstanceState::Gone, RowsNeed::Regular),
            Some(_) => match row {
                Some(row) if now.since(row.written) <= ISOLATED_ROW => {
                    (InstanceState::Isolated, RowsNeed::Regular)
                }
                Some(row) if reads_rows && row.age <= ISOLATED_ROW => (known.state, RowsNeed::Now),
                Some(_) | None => (InstanceState::Gone, RowsNeed::Regular),
            },
            None => match row {
                Some(row) if now.since(row.written) <= ROW_SILENCE => {
                    let state = match known.state {
                        // The row from before its end shows nothing new.
                        InstanceState::Gone if row.written <= known.since => InstanceState::Gone,
                        // It is not known here whether its lease is renewed again.
                        InstanceState::Isolated => InstanceState::Isolated,
                        InstanceState::Gone
                        | InstanceState::Alive
                        | InstanceState::Draining
                        | InstanceState::Left => serving,
                    };
                    (state, RowsNeed::Regular)
                }
                Some(row) if reads_rows && row.age <= ROW_SILENCE => (known.state, RowsNeed::Now),
                Some(_) if reads_rows => (InstanceState::Gone, RowsNeed::Regular),
                Some(_) | None => (known.state, RowsNeed::Regular),
            },
        }
    }
}

#[cfg(test)]
mod tests;
