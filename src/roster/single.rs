//! The roster of one channel.

mod push;

use super::connections::{Connections, MemberLink};
use super::event::{ConnectionId, Shown};
use super::members::{RosterMember, RosterMembers};
use super::pace::{Numbers, Pace};
use super::page::{self, PageWish};
use super::segment::OwnSegment;
use super::share::{RemoteShare, Rise};
use super::view::CountedNumbers;
use super::watching::{WatchOf, Watching};
use crate::clock::{Moment, Now};
use crate::id::{ChannelName, PresenceState, ReactorId, UserName};
use crate::wire::command::WatchDetail;
use crate::wire::presence::{Listing, RosterHead, RosterKnowledge};
use std::sync::Arc;

/// The roster of one channel: its members, its watchers, and the frames between them.
#[derive(Debug)]
pub(super) struct Roster {
    channel: ChannelName,
    members: RosterMembers,
    /// The connections of all members.
    connections: u32,
    /// The users and connections at this instance.
    own: Numbers,
    /// `None` if no other instance knows of it.
    shared: Option<Box<SharedRoster>>,
    listing: Listing,
    watching: Option<Box<Watching>>,
    pace: Pace,
    revision: u64,
    /// The numbers of the last frame.
    sent: Numbers,
    /// The knowledge that watchers were last sent; `None` before the first frame.
    announced: Option<RosterKnowledge>,
    /// Something changed since the last revision.
    changed: Changed,
}

/// The additional part of a roster that is shared with other instances.
#[derive(Debug, Default)]
pub(super) struct SharedRoster {
    /// The part that other instances know of.
    segment: OwnSegment,
    /// Users and connections at other instances which do not list them.
    counted: CountedNumbers,
    /// Members whose shown number has to be decided again, and when.
    settling: Vec<(Moment, UserName)>,
    rise: Rise,
}

/// The part of a member that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemberPart {
    Own,
    Remote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    No,
    Yes,
    /// And the form of the list: watchers need everything again.
    Listing,
}

/// The number of a state that is set at this time: eighths of a second since 2025, so that states at several instances have an order.
/// Clocks that differ change only which of two devices' states is shown.
fn stated_at(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms.saturating_sub(1_735_689_600_000) / 125).unwrap_or(u32::MAX)
}

impl Roster {
    /// An empty roster.
    pub(super) fn new(channel: ChannelName, shared: Option<Box<SharedRoster>>) -> Roster {
        Roster {
            channel,
            members: RosterMembers::default(),
            connections: 0,
            own: (0, 0),
            shared,
            listing: Listing::Listed,
            watching: None,
            pace: Pace::default(),
            revision: 1,
            sent: (0, 0),
            announced: None,
            changed: Changed::No,
        }
    }

    /// True exactly if nothing refers to it.
    pub(super) fn is_unused(&self) -> bool {
        let is_settled = |shared: &SharedRoster| shared.segment.is_written() && shared.counted.is_none();
        let is_settled = self.shared.as_deref().is_none_or(is_settled);
        self.members.is_empty() && self.watching.is_none() && is_settled
    }

    /// The users and connections that are shown.
    pub(super) fn numbers(&self) -> Numbers {
        let (users, connections) = self.counted().unwrap_or((0, 0));
        let listed = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        (listed.saturating_add(users), self.connections.saturating_add(connections))
    }

    /// The users and connections at this instance.
    pub(super) fn own_numbers(&self) -> Numbers {
        self.own
    }

    pub(super) fn segment_mut(&mut self) -> Option<&mut OwnSegment> {
        self.shared.as_mut().map(|shared| &mut shared.segment)
    }

    fn counted(&self) -> CountedNumbers {
        self.shared.as_ref().and_then(|shared| shared.counted)
    }

    /// The own segment, with what it is made of.
    pub(super) fn segment_and_members(&mut self) -> Option<(&mut OwnSegment, &RosterMembers)> {
        Some((&mut self.shared.as_mut()?.segment, &self.members))
    }

    /// Says when shown numbers rise from now on.
    pub(super) fn set_rise(&mut self, rise: Rise) {
        if let Some(shared) = &mut self.shared {
            shared.rise = rise;
        }
    }

    /// Takes the members whose shown number has to be decided again, and when.
    pub(super) fn take_settling(&mut self) -> Vec<(Moment, UserName)> {
        self.shared.as_mut().map(|shared| std::mem::take(&mut shared.settling)).unwrap_or_default()
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watching.is_some()
    }

    pub(super) fn due(&self) -> Option<Moment> {
        self.pace.due()
    }

    /// All connections, with their users.
    pub(super) fn connections(&self) -> impl Iterator<Item = (&UserName, ConnectionId)> {
        self.members
            .after(None)
            .flat_map(|member| member.connections.iter().map(|link| (&member.shown.user, link.connection())))
    }

    /// The memory outside of the roster itself, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let shared = self.shared.as_ref().map_or(0, |_| size_of::<SharedRoster>());
        self.members.heap_bytes() + shared + self.watching.as_ref().map_or(0, |_| size_of::<Watching>())
    }

    /// Adds a connection, or changes what it shows.
    pub(super) fn present(
        &mut self,
        shown: Arc<Shown>,
        connection: ConnectionId,
        state: Option<PresenceState>,
        now: Now,
    ) {
        let user = shown.user.clone();
        self.change_member(&user, MemberPart::Own, now.at, |members| {
            let member = match members.get_mut(&user) {
                Some(member) => member,
                None => {
                    let (since_unix_ms, connections) = (now.unix_ms, Connections::None);
                    members.insert(RosterMember { shown: Arc::clone(&shown), since_unix_ms, connections });
                    let Some(member) = members.get_mut(&user) else { return };
                    member
                }
            };
            member.shown = shown;
            let stated = member.newest_stated().saturating_add(1).max(stated_at(now.unix_ms));
            member.connections.add(MemberLink::new(connection, state, stated));
        });
    }

    /// Replaces the connections of a user at other instances.
    pub(super) fn set_remote(&mut self, user: &UserName, share: Option<RemoteShare>, now: Moment) {
        let remote = self.members.get(user).and_then(|member| member.connections.remote());
        let has_same = match (remote, &share) {
            (None, None) => true,
            (Some(remote), Some(share)) => remote.share == *share,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if has_same {
            return;
        }
        self.change_member(user, MemberPart::Remote, now, |members| match (members.get_mut(user), share) {
            (Some(member), share) => member.set_remote(share),
            (None, Some(share)) => members.insert(RosterMember::of_remote(user, share)),
            (None, None) => {}
        });
    }

    /// Decides again how many connections of a user are shown.
    pub(super) fn settle(&mut self, user: &UserName, now: Moment) {
        self.change_member(user, MemberPart::Remote, now, |_| ());
    }

    /// Replaces the numbers of other instances that list no members.
    pub(super) fn set_counted(&mut self, counted: CountedNumbers) {
        let Some(shared) = &mut self.shared else { return };
        if counted != shared.counted && self.changed == Changed::No {
            self.changed = Changed::Yes;
        }
        shared.counted = counted;
    }

    /// Changes a member. One without connections is removed.
    fn change_member(
        &mut self,
        user: &UserName,
        part: MemberPart,
        now: Moment,
        act: impl FnOnce(&mut RosterMembers),
    ) {
        if part == MemberPart::Own
            && let Some(shared) = &mut self.shared
        {
            shared.segment.note(user);
        }
        self.note(user);
        let (shown, own) = self.members.get(user).map_or((0, 0), RosterMember::counts);
        act(&mut self.members);
        let (mut shown_now, mut own_now) = (0, 0);
        let rise = self.shared.as_ref().map_or(Rise::AtOnce, |shared| shared.rise);
        if let Some(member) = self.members.get_mut(user) {
            let own = member.connections.own_count();
            if let Some(remote) = member.connections.remote_mut()
                && let Some(at) = remote.settle(own, rise, now)
                && let Some(shared) = &mut self.shared
            {
                shared.settling.push((at, user.clone()));
            }
            (shown_now, own_now) = member.counts();
            if member.is_gone() {
                self.members.remove(user);
            }
        }
        self.connections = self.connections + shown_now - shown;
        self.own.1 = self.own.1 + own_now - own;
        self.own.0 = self.own.0 + u32::from(own_now > 0) - u32::from(own > 0);
    }

    /// Marks a connection as departing; false if it is not present.
    pub(super) fn depart(&mut self, user: &UserName, name: u64, departure: u16, now: Moment) -> bool {
        let departs = |members: &mut RosterMembers| {
            members.get_mut(user).is_some_and(|member| member.connections.depart(name, departure))
        };
        if self.shared.is_none() {
            return departs(&mut self.members);
        }
        let mut departed = false;
        self.change_member(user, MemberPart::Own, now, |members| departed = departs(members));
        departed
    }

    /// True exactly if a connection departs with this number.
    pub(super) fn departs(&self, user: &UserName, name: u64, departure: u16) -> bool {
        self.members.get(user).is_some_and(|member| member.connections.has(name, Some(departure)))
    }

    /// Removes a connection if it departs with this number; with `None`, in any case. True exactly if it was removed.
    pub(super) fn remove(&mut self, user: &UserName, name: u64, departure: Option<u16>, now: Moment) -> bool {
        let is_there = self.members.get(user).is_some_and(|member| member.connections.has(name, departure));
        if is_there {
            self.change_member(user, MemberPart::Own, now, |members| {
                if let Some(member) = members.get_mut(user) {
                    member.connections.remove(name);
                }
            });
        }
        is_there
    }

    pub(super) fn watch(&mut self, watch: WatchOf, detail: WatchDetail) {
        if self.watching.is_none() {
            // The first watcher begins with what is true now.
            self.settle_revision();
            self.sent = self.numbers();
            self.announced = None;
        }
        self.watching.get_or_insert_default().add(watch, detail);
    }

    pub(super) fn unwatch(&mut self, reactor: ReactorId, detail: WatchDetail) {
        let Some(watching) = &mut self.watching else { return };
        watching.remove(reactor, detail);
        if watching.is_empty() {
            self.watching = None;
            self.pace.skipped();
        }
    }

    /// Takes all watches of a reactor away.
    pub(super) fn unwatch_all(&mut self, reactor: ReactorId) {
        self.unwatch(reactor, WatchDetail::Members);
        self.unwatch(reactor, WatchDetail::Count);
    }

    /// Plans the next frame after a change. Returns its time if that is new.
    pub(super) fn plan(&mut self, members_max: u32, now: Moment) -> Option<Moment> {
        self.choose_listing(members_max);
        let numbers = self.numbers();
        let watching = self.watching.as_ref()?;
        let waits = !(watching.waiting.is_empty() && watching.waiting_count.is_empty());
        match self.listing {
            Listing::Counted if !waits && self.changed != Changed::Listing => {
                self.pace.plan_counted(self.sent, numbers, now)
            }
            Listing::Counted | Listing::Listed => self.pace.plan(now),
        }
    }

    /// Counts a roster with more than `members_max` members, and lists it again below four fifths of that.
    fn choose_listing(&mut self, members_max: u32) {
        let users = self.members.len();
        let chosen = match self.listing {
            Listing::Listed if users > members_max as usize || self.counted().is_some() => Listing::Counted,
            Listing::Counted if users * 5 < 4 * members_max as usize && self.counted().is_none() => {
                Listing::Listed
            }
            same @ (Listing::Listed | Listing::Counted) => same,
        };
        if chosen != self.listing {
            self.listing = chosen;
            self.changed = Changed::Listing;
        }
    }

    fn note(&mut self, user: &UserName) {
        if let Some(watching) = &mut self.watching {
            watching.note(user, self.members.get(user));
        }
        if self.changed == Changed::No {
            self.changed = Changed::Yes;
        }
    }

    fn head(&self, knowledge: RosterKnowledge) -> RosterHead<'_> {
        let (users, connections) = self.numbers();
        let (channel, listing) = (&self.channel, self.listing);
        RosterHead { channel, revision: self.revision, knowledge, users, connections, listing, missing: &[] }
    }

    /// Begins another revision if something changed that no watcher waits for.
    fn settle_revision(&mut self) {
        if self.changed != Changed::No {
            self.revision += 1;
            self.changed = Changed::No;
        }
    }

    /// The object of a page.
    pub(super) fn page(
        &mut self,
        wish: &PageWish,
        knowledge: RosterKnowledge,
        missing: &[String],
    ) -> Vec<u8> {
        if self.watching.is_none() {
            self.settle_revision();
        }
        let head = RosterHead { missing, ..self.head(knowledge) };
        page::write(&head, &self.members, wish.after.as_ref(), wish.limit)
    }

    /// Delays the frame that is due, because a first reading is under way.
    pub(super) fn postpone(&mut self, at: Moment) {
        self.pace.postpone(at);
    }
}
