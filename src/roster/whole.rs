//! All rosters of the process.

pub(super) mod shared;

use super::event::{ConnectionId, Departure, RosterEvent};
use super::page::PageWish;
use super::recount::{Recounts, Unconfirmed};
use super::sharing::{HeldEnd, SharedRosters, Watchers};
use super::single::Roster;
use super::view::HOLD;
use super::watching::{RosterPush, WatchOf};
use crate::clock::{Moment, Now};
use crate::id::{ChannelName, ReactorId, UserName};
use crate::wire::presence::RosterKnowledge;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

/// How long a user stays after a deliberate departure.
const LINGER: Duration = Duration::from_secs(1);
/// Alarms that are kept in addition to two for each connection and roster: more are outdated.
const ALARMS_SPARE: usize = 1_024;

/// The rules for all rosters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterRules {
    /// How long a user stays after a lost connection.
    pub grace: Duration,
    /// Members above which a roster is counted.
    pub members_max: u32,
}

/// The sizes of all rosters together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RosterSizes {
    pub rosters: usize,
    /// Users at this instance, once for each roster that they are on.
    pub members: u64,
    /// Connections at this instance, once for each roster that they are on.
    pub connections: u64,
    /// Rosters with watchers.
    pub watched: u64,
    /// Rosters that are kept up to date with other instances, and the memory of those members in bytes.
    pub views: usize,
    pub views_bytes: usize,
    /// Rosters with changes that other instances are not sent yet.
    pub unwritten: usize,
}

/// All rosters of the process: see the module documentation.
#[derive(Debug)]
pub struct Rosters {
    rules: RosterRules,
    /// The knowledge of rosters that are not shared with other instances.
    knowledge: RosterKnowledge,
    /// `None`: rosters are not shared.
    sharing: Option<Box<SharedRosters>>,
    rosters: HashMap<ChannelName, Roster, ahash::RandomState>,
    /// Frames and ends that become due; some are outdated.
    alarms: BinaryHeap<Reverse<Alarm>>,
    departures: u16,
    recounts: Recounts,
    sizes: RosterSizes,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alarm {
    at: Moment,
    channel: ChannelName,
    kind: AlarmKind,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AlarmKind {
    /// The watchers get a frame.
    Push,
    /// The departure of a connection with this number ends.
    End { user: UserName, name: u64, departure: u16 },
}

impl Rosters {
    /// `hasher` is seeded by the caller.
    pub fn new(rules: RosterRules, knowledge: RosterKnowledge, hasher: ahash::RandomState) -> Rosters {
        Rosters {
            rules,
            knowledge,
            sharing: None,
            rosters: HashMap::with_hasher(hasher),
            alarms: BinaryHeap::new(),
            departures: 0,
            recounts: Recounts::default(),
            sizes: RosterSizes::default(),
        }
    }

    /// Changes the rules. A departure that has begun keeps its time.
    pub fn revise(&mut self, rules: RosterRules) {
        self.rules = rules;
    }

    /// Says what is known of rosters that are not shared with other instances. Watchers are sent it if it changes.
    pub fn set_knowledge(&mut self, knowledge: RosterKnowledge, now: Moment) {
        if std::mem::replace(&mut self.knowledge, knowledge) == knowledge || self.sharing.is_some() {
            return;
        }
        let watched = self.rosters.iter().filter(|(_, roster)| roster.is_watched());
        for channel in watched.map(|(channel, _)| channel.clone()).collect::<Vec<_>>() {
            self.change(&channel, now, |_| ());
        }
    }

    pub fn sizes(&self) -> RosterSizes {
        let (views, views_bytes) = self.sharing.as_ref().map_or((0, 0), |sharing| sharing.sizes());
        let unwritten = self.sharing.as_ref().map_or(0, |sharing| sharing.writes.dirty.len());
        RosterSizes { rosters: self.rosters.len(), views, views_bytes, unwritten, ..self.sizes }
    }

    /// The memory of all rosters, in bytes. It looks at every member.
    pub fn bytes(&self) -> usize {
        let place = size_of::<(ChannelName, Roster)>() + 1;
        let rosters = self.rosters.values().map(Roster::heap_bytes).sum::<usize>();
        self.rosters.capacity() * place + self.alarms.capacity() * size_of::<Alarm>() + rosters
    }

    /// The next moment at which [`advance`](Rosters::advance) has something to do.
    pub fn due(&self) -> Option<Moment> {
        let alarm = self.alarms.peek().map(|Reverse(alarm)| alarm.at);
        alarm.into_iter().chain(self.sharing.as_ref().and_then(|sharing| sharing.due())).min()
    }

    /// Takes an event.
    pub fn handle(&mut self, event: RosterEvent, now: Now) {
        match event {
            RosterEvent::Present { channel, connection, shown, state } => {
                self.recounts.confirm(&channel, connection);
                self.change(&channel, now.at, |roster| roster.present(shown, connection, state, now));
            }
            RosterEvent::Absent { channel, connection, user, departure } => {
                self.depart(&channel, connection.name, &user, departure, now.at);
            }
            RosterEvent::Watch { channel, reactor, detail, number } => {
                let watch = WatchOf { reactor, number };
                self.change(&channel, now.at, |roster| roster.watch(watch, detail));
            }
            RosterEvent::Unwatch { channel, reactor, detail } => {
                self.change(&channel, now.at, |roster| roster.unwatch(reactor, detail));
            }
            RosterEvent::Recounting { reactor } => {
                let known = self.held_by(reactor);
                self.recounts.begin(reactor, known);
            }
            RosterEvent::Recounted { reactor } => {
                for ((channel, name), user) in self.recounts.end(reactor) {
                    self.depart(&channel, name, &user, Departure::Lost, now.at);
                }
                self.unwatch_all(reactor, now.at);
            }
        }
    }

    /// The memberships of a reactor's connections.
    fn held_by(&self, reactor: ReactorId) -> Unconfirmed {
        let mut held = Unconfirmed::new();
        for (channel, roster) in &self.rosters {
            let own = roster.connections().filter(|(_, connection)| connection.reactor == reactor);
            held.extend(own.map(|(user, ConnectionId { name, .. })| ((channel.clone(), name), user.clone())));
        }
        held
    }

    /// Takes all watches of a reactor away.
    fn unwatch_all(&mut self, reactor: ReactorId, now: Moment) {
        let watched = self.rosters.iter().filter(|(_, roster)| roster.is_watched());
        for channel in watched.map(|(channel, _)| channel.clone()).collect::<Vec<_>>() {
            self.change(&channel, now, |roster| roster.unwatch_all(reactor));
        }
    }

    /// The object `presence` with a page of a roster.
    pub fn page(&mut self, wish: &PageWish) -> Vec<u8> {
        let (knowledge, missing) = (self.knowledge_of(&wish.channel), self.missing(&wish.channel));
        match self.rosters.get_mut(&wish.channel) {
            Some(roster) => roster.page(wish, knowledge, &missing),
            None => Roster::new(wish.channel.clone(), None).page(wish, knowledge, &missing),
        }
    }

    /// Ends the departures that are due, and returns the frames that are.
    pub fn advance(&mut self, now: Now) -> Vec<RosterPush> {
        self.advance_views(now.at);
        let mut pushes = Vec::new();
        while let Some(Reverse(alarm)) = self.alarms.peek()
            && alarm.at <= now.at
            && let Some(Reverse(Alarm { at, channel, kind })) = self.alarms.pop()
        {
            match kind {
                AlarmKind::End { user, name, departure } => {
                    let end = HeldEnd { user, name, departure, until: now.at + HOLD };
                    let end = match &mut self.sharing {
                        Some(sharing) => sharing.hold(&channel, end),
                        None => Some(end),
                    };
                    self.end(&channel, end.as_slice(), now.at);
                }
                AlarmKind::Push => self.push(channel, at, now.at, &mut pushes),
            }
        }
        self.sweep();
        pushes
    }

    /// Ends departures.
    fn end(&mut self, channel: &ChannelName, ends: &[HeldEnd], now: Moment) {
        if !ends.is_empty() {
            self.change(channel, now, |roster| {
                for HeldEnd { user, name, departure, until: _ } in ends {
                    roster.remove(user, *name, Some(*departure), now);
                }
            });
        }
    }

    fn push(&mut self, channel: ChannelName, at: Moment, now: Moment, into: &mut Vec<RosterPush>) {
        let knowledge = self.knowledge_of(&channel);
        let opening = self.sharing.as_ref().and_then(|sharing| sharing.opening(&channel, now));
        let Some(roster) = self.rosters.get_mut(&channel) else { return };
        if roster.due() != Some(at) {
            return;
        }
        match opening {
            Some(until) => roster.postpone(until),
            None => roster.push(knowledge, now, into),
        }
        if let Some(at) = roster.due() {
            self.alarms.push(Reverse(Alarm { at, channel, kind: AlarmKind::Push }));
        }
    }

    fn depart(
        &mut self,
        channel: &ChannelName,
        name: u64,
        user: &UserName,
        departure: Departure,
        now: Moment,
    ) {
        let stays = match departure {
            Departure::Deliberate => LINGER,
            Departure::Lost => self.rules.grace,
            Departure::Ended => Duration::ZERO,
        };
        if !self.rosters.contains_key(channel) {
            return;
        }
        if stays.is_zero() {
            self.change(channel, now, |roster| roster.remove(user, name, None, now));
            return;
        }
        // 0 means present.
        self.departures = self.departures.checked_add(1).unwrap_or(1);
        let number = self.departures;
        if self.change(channel, now, |roster| roster.depart(user, name, number, now)) {
            let kind = AlarmKind::End { user: user.clone(), name, departure: number };
            self.alarms.push(Reverse(Alarm { at: now + stays, channel: channel.clone(), kind }));
        }
    }

    /// Changes a roster, which is created if there is none and removed if nothing refers to it, and plans its next frame.
    fn change<R>(&mut self, channel: &ChannelName, now: Moment, act: impl FnOnce(&mut Roster) -> R) -> R {
        let new = |sharing: &Option<Box<SharedRosters>>| {
            Roster::new(channel.clone(), sharing.as_ref().map(|_| Box::default()))
        };
        if !self.rosters.contains_key(channel) {
            self.rosters.insert(channel.clone(), new(&self.sharing));
        }
        let Some(roster) = self.rosters.get_mut(channel) else { return act(&mut new(&None)) };
        let counts = |roster: &Roster| {
            let (members, connections) = roster.own_numbers();
            (u64::from(members), u64::from(connections), u64::from(roster.is_watched()))
        };
        let before = counts(roster);
        if let Some(sharing) = &self.sharing {
            roster.set_rise(sharing.rise(channel));
        }
        let result = act(roster);
        let after = counts(roster);
        let sizes = &mut self.sizes;
        sizes.members = sizes.members + after.0 - before.0;
        sizes.connections = sizes.connections + after.1 - before.1;
        sizes.watched = sizes.watched + after.2 - before.2;
        if let Some(sharing) = &mut self.sharing {
            let watchers = if roster.is_watched() { Watchers::Some } else { Watchers::None };
            sharing.note_roster(channel, watchers, roster.take_settling(), now);
            if roster.segment_mut().is_some_and(|segment| segment.is_dirty()) {
                sharing.writes.want(channel, now);
            }
        }
        if roster.is_unused() {
            self.rosters.remove(channel);
        } else if let Some(at) = roster.plan(self.rules.members_max, now) {
            self.alarms.push(Reverse(Alarm { at, channel: channel.clone(), kind: AlarmKind::Push }));
        }
        result
    }

    /// Drops outdated alarms once they are the greater part, and memory that a crowd left behind.
    fn sweep(&mut self) {
        let most = 2 * (self.rosters.len() + self.sizes.connections as usize) + ALARMS_SPARE;
        if self.alarms.len() > most {
            let rosters = &self.rosters;
            self.alarms.retain(|Reverse(alarm)| {
                rosters.get(&alarm.channel).is_some_and(|roster| match &alarm.kind {
                    AlarmKind::Push => roster.due() == Some(alarm.at),
                    AlarmKind::End { user, name, departure } => roster.departs(user, *name, *departure),
                })
            });
        }
        if self.alarms.capacity() > 4 * (self.alarms.len() + ALARMS_SPARE) {
            self.alarms.shrink_to(self.alarms.len() + ALARMS_SPARE);
        }
        if self.rosters.capacity() > 4 * (self.rosters.len() + ALARMS_SPARE) {
            self.rosters.shrink_to(self.rosters.len() + ALARMS_SPARE);
        }
    }
}
