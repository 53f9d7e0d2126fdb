//! A view: the segments of other instances in the roster of one channel.
//!
//! A message about a segment is applied only to the state that it was made for; an older one is ignored, and a gap calls for a
//! reading of all segments. A reading is older than messages that arrived since it was asked for, segment by segment. Members of an instance that
//! ended depart after the grace. While a view is not complete, a member that a segment loses is *held*: the user may be at an instance that
//! cannot say so.

mod memory;

use super::service::{InstanceStanding, ServiceState};
use super::share::RemoteShare;
use crate::clock::Moment;
use crate::id::{Incarnation, UserName};
use crate::limits::INSTANCES_MAX;
use crate::wire::segment::{DeltaForm, SegmentDelta, SegmentField, SegmentHead, SegmentMember, SegmentMode};
use crate::wire::slot::Partition;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long members are held while a view is not complete.
pub(super) const HOLD: Duration = Duration::from_secs(30);
/// A segment whose instance is not known by then was left behind by one that ended long ago: leases are read every second.
const CONFIRM: Duration = Duration::from_millis(2_500);
/// Incarnations in one view.
const SEGMENTS_MAX: usize = 4 * INSTANCES_MAX;
/// The memory of a member in addition to its texts.
const MEMBER_BYTES: usize = 112;

/// The segments of other instances.
#[derive(Debug, Default)]
pub(super) struct View {
    segments: BTreeMap<Incarnation, RemoteSegment>,
    held: BTreeMap<UserName, HeldMember>,
    bytes: usize,
    room: ViewRoom,
}

/// The room that a view has for members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ViewRoom {
    #[default]
    ForMembers,
    /// It keeps the numbers of each segment alone.
    ForNumbers,
}

/// The contribution of one incarnation.
#[derive(Debug)]
struct RemoteSegment {
    head: SegmentHead,
    members: BTreeMap<UserName, SegmentMember>,
    standing: SegmentStanding,
    /// The last message about it.
    heard: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SegmentStanding {
    Counts,
    /// Its incarnation has ended: members depart until then.
    Ends(Moment),
    /// It was there, and a reading did not find it. Its members stay until then.
    Lost(Moment),
    /// Its instance is not known, since then.
    Unconfirmed(Moment),
    /// It is over. Kept, because its fields are still in Redis.
    Void,
}

#[derive(Clone, Debug)]
struct HeldMember {
    share: RemoteShare,
    until: Moment,
}

/// Says if members that a segment loses are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Losses {
    /// The view is complete: what is gone, is gone.
    AreTrue,
    AreHeld,
}

/// The facts by which segments are judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judgement<'a> {
    pub(super) service: &'a ServiceState,
    /// That of the channel.
    pub(super) partition: Partition,
    pub(super) losses: Losses,
    pub(super) grace: Duration,
    pub(super) now: Moment,
}

impl Losses {
    fn hold(self) -> Duration {
        match self {
            Losses::AreTrue => Duration::ZERO,
            Losses::AreHeld => HOLD,
        }
    }
}

/// The outcome of a message: the users that may have changed; or its change is known; or one before it is missing, and
/// everything has to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeltaOutcome {
    Applied(BTreeSet<UserName>),
    Old,
    Gap,
}

/// The numbers of segments that list no members.
pub(super) type CountedNumbers = Option<(u32, u32)>;

impl RemoteSegment {
    fn new(head: SegmentHead, heard: Moment, now: Moment) -> RemoteSegment {
        let standing = SegmentStanding::Unconfirmed(now);
        RemoteSegment { head, members: BTreeMap::new(), standing, heard }
    }

    fn is_shown(&self) -> bool {
        match self.standing {
            SegmentStanding::Counts | SegmentStanding::Ends(_) | SegmentStanding::Lost(_) => true,
            SegmentStanding::Unconfirmed(_) | SegmentStanding::Void => false,
        }
    }

    /// Notes that a message or a reading has it. Returns the members that do not depart any more.
    fn found_again(&mut self) -> BTreeSet<UserName> {
        if !matches!(self.standing, SegmentStanding::Lost(_)) {
            return BTreeSet::new();
        }
        self.standing = SegmentStanding::Counts;
        self.members.keys().cloned().collect()
    }

    fn departs(&self) -> bool {
        matches!(self.standing, SegmentStanding::Ends(_) | SegmentStanding::Lost(_))
    }

    /// The standing by what is known of its instance, whose newest incarnation is `newest`.
    fn next_standing(
        &self,
        incarnation: Incarnation,
        newest: u32,
        judgement: Judgement<'_>,
    ) -> SegmentStanding {
        use SegmentStanding::{Counts, Ends, Lost, Unconfirmed, Void};
        let Judgement { service, partition, losses, grace, now } = judgement;
        let other = service.other(incarnation.origin);
        let instance = other.map(|other| other.standing);
        let is_newest = incarnation.count == newest;
        let of_newest = other.filter(|other| other.incarnation.count == newest);
        let newest_is_sure = of_newest.is_some_and(|other| other.standing == InstanceStanding::Sure);
        match (self.standing, instance) {
            (Void, _) => Void,
            (Ends(at) | Lost(at), _) if at + losses.hold() <= now => Void,
            // Everything that its process has is in the next incarnation's segment, which was read.
            _ if !is_newest && newest_is_sure && losses == Losses::AreTrue => Void,
            // So it is, and this one was never shown. Its members may have left long ago.
            (Unconfirmed(_), _)
                if of_newest.is_some_and(|other| other.has_written(partition)) && !is_newest =>
            {
                Void
            }
            (ends @ Ends(_), _) if !is_newest => ends,
            // Left behind by an instance that ended long ago, or of one that is not known yet.
            (Unconfirmed(since), None) if service.reads_leases() && since + CONFIRM <= now => Void,
            (unconfirmed @ Unconfirmed(_), None) => unconfirmed,
            (Unconfirmed(_), Some(InstanceStanding::Ended(at))) if at + grace <= now => Void,
            (_, Some(InstanceStanding::Ended(at))) => Ends(at + grace),
            _ if !is_newest => Ends(now + grace),
            (lost @ Lost(_), Some(InstanceStanding::Sure | InstanceStanding::Unsure)) => lost,
            (_, Some(InstanceStanding::Sure | InstanceStanding::Unsure)) => Counts,
            // Its instance was forgotten.
            (ends @ (Ends(_) | Lost(_)), None) => ends,
            (Counts, None) => Ends(now + grace),
        }
    }
}

fn bytes_of(user: &UserName, member: &SegmentMember) -> usize {
    MEMBER_BYTES + user.as_str().len() + member.info.as_ref().map_or(0, |info| info.len())
}

impl View {
    /// The users' shares in all segments.
    pub(super) fn share(&self, user: &UserName) -> Option<RemoteShare> {
        let shown = self.segments.values().filter(|segment| segment.is_shown());
        let of = |segment: &RemoteSegment| {
            let share = RemoteShare::of(segment.members.get(user)?);
            Some(if segment.departs() { share.departed() } else { share })
        };
        let held = self.held.get(user).map(|held| held.share.clone());
        shown.filter_map(of).chain(held).reduce(|mut sum, share| {
            sum.add(share);
            sum
        })
    }

    /// All users with a share.
    pub(super) fn users(&self) -> BTreeSet<UserName> {
        let listed = self.segments.values().flat_map(|segment| segment.members.keys());
        listed.chain(self.held.keys()).cloned().collect()
    }

    /// The numbers of the segments that do not list their members; `None` if all list their members.
    pub(super) fn counted(&self) -> CountedNumbers {
        let shown = self.segments.values().filter(|segment| segment.is_shown());
        let counted = shown.filter(|segment| {
            segment.head.mode == SegmentMode::Counted
                || self.room == ViewRoom::ForNumbers && segment.head.connections > 0
        });
        counted
            .map(|segment| (segment.head.users, segment.head.connections))
            .reduce(|sum, more| (sum.0.saturating_add(more.0), sum.1.saturating_add(more.1)))
    }

    /// True if each segment is that of a known incarnation, and none is missing.
    pub(super) fn is_sure(&self, service: &ServiceState) -> bool {
        let is_newer = |incarnation: &Incarnation| {
            service.other(incarnation.origin).is_some_and(|other| other.incarnation < *incarnation)
        };
        let is_sure = |(incarnation, segment): (&Incarnation, &RemoteSegment)| match segment.standing {
            SegmentStanding::Counts => !is_newer(incarnation),
            SegmentStanding::Ends(_) | SegmentStanding::Void => true,
            SegmentStanding::Lost(_) | SegmentStanding::Unconfirmed(_) => false,
        };
        self.segments.iter().all(is_sure)
    }

    /// The next moment at which [`judge`](View::judge) has something to do.
    pub(super) fn due(&self, losses: Losses, service: &ServiceState) -> Option<Moment> {
        let of = |segment: &RemoteSegment| match segment.standing {
            SegmentStanding::Ends(at) | SegmentStanding::Lost(at) => Some(at + losses.hold()),
            // Without leases it stays as it is.
            SegmentStanding::Unconfirmed(since) => service.reads_leases().then_some(since + CONFIRM),
            SegmentStanding::Counts | SegmentStanding::Void => None,
        };
        let held = self.held.values().map(|held| held.until).min();
        self.segments.values().filter_map(of).chain(held).min()
    }

    /// Takes a message of this incarnation.
    pub(super) fn take(
        &mut self,
        incarnation: Incarnation,
        delta: SegmentDelta,
        losses: Losses,
        now: Moment,
    ) -> DeltaOutcome {
        let SegmentDelta { count: _, previous, head, form, entries } = delta;
        let known = self.segments.get(&incarnation);
        let last = known.map_or(0, |segment| segment.head.seq);
        let is_void = known.is_some_and(|segment| segment.standing == SegmentStanding::Void);
        if is_void || head.seq <= last {
            return DeltaOutcome::Old;
        }
        let is_next = form == DeltaForm::Whole || form == DeltaForm::Changes && previous == last && last > 0;
        if !is_next || self.segments.len() >= SEGMENTS_MAX && known.is_none() {
            return DeltaOutcome::Gap;
        }
        let mut segment =
            self.segments.remove(&incarnation).unwrap_or_else(|| RemoteSegment::new(head, now, now));
        (segment.head, segment.heard) = (head, now);
        let mut changed = segment.found_again();
        let mut entries: BTreeMap<UserName, Option<SegmentMember>> = entries.into_iter().collect();
        if form == DeltaForm::Whole {
            segment.members.keys().for_each(|user| _ = entries.entry(user.clone()).or_default());
        }
        for (user, member) in entries {
            self.put(&mut segment, &user, member, losses, now);
            changed.insert(user);
        }
        self.segments.insert(incarnation, segment);
        DeltaOutcome::Applied(changed)
    }

    /// Takes all fields of the hash, which were asked for at `asked`. Returns the users that may have changed.
    pub(super) fn read(
        &mut self,
        own: u64,
        fields: &[(Vec<u8>, Vec<u8>)],
        asked: Moment,
        (losses, grace): (Losses, Duration),
        now: Moment,
    ) -> BTreeSet<UserName> {
        let mut found: BTreeMap<Incarnation, (Option<SegmentHead>, BTreeMap<UserName, SegmentMember>)> =
            BTreeMap::new();
        for (name, value) in fields {
            match SegmentField::parse(name) {
                Some(SegmentField::Head(incarnation)) => {
                    found.entry(incarnation).or_default().0 = SegmentHead::parse(value);
                }
                Some(SegmentField::Member(incarnation, user)) => {
                    if let Some(member) = SegmentMember::parse(value) {
                        found.entry(incarnation).or_default().1.insert(user, member);
                    }
                }
                None => {}
            }
        }
        found.retain(|incarnation, (head, _)| incarnation.origin != own && head.is_some());
        let mut changed = BTreeSet::new();
        let missing = |incarnation: &&Incarnation| !found.contains_key(incarnation);
        for incarnation in self.segments.keys().filter(missing).copied().collect::<Vec<_>>() {
            self.miss(incarnation, asked, now + grace, &mut changed);
        }
        for (incarnation, (head, members)) in found {
            let Some(head) = head else { continue };
            let known = self.segments.get(&incarnation);
            let is_known = |segment: &RemoteSegment| {
                segment.standing == SegmentStanding::Void
                    || head.seq < segment.head.seq
                    || head.seq == segment.head.seq && segment.heard > asked
            };
            if known.is_some_and(is_known) || known.is_none() && self.segments.len() >= SEGMENTS_MAX {
                continue;
            }
            changed.extend(self.replace(incarnation, head, &members, losses, now));
        }
        changed
    }

    /// Replaces a segment by what a reading found. Returns the users that may have changed.
    fn replace(
        &mut self,
        incarnation: Incarnation,
        head: SegmentHead,
        members: &BTreeMap<UserName, SegmentMember>,
        losses: Losses,
        now: Moment,
    ) -> BTreeSet<UserName> {
        let known = self.segments.remove(&incarnation);
        let mut segment = known.unwrap_or_else(|| RemoteSegment::new(head, Moment::ZERO, now));
        segment.head = head;
        let mut changed = segment.found_again();
        let users: BTreeSet<UserName> = segment.members.keys().chain(members.keys()).cloned().collect();
        for user in users {
            let member = members.get(&user);
            if segment.members.get(&user) != member {
                self.put(&mut segment, &user, member.cloned(), losses, now);
                changed.insert(user);
            }
        }
        self.segments.insert(incarnation, segment);
        changed
    }

    /// Notes that a reading that was asked for at `asked` did not find a segment.
    fn miss(
        &mut self,
        incarnation: Incarnation,
        asked: Moment,
        until: Moment,
        changed: &mut BTreeSet<UserName>,
    ) {
        let Some(segment) = self.segments.get_mut(&incarnation) else { return };
        match segment.standing {
            SegmentStanding::Counts if segment.heard <= asked => {
                changed.extend(segment.members.keys().cloned());
                if segment.head.connections > 0 {
                    segment.standing = SegmentStanding::Lost(until);
                } else {
                    self.segments.remove(&incarnation);
                }
            }
            SegmentStanding::Void | SegmentStanding::Unconfirmed(_) => {
                self.drop_segment(incarnation);
            }
            SegmentStanding::Counts | SegmentStanding::Ends(_) | SegmentStanding::Lost(_) => {}
        }
    }

    fn drop_segment(&mut self, incarnation: Incarnation) {
        if let Some(segment) = self.segments.remove(&incarnation) {
            let bytes: usize = segment.members.iter().map(|(user, member)| bytes_of(user, member)).sum();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Sets a member of a segment, or removes it.
    fn put(
        &mut self,
        segment: &mut RemoteSegment,
        user: &UserName,
        member: Option<SegmentMember>,
        losses: Losses,
        now: Moment,
    ) {
        let is_kept = self.room == ViewRoom::ForMembers && segment.head.mode == SegmentMode::Listed;
        let before = match member.filter(|_| is_kept) {
            Some(member) => {
                self.bytes += bytes_of(user, &member);
                segment.members.insert(user.clone(), member)
            }
            None => {
                let before = segment.members.remove(user);
                if let Some(before) = before.as_ref().filter(|_| losses == Losses::AreHeld && is_kept) {
                    let held = HeldMember { share: RemoteShare::of(before).departed(), until: now + HOLD };
                    self.held.insert(user.clone(), held);
                }
                before
            }
        };
        if let Some(before) = before {
            self.bytes = self.bytes.saturating_sub(bytes_of(user, &before));
        }
    }

    /// Judges all segments by what is known of their instances, and lets go of members whose time is over. Returns the users that may
    /// have changed.
    pub(super) fn judge(&mut self, judgement: Judgement<'_>) -> BTreeSet<UserName> {
        let Judgement { service, losses, now, .. } = judgement;
        let mut changed = BTreeSet::new();
        let mut highest: BTreeMap<u64, u32> =
            service.others.iter().map(|other| (other.incarnation.origin, other.incarnation.count)).collect();
        for incarnation in self.segments.keys() {
            // A message can come before the lease of its incarnation is read.
            let count = highest.entry(incarnation.origin).or_default();
            *count = incarnation.count.max(*count);
        }
        let mut ended = 0;
        for (incarnation, segment) in &mut self.segments {
            let newest = highest.get(&incarnation.origin).copied().unwrap_or(incarnation.count);
            let next = segment.next_standing(*incarnation, newest, judgement);
            if next != segment.standing {
                changed.extend(segment.members.keys().cloned());
                segment.standing = next;
            }
            if next == SegmentStanding::Void && !segment.members.is_empty() {
                let members = std::mem::take(&mut segment.members);
                ended += members.iter().map(|(user, member)| bytes_of(user, member)).sum::<usize>();
            }
        }
        // One that is over although its instance lives is taken again as soon as it is read.
        self.segments.retain(|incarnation, segment| {
            let lives = service.other(incarnation.origin).is_some_and(|other| {
                other.incarnation == *incarnation && !matches!(other.standing, InstanceStanding::Ended(_))
            });
            segment.standing != SegmentStanding::Void || !lives
        });
        self.bytes = self.bytes.saturating_sub(ended);
        let is_over = |held: &HeldMember| losses == Losses::AreTrue || held.until <= now;
        changed.extend(self.held.extract_if(.., |_, held| is_over(held)).map(|(user, _)| user));
        changed
    }
}
