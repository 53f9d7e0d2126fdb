//! The roster of one channel.

use super::connections::{Added, Connections, MemberLink};
use super::event::{ConnectionId, Shown};
use super::members::{RosterMember, RosterMembers, SentMember};
use super::pace::{Numbers, Pace, REFRESH_MS};
use super::page::{self, MEMBERS_BYTES};
use super::reactors::ReactorSet;
use super::watching::{PushAudience, RosterChanges, RosterPush, WatchOf, Watching};
use crate::clock::{Moment, Now};
use crate::id::{ChannelName, PresenceState, ReactorId, UserName};
use crate::limits::ROSTER_PAGE_MEMBERS;
use crate::wire::command::WatchDetail;
use crate::wire::presence::{self, Listing, RosterHead, RosterKnowledge};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The roster of one channel: its members, its watchers, and the frames between them.
#[derive(Debug)]
pub(super) struct Roster {
    channel: ChannelName,
    members: RosterMembers,
    connections: u32,
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
    stated: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    No,
    Yes,
    /// And the form of the list: watchers need everything again.
    Listing,
}

/// The frame of a difference, or the reason that there is none.
enum Difference {
    None,
    Frame(Vec<u8>),
    /// The difference does not fit into a frame.
    TooLarge,
}

impl Roster {
    pub(super) fn new(channel: ChannelName) -> Roster {
        Roster {
            channel,
            members: RosterMembers::default(),
            connections: 0,
            listing: Listing::Listed,
            watching: None,
            pace: Pace::default(),
            revision: 1,
            sent: (0, 0),
            announced: None,
            changed: Changed::No,
            stated: 0,
        }
    }

    /// True exactly if nothing refers to it.
    pub(super) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.watching.is_none()
    }

    pub(super) fn numbers(&self) -> Numbers {
        (u32::try_from(self.members.len()).unwrap_or(u32::MAX), self.connections)
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
        self.members.heap_bytes() + self.watching.as_ref().map_or(0, |_| size_of::<Watching>())
    }

    /// Adds a connection, or changes what it shows.
    pub(super) fn present(
        &mut self,
        shown: Arc<Shown>,
        connection: ConnectionId,
        state: Option<PresenceState>,
        now: Now,
    ) {
        self.note(&shown.user.clone());
        self.stated = self.stated.wrapping_add(1);
        let link = MemberLink::new(connection, state, self.stated);
        match self.members.get_mut(&shown.user) {
            Some(member) => {
                member.shown = shown;
                if member.connections.add(link) == Added::New {
                    self.connections += 1;
                }
            }
            None => {
                let connections = Connections::One(link);
                self.members.insert(RosterMember { shown, since_unix_ms: now.unix_ms, connections });
                self.connections += 1;
            }
        }
    }

    /// Marks a connection as departing; false if it is not present.
    pub(super) fn depart(&mut self, user: &UserName, name: u64, departure: u16) -> bool {
        self.members.get_mut(user).is_some_and(|member| member.connections.depart(name, departure))
    }

    /// True exactly if a connection departs with this number.
    pub(super) fn departs(&self, user: &UserName, name: u64, departure: u16) -> bool {
        self.members.get(user).is_some_and(|member| member.connections.has(name, Some(departure)))
    }

    /// Removes a connection if it departs with this number; with `None`, in any case. True exactly if it was removed.
    pub(super) fn remove(&mut self, user: &UserName, name: u64, departure: Option<u16>) -> bool {
        let is_there = self.members.get(user).is_some_and(|member| member.connections.has(name, departure));
        if !is_there {
            return false;
        }
        self.note(user);
        self.connections -= 1;
        if self.members.get_mut(user).is_some_and(|member| member.connections.remove(name)) {
            self.members.remove(user);
        }
        true
    }

    pub(super) fn watch(&mut self, watch: WatchOf, detail: WatchDetail) {
        if self.watching.is_none() {
            // The first watcher begins with what is true now.
            self.settle();
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
            Listing::Listed if users > members_max as usize => Listing::Counted,
            Listing::Counted if users * 5 < 4 * members_max as usize => Listing::Listed,
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
        RosterHead { channel, revision: self.revision, knowledge, users, connections, listing }
    }

    /// Begins another revision if something changed that no watcher waits for.
    fn settle(&mut self) {
        if self.changed != Changed::No {
            self.revision += 1;
            self.changed = Changed::No;
        }
    }

    /// The object of a page.
    pub(super) fn page(
        &mut self,
        after: Option<&UserName>,
        limit: u32,
        knowledge: RosterKnowledge,
    ) -> Vec<u8> {
        if self.watching.is_none() {
            self.settle();
        }
        page::write(&self.head(knowledge), &self.members, after, limit)
    }

    /// Appends the frames that are due.
    pub(super) fn push(&mut self, knowledge: RosterKnowledge, now: Moment, into: &mut Vec<RosterPush>) {
        let Some(mut watching) = self.watching.take() else { return self.pace.skipped() };
        let before = into.len();
        let is_counted = self.listing == Listing::Counted && self.changed != Changed::Listing;
        let is_early = is_counted && self.pace.counted_at(self.sent, self.numbers()) > now;
        if !is_early || self.is_news(knowledge) {
            self.push_changes(&mut watching, knowledge, into);
            if into.len() > before {
                self.pace.sent_to_all(now);
            }
        }
        self.announced = Some(knowledge);
        let waiting = std::mem::take(&mut watching.waiting);
        if !waiting.is_empty() {
            let object = page::write(&self.head(knowledge), &self.members, None, ROSTER_PAGE_MEMBERS);
            into.push(self.answer(PushAudience::Waiting, &waiting, &object));
        }
        let waiting = std::mem::take(&mut watching.waiting_count);
        if !waiting.is_empty() {
            let object = presence::numbers(&self.head(knowledge), None);
            into.push(self.answer(PushAudience::WaitingCount, &waiting, &object));
        }
        self.watching = Some(watching);
        if into.len() > before {
            self.pace.sent(now)
        } else {
            self.pace.skipped()
        }
        if is_early && self.numbers() != self.sent {
            self.pace.plan_counted(self.sent, self.numbers(), now);
        }
    }

    /// True if watchers were sent another knowledge than this.
    fn is_news(&self, knowledge: RosterKnowledge) -> bool {
        self.announced.is_some_and(|announced| announced != knowledge)
    }

    fn push_changes(
        &mut self,
        watching: &mut Watching,
        knowledge: RosterKnowledge,
        into: &mut Vec<RosterPush>,
    ) {
        let changes = std::mem::take(&mut watching.changes);
        let is_news = self.is_news(knowledge);
        // The numbers alone say as well whether the roster is complete.
        let moved = self.numbers() != self.sent || is_news;
        let changed = std::mem::replace(&mut self.changed, Changed::No);
        self.revision += 1;
        let head = self.head(knowledge);
        let members = match (self.listing, changed, changes) {
            (Listing::Counted, Changed::Listing, _) => Some(presence::numbers(&head, None)),
            (Listing::Counted, _, _) => moved.then(|| presence::numbers(&head, None)),
            (Listing::Listed, Changed::Listing, _) => {
                Some(page::write(&head, &self.members, None, ROSTER_PAGE_MEMBERS))
            }
            (Listing::Listed, _, RosterChanges::Many) => Some(presence::numbers(&head, Some(REFRESH_MS))),
            (Listing::Listed, _, RosterChanges::Few(few)) => match self.difference(&head, &few) {
                Difference::None => is_news.then(|| presence::numbers(&head, None)),
                Difference::Frame(object) => Some(object),
                Difference::TooLarge => Some(presence::numbers(&head, Some(REFRESH_MS))),
            },
        };
        let is_counting = moved && !watching.count.is_empty();
        let has_members = !watching.members.is_empty();
        match members.filter(|_| has_members) {
            Some(object) => into.push(self.of(PushAudience::Current, watching.members, &object)),
            None if is_counting => {}
            None => self.revision -= 1,
        }
        if is_counting {
            into.push(self.of(
                PushAudience::Count,
                watching.count,
                &presence::numbers(&self.head(knowledge), None),
            ));
        }
        self.sent = self.numbers();
    }

    fn difference(&self, head: &RosterHead<'_>, few: &BTreeMap<UserName, Option<SentMember>>) -> Difference {
        let (mut joined, mut changed, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (user, before) in few {
            match (before, self.members.get(user)) {
                (None, Some(member)) => presence::member(&mut joined, &member.as_shown()),
                (Some(before), Some(member)) if *before != member.sent() => {
                    presence::member(&mut changed, &member.as_shown());
                }
                (Some(_), None) => presence::left(&mut left, user.as_str()),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        match joined.len() + changed.len() + left.len() {
            0 => Difference::None,
            bytes if bytes > MEMBERS_BYTES => Difference::TooLarge,
            _ => Difference::Frame(presence::difference(head, &joined, &changed, &left)),
        }
    }

    fn of(&self, audience: PushAudience, reactors: ReactorSet, object: &[u8]) -> RosterPush {
        let frame = Arc::from(presence::push(object));
        RosterPush { channel: self.channel.clone(), audience, reactors, answers: Arc::default(), frame }
    }

    /// A snapshot for these watches.
    fn answer(&self, audience: PushAudience, watches: &[WatchOf], object: &[u8]) -> RosterPush {
        let mut reactors = ReactorSet::default();
        for watch in watches {
            reactors.insert(watch.reactor);
        }
        RosterPush { answers: watches.into(), ..self.of(audience, reactors, object) }
    }
}
