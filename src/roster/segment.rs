//! The own segment of a roster: what this incarnation adds to it, and which part of that is written.

use super::members::RosterMembers;
use crate::id::{ChannelName, Incarnation, UserName};
use crate::wire::segment::{DeltaForm, SegmentDelta, SegmentField, SegmentHead, SegmentMode};
use std::collections::BTreeSet;

/// Changes of a segment, for Redis and for the other instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentChange {
    pub channel: ChannelName,
    /// Names and values of the fields.
    pub set: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names of fields.
    pub remove: Vec<Vec<u8>>,
    pub delta: SegmentDelta,
    pub content: SegmentContent,
}

/// Says if a segment holds anything once a change is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentContent {
    Begins,
    Stays,
    /// Its head is all that is left.
    Ends,
}

/// The state of the own segment.
#[derive(Debug, Default)]
pub(super) struct OwnSegment {
    /// The last write; 0: none of this incarnation, or it is not known what it left.
    last: u64,
    mode: SegmentMode,
    /// The numbers of the last write, to find them again in an audit.
    written: Option<SegmentHead>,
    /// This incarnation may have written fields of members.
    has_fields: bool,
    /// Users that have changed since the last write.
    dirty: BTreeSet<UserName>,
    changed: bool,
    /// A write is under way, and nothing was found to be wrong since it began.
    is_in_flight: bool,
}

/// The part of a segment that is being written.
#[derive(Debug)]
pub(super) struct SegmentFlight {
    head: SegmentHead,
    users: BTreeSet<UserName>,
}

impl OwnSegment {
    /// Notes that the own part of a user is about to change.
    pub(super) fn note(&mut self, user: &UserName) {
        self.changed = true;
        // A counted segment has no fields of members. It is written whole when it lists them again.
        if self.mode == SegmentMode::Listed && self.has_fields && !self.dirty.contains(user) {
            self.dirty.insert(user.clone());
        }
    }

    /// True if something is to be written.
    pub(super) fn is_dirty(&self) -> bool {
        self.changed
    }

    /// True if everything is written.
    pub(super) fn is_written(&self) -> bool {
        !self.changed && !self.is_in_flight
    }

    /// Notes that what was written does not count any more. The `users` that there are have to be written again.
    pub(super) fn begin_again(&mut self, users: u32) {
        *self = OwnSegment { changed: users > 0, ..OwnSegment::default() };
    }

    /// True exactly if the field that an audit found is not the one that was written, so that the segment must be written again.
    pub(super) fn is_wrong(&self, found: Option<&[u8]>) -> bool {
        let found = found.and_then(SegmentHead::parse);
        !self.changed && self.written.is_some_and(|written| found != Some(written))
    }

    /// The change to be written as `seq`, and what to remember of it.
    pub(super) fn prepare(
        &mut self,
        channel: &ChannelName,
        incarnation: Incarnation,
        seq: u64,
        (members, numbers, members_max): (&RosterMembers, (u32, u32), u32),
    ) -> (SegmentChange, SegmentFlight) {
        let (users, connections) = numbers;
        let mode = match self.mode {
            SegmentMode::Listed if users > members_max => SegmentMode::Counted,
            SegmentMode::Counted if u64::from(users) * 5 < u64::from(members_max) * 4 => SegmentMode::Listed,
            same @ (SegmentMode::Listed | SegmentMode::Counted) => same,
        };
        let is_whole = self.last == 0 || mode != self.mode || mode == SegmentMode::Counted;
        let mut named = std::mem::take(&mut self.dirty);
        if self.last == 0 || mode != self.mode {
            // Before it is counted, all of them have fields.
            named.extend(members.own().map(|member| member.user().clone()));
        }
        let head = SegmentHead { seq, users, connections, mode };
        let (mut set, mut remove, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for user in &named {
            let member = members.get(user).filter(|_| mode == SegmentMode::Listed);
            let member = member.and_then(|member| member.as_segment());
            let name = SegmentField::member(incarnation, user);
            match &member {
                Some(member) => set.push((name, member.encode())),
                None => remove.push(name),
            }
            if mode == SegmentMode::Listed && (member.is_some() || !is_whole) {
                entries.push((user.clone(), member));
            }
        }
        set.push((SegmentField::head(incarnation), head.encode()));
        let content = match (users, self.written) {
            (0, _) => SegmentContent::Ends,
            (_, Some(written)) if written.users > 0 => SegmentContent::Stays,
            (_, _) => SegmentContent::Begins,
        };
        let form = if is_whole { DeltaForm::Whole } else { DeltaForm::Changes };
        let delta = SegmentDelta { count: incarnation.count, previous: self.last, head, form, entries };
        (self.mode, self.changed, self.has_fields, self.is_in_flight) = (mode, false, true, true);
        let channel = channel.clone();
        (SegmentChange { channel, set, remove, delta, content }, SegmentFlight { head, users: named })
    }

    /// Notes that a change is written.
    pub(super) fn written(&mut self, flight: &SegmentFlight) {
        if std::mem::take(&mut self.is_in_flight) {
            (self.last, self.written) = (flight.head.seq, Some(flight.head));
        }
    }

    /// Notes that it is not known if a change is written: everything is written again.
    pub(super) fn failed(&mut self, flight: SegmentFlight) {
        self.dirty.extend(flight.users);
        self.repair();
    }

    /// Writes everything again, even if a write under way succeeds: it has only what changed.
    pub(super) fn repair(&mut self) {
        (self.last, self.written, self.changed, self.is_in_flight) = (0, None, true, false);
    }
}
