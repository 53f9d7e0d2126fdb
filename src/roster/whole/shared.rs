//! Rosters that are shared with other instances.
//!
//! The own part of each roster is its *segment*, which is written when it changes. A roster that has watchers here, or of which a page
//! was read lately, has a *view* of the segments of the others. Without [`Rosters::share`] nothing of this happens.

use super::super::reading::{ReadingOutcome, RosterReading};
use super::super::service::{InstanceStanding, ServiceState, SharingBounds, TopicWish, WayState, Ways};
use super::super::sharing::{LookOutcome, SharedRosters};
use super::super::view::DeltaOutcome;
use super::super::writes::RosterWrite;
use super::Rosters;
use crate::clock::Moment;
use crate::id::{ChannelName, Incarnation, UserName};
use crate::limits::{SEGMENT_FIELDS_MAX, SEGMENT_MISSING_MAX};
use crate::wire::partitions::PartitionSet;
use crate::wire::presence::RosterKnowledge;
use crate::wire::segment::SegmentDelta;
use crate::wire::slot::Partition;
use std::collections::BTreeSet;

/// Rosters in one write.
const WRITE_ROSTERS_MAX: usize = 512;

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    Written,
    /// Some of it may be written.
    Failed,
    /// Failed in these partitions, and written in the others.
    FailedIn(PartitionSet),
}

/// The fate of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeltaFate {
    Applied,
    /// Known already, or of no interest.
    Old,
    /// One before it is missing, so the roster is read.
    Gap,
}

impl Rosters {
    /// Shares rosters with other instances from now on. Call it before any event.
    pub fn share(&mut self, incarnation: Incarnation, bounds: SharingBounds) {
        self.sharing = Some(Box::new(SharedRosters::new(incarnation, bounds)));
    }

    /// Changes the bounds.
    pub fn bound(&mut self, bounds: SharingBounds) {
        if let Some(sharing) = &mut self.sharing {
            sharing.bounds = bounds;
        }
    }

    /// Takes what is known of the other instances, and of the ways to them.
    pub fn observe(&mut self, state: ServiceState, now: Moment) {
        let Some(sharing) = &mut self.sharing else { return };
        if sharing.state == state {
            return;
        }
        let before = std::mem::replace(&mut sharing.state, state);
        let behind = sharing.state.calls_for_reads(&before);
        sharing.read_all(behind, now);
        if sharing.state.storage != before.storage {
            sharing.writes.take_up();
        }
        let channels = sharing.channels();
        if sharing.state.incarnation != before.incarnation {
            self.write_again(now);
        }
        for channel in channels {
            self.look(&channel, now);
        }
    }

    /// Notes that messages may have been lost in these partitions: every view there is read.
    pub fn doubt_views(&mut self, partitions: PartitionSet, now: Moment) {
        let Some(sharing) = &mut self.sharing else { return };
        sharing.read_all(partitions, now);
        for channel in sharing.channels() {
            self.look(&channel, now);
        }
    }

    /// SegmentWrites everything again: the incarnation changed.
    fn write_again(&mut self, now: Moment) {
        let Some(sharing) = &mut self.sharing else { return };
        // The outcome of the write under way says nothing about the new incarnation.
        sharing.writes.begin_again();
        for channel in self.rosters.keys().cloned().collect::<Vec<_>>() {
            self.change(&channel, now, |roster| {
                let (users, _) = roster.own_numbers();
                if let Some(segment) = roster.segment_mut() {
                    segment.begin_again(users);
                }
            });
        }
    }

    /// The changes to be written, if it is time for that and no write is under way. Answer with [`written`](Rosters::written).
    pub fn take_writes(&mut self, now: Moment) -> Option<RosterWrite> {
        let members_max = self.rules.members_max;
        let sharing = self.sharing.as_mut()?;
        if sharing.state.storage == Ways::LOST || !sharing.writes.may_begin(now) {
            return None;
        }
        let incarnation = sharing.state.incarnation;
        let (mut changes, mut fields) = (Vec::new(), 0);
        while changes.len() < WRITE_ROSTERS_MAX && fields < SEGMENT_FIELDS_MAX {
            let Some(channel) = sharing.writes.next() else { break };
            if sharing.state.storage.at(Partition::of(channel.as_str())) == WayState::Lost {
                sharing.writes.settle(&channel);
                sharing.writes.parked.insert(channel);
                continue;
            }
            let roster = self.rosters.get_mut(&channel);
            let numbers = roster.as_ref().map_or((0, 0), |roster| roster.own_numbers());
            let parts = roster.and_then(|roster| roster.segment_and_members());
            let Some((segment, members)) = parts.filter(|(segment, _)| segment.is_dirty()) else {
                sharing.writes.settle(&channel);
                continue;
            };
            sharing.writes.seq += 1;
            let seq = sharing.writes.seq;
            let (change, flight) =
                segment.prepare(&channel, incarnation, seq, (members, numbers, members_max));
            fields += change.set.len() + change.remove.len();
            sharing.writes.flight.push((channel, flight));
            changes.push(change);
        }
        if changes.is_empty() {
            return None;
        }
        // If fields fill a write, nothing says how many of the waiting channels fit into the next one.
        let is_full = fields >= SEGMENT_FIELDS_MAX;
        sharing.writes.begin(if is_full { 0 } else { WRITE_ROSTERS_MAX }, now);
        if changes.len() >= WRITE_ROSTERS_MAX || is_full {
            sharing.writes.hurry(now);
        }
        Some(RosterWrite { incarnation, begun: now, changes })
    }

    /// Takes the outcome of the write that was taken at `begun`. That of a write that was given up is dropped.
    pub fn written(&mut self, begun: Moment, outcome: WriteOutcome, now: Moment) {
        let Some(sharing) = self.sharing.as_mut().filter(|sharing| sharing.writes.since == Some(begun))
        else {
            return;
        };
        if outcome == WriteOutcome::Failed {
            sharing.writes.delay(now);
        }
        let failed = match outcome {
            WriteOutcome::Written => PartitionSet::EMPTY,
            WriteOutcome::Failed => PartitionSet::ALL,
            WriteOutcome::FailedIn(partitions) => partitions,
        };
        for (channel, flight) in sharing.writes.end() {
            let is_failed = failed.contains(Partition::of(channel.as_str()));
            if let Some(sharing) = self.sharing.as_mut().filter(|_| !is_failed) {
                sharing.writes.settle(&channel);
            }
            self.change(&channel, now, |roster| {
                let Some(segment) = roster.segment_mut() else { return };
                match is_failed {
                    false => segment.written(&flight),
                    true => segment.failed(flight),
                }
            });
        }
    }

    /// The incarnation, once everything that it had at its beginning has been written. Call [`said_complete`] when the registry has
    /// taken it.
    ///
    /// [`said_complete`]: Rosters::said_complete
    pub fn complete(&mut self, now: Moment) -> Option<Incarnation> {
        let sharing = self.sharing.as_mut()?;
        let current = sharing.state.incarnation;
        if sharing.state.storage == Ways::LOST {
            return None;
        }
        sharing.writes.complete(current, now)
    }

    /// Notes that the registry knows that this incarnation has written everything.
    pub fn said_complete(&mut self, incarnation: Incarnation) {
        if let Some(sharing) = &mut self.sharing {
            sharing.writes.said_complete(incarnation);
        }
    }

    /// The incarnation, if its lease must not say any more that everything is written. Call [`said_behind`] when the registry has taken
    /// it.
    ///
    /// [`said_behind`]: Rosters::said_behind
    pub fn behind(&self, now: Moment) -> Option<Incarnation> {
        let sharing = self.sharing.as_ref()?;
        sharing.writes.behind(sharing.state.incarnation, now)
    }

    /// Notes that the registry knows that changes wait.
    pub fn said_behind(&mut self) {
        if let Some(sharing) = &mut self.sharing {
            sharing.writes.said_behind();
        }
    }

    /// Takes the head of an own segment, as an audit found it. One that is not as it was written is written again. True exactly if it is.
    pub fn audited(&mut self, channel: &ChannelName, found: Option<&[u8]>, now: Moment) -> bool {
        if !self.rosters.contains_key(channel) {
            return false;
        }
        self.change(channel, now, |roster| {
            let Some(segment) = roster.segment_mut() else { return false };
            let is_wrong = segment.is_wrong(found);
            if is_wrong {
                segment.repair();
            }
            is_wrong
        })
    }

    /// The topics to be followed, or left.
    pub fn take_topics(&mut self) -> Vec<TopicWish> {
        self.sharing.as_mut().map(|sharing| sharing.take_wishes()).unwrap_or_default()
    }

    /// Notes that messages about a channel arrive from now on.
    pub fn followed(&mut self, channel: &ChannelName, now: Moment) {
        if let Some(sharing) = &mut self.sharing {
            sharing.followed(channel, now);
        }
    }

    /// Notes that messages about a channel no longer arrive, until [`followed`](Rosters::followed) is called again.
    pub fn unfollowed(&mut self, channel: &ChannelName, now: Moment) {
        if let Some(sharing) = &mut self.sharing {
            sharing.unfollowed(channel);
            self.look(channel, now);
        }
    }

    /// The channels whose segments are to be read now. Answer each with [`read`](Rosters::read).
    pub fn take_reads(&mut self, now: Moment) -> Vec<RosterReading> {
        self.sharing.as_mut().map(|sharing| sharing.take_reads(now)).unwrap_or_default()
    }

    /// Takes all fields of a channel's hash; `None`: it could not be read. The answer to a reading that was given up is dropped.
    pub fn read(&mut self, reading: &RosterReading, fields: Option<&[(Vec<u8>, Vec<u8>)]>, now: Moment) {
        let channel = &reading.channel;
        let grace = self.rules.grace;
        let Some(sharing) = &mut self.sharing else { return };
        let outcome = if fields.is_some() { ReadingOutcome::Done } else { ReadingOutcome::Failed };
        let Some(asked) = sharing.end_reading(reading, outcome, now) else { return };
        let own = sharing.state.incarnation.origin;
        let room = sharing.room();
        let changed = sharing.with(channel, |view, losses| {
            let fields = fields?;
            view.keep_members_within(room, fields);
            Some(view.read(own, fields, asked, (losses, grace), now))
        });
        self.apply(channel, changed.flatten().unwrap_or_default(), now);
        self.look(channel, now);
        self.make_room(now);
    }

    /// While the views take too much memory, the largest keeps numbers alone.
    fn make_room(&mut self, now: Moment) {
        while let Some(channel) = self.sharing.as_ref().and_then(|sharing| sharing.excess()) {
            let Some(sharing) = &mut self.sharing else { return };
            let dropped = sharing.with(&channel, |view, _| view.drop_members());
            self.apply(&channel, dropped.unwrap_or_default(), now);
            self.look(&channel, now);
        }
    }

    /// Takes a message of the process `origin`.
    pub fn hear(
        &mut self,
        channel: &ChannelName,
        origin: u64,
        delta: SegmentDelta,
        now: Moment,
    ) -> DeltaFate {
        let Some(sharing) =
            self.sharing.as_mut().filter(|sharing| sharing.state.incarnation.origin != origin)
        else {
            return DeltaFate::Old;
        };
        let incarnation = Incarnation { origin, count: delta.count };
        match sharing.with(channel, |view, losses| view.take(incarnation, delta, losses, now)) {
            Some(DeltaOutcome::Applied(changed)) => {
                self.apply(channel, changed, now);
                self.look(channel, now);
                DeltaFate::Applied
            }
            Some(DeltaOutcome::Gap) => {
                sharing.read_again(channel, now);
                self.look(channel, now);
                DeltaFate::Gap
            }
            Some(DeltaOutcome::Old) | None => DeltaFate::Old,
        }
    }

    /// The latest moment for a page: until then, it may become more complete. `None`: read it now.
    pub fn await_page(&mut self, channel: &ChannelName, now: Moment) -> Option<Moment> {
        let sharing = self.sharing.as_mut()?;
        sharing.open_for_page(channel, now);
        sharing.opening(channel, now)
    }

    /// The knowledge of a roster.
    pub(in super::super) fn knowledge_of(&self, channel: &ChannelName) -> RosterKnowledge {
        self.sharing.as_ref().map_or(self.knowledge, |sharing| sharing.knowledge(channel))
    }

    /// The names of the instances whose members are not known, if the roster is not complete.
    pub(in super::super) fn missing(&self, channel: &ChannelName) -> Vec<String> {
        let Some(sharing) = self.sharing.as_ref().filter(|sharing| sharing.is_incomplete(channel)) else {
            return Vec::new();
        };
        let partition = Partition::of(channel.as_str());
        let names: Vec<&str> = match sharing.state.storage.at(partition) {
            WayState::Reached => sharing.state.unsure(partition).collect(),
            WayState::Lost => {
                let lives = |standing| !matches!(standing, InstanceStanding::Ended(_));
                let living = sharing.state.others.iter().filter(|other| lives(other.standing));
                living.map(|other| &*other.name).collect()
            }
        };
        names.into_iter().take(SEGMENT_MISSING_MAX).map(str::to_owned).collect()
    }

    /// Does what is due in views and writes.
    pub(super) fn advance_views(&mut self, now: Moment) {
        let Some(sharing) = &mut self.sharing else { return };
        if let Some(begun) = sharing.writes.late(now) {
            self.written(begun, WriteOutcome::Failed, now);
        }
        let due = self.sharing.as_ref().map(|sharing| sharing.due_views(now)).unwrap_or_default();
        for channel in due {
            let closed = self.sharing.as_mut().and_then(|sharing| sharing.close_unused(&channel, now));
            match closed {
                Some(LookOutcome { changed, ends, .. }) => {
                    self.end(&channel, &ends, now);
                    self.apply(&channel, changed, now);
                }
                None => self.look(&channel, now),
            }
        }
    }

    /// Brings the roster up to date with its view.
    fn apply(&mut self, channel: &ChannelName, changed: BTreeSet<UserName>, now: Moment) {
        let Some(sharing) = &self.sharing else { return };
        let view = sharing.view(channel).map(|known| &known.view);
        let share = |user| view.and_then(|view| view.share(user));
        let shares: Vec<_> = changed.iter().map(|user| (user, share(user))).collect();
        let counted = view.and_then(|view| view.counted());
        self.change(channel, now, |roster| {
            for (user, share) in shares {
                roster.set_remote(user, share, now);
            }
            roster.set_counted(counted);
        });
    }

    /// Looks at a view, and brings the roster up to date with it.
    fn look(&mut self, channel: &ChannelName, now: Moment) {
        let grace = self.rules.grace;
        let Some(sharing) = &mut self.sharing else { return };
        let outcome = sharing.look(channel, grace, now);
        if !outcome.settles.is_empty() {
            self.change(channel, now, |roster| {
                outcome.settles.iter().for_each(|user| roster.settle(user, now));
            });
        }
        self.end(channel, &outcome.ends, now);
        if outcome.is_news || !outcome.changed.is_empty() {
            self.apply(channel, outcome.changed, now);
        }
        if outcome.is_news
            && let Some(sharing) = &mut self.sharing
        {
            sharing.shown(channel);
        }
    }
}
