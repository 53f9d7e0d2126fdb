//! The pace of writes of own segments: one at a time.

use super::segment::{SegmentChange, SegmentFlight};
use crate::clock::Moment;
use crate::id::{ChannelName, Incarnation};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

/// The first change after a rest waits for others, and two writes have a distance.
const GATHER: Duration = Duration::from_millis(20);
const WRITE_PERIOD: Duration = Duration::from_millis(250);
/// A write that failed is repeated after this time, one that was not answered is taken as failed.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// More than a whole write waits for this time: others may miss members, so the lease does not say any more that all are written.
const BEHIND_AFTER: Duration = Duration::from_secs(1);

/// Changes of own segments, to be written at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterWrite {
    /// The incarnation whose segments these are.
    pub incarnation: Incarnation,
    /// Names the write, because its answer can come after it was given up and another one began.
    pub begun: Moment,
    pub changes: Vec<SegmentChange>,
}

/// Channels that an incarnation had when it began, and has not written yet.
#[derive(Debug)]
struct OwedWrites {
    incarnation: Incarnation,
    channels: BTreeSet<ChannelName>,
}

/// The writes of own segments.
#[derive(Debug, Default)]
pub(super) struct SegmentWrites {
    /// Channels whose segment is to be written.
    pub(super) dirty: BTreeSet<ChannelName>,
    /// The one that was taken last.
    taken: Option<ChannelName>,
    /// Since when more than a whole write waits.
    backlog: Option<Moment>,
    /// Channels whose segment is to be written once their partition is reached.
    pub(super) parked: BTreeSet<ChannelName>,
    /// The write under way, and since when.
    pub(super) flight: Vec<(ChannelName, SegmentFlight)>,
    pub(super) since: Option<Moment>,
    /// The number of the last change.
    pub(super) seq: u64,
    /// The earliest time of the next write.
    at: Moment,
    /// The channels that the current incarnation has to write for the first time.
    owed: Option<OwedWrites>,
    /// The incarnation that has written everything once, and has said so.
    complete: Option<Incarnation>,
}

impl SegmentWrites {
    /// Notes that the segment of a channel has changed.
    pub(super) fn want(&mut self, channel: &ChannelName, now: Moment) {
        if self.dirty.is_empty() {
            self.at = self.at.max(now + GATHER);
        }
        if !self.dirty.contains(channel) {
            self.dirty.insert(channel.clone());
        }
    }

    /// Takes the next channel to be written. It is the one behind that of before, so that none waits for ever.
    pub(super) fn next(&mut self) -> Option<ChannelName> {
        let behind = self.taken.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.dirty.range((behind, Bound::Unbounded)).next().or_else(|| self.dirty.first());
        let next = next.cloned()?;
        self.dirty.remove(&next);
        if self.dirty.is_empty() {
            self.backlog = None;
        }
        self.taken = Some(next.clone());
        Some(next)
    }

    /// Forgets what is to be written: everything is, for another incarnation.
    pub(super) fn begin_again(&mut self) {
        self.flight.clear();
        self.dirty.clear();
        self.parked.clear();
        (self.owed, self.backlog) = (None, None);
    }

    /// Takes up what waited for its partition.
    pub(super) fn take_up(&mut self) {
        self.dirty.append(&mut self.parked);
    }

    /// When something can be written, or is given up.
    pub(super) fn due(&self) -> Option<Moment> {
        match self.since {
            Some(since) => Some(since + WRITE_TIMEOUT),
            None => (!self.dirty.is_empty()).then_some(self.at),
        }
    }

    pub(super) fn may_begin(&self, now: Moment) -> bool {
        self.since.is_none() && !self.dirty.is_empty() && self.at <= now
    }

    /// The write under way, if it was not answered for too long.
    pub(super) fn late(&self, now: Moment) -> Option<Moment> {
        self.since.filter(|since| *since + WRITE_TIMEOUT <= now)
    }

    /// Begins a write, of which `room` more channels may still wait: the next one takes them.
    pub(super) fn begin(&mut self, room: usize, now: Moment) {
        (self.since, self.at) = (Some(now), now + WRITE_PERIOD);
        self.backlog = (self.dirty.len() > room).then(|| self.backlog.unwrap_or(now));
    }

    /// A full write leaves others waiting: the next one follows at once.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.at = now;
    }

    /// Ends the write under way.
    pub(super) fn end(&mut self) -> Vec<(ChannelName, SegmentFlight)> {
        self.since = None;
        std::mem::take(&mut self.flight)
    }

    pub(super) fn delay(&mut self, now: Moment) {
        self.at = now + WRITE_AGAIN;
    }

    /// Notes that a segment is written, or need not be, or that the lease says that its partition is not reached.
    pub(super) fn settle(&mut self, channel: &ChannelName) {
        if let Some(owed) = &mut self.owed {
            owed.channels.remove(channel);
        }
    }

    /// The incarnation, once everything that it had when this was asked first has been written; until [`said_complete`] is called.
    /// Later changes do not count: with many of them, there may be no moment without one. While more than a whole write waits for too
    /// long, nothing is complete.
    ///
    /// [`said_complete`]: SegmentWrites::said_complete
    pub(super) fn complete(&mut self, current: Incarnation, now: Moment) -> Option<Incarnation> {
        if self.complete == Some(current) {
            return None;
        }
        if self.is_late(now) {
            self.owed = None;
            return None;
        }
        let (dirty, flight) = (&self.dirty, &self.flight);
        let owed = match self.owed.take().filter(|owed| owed.incarnation == current) {
            Some(owed) => owed,
            None => OwedWrites {
                incarnation: current,
                channels: dirty.iter().chain(flight.iter().map(|(channel, _)| channel)).cloned().collect(),
            },
        };
        let is_written = owed.channels.is_empty();
        self.owed = Some(owed);
        is_written.then_some(current)
    }

    /// This incarnation, if its lease says that it has written everything although changes wait for too long; until [`said_behind`] is
    /// called.
    ///
    /// [`said_behind`]: SegmentWrites::said_behind
    pub(super) fn behind(&self, current: Incarnation, now: Moment) -> Option<Incarnation> {
        self.complete.filter(|said| *said == current && self.is_late(now))
    }

    /// True while more than a whole write waits for too long.
    fn is_late(&self, now: Moment) -> bool {
        self.backlog.is_some_and(|since| since + BEHIND_AFTER <= now) && !self.dirty.is_empty()
    }

    /// Notes that the lease will not say any more that everything is written. It does again once the rest was written once.
    pub(super) fn said_behind(&mut self) {
        (self.complete, self.owed) = (None, None);
    }

    /// Notes that the lease will say that this incarnation has written everything.
    pub(super) fn said_complete(&mut self, incarnation: Incarnation) {
        (self.complete, self.owed) = (Some(incarnation), None);
    }
}
