//! Decides which channel is claimed next.
//!
//! A channel is with at most one sender until its publication is settled, so the first requests of a channel are in the order of its
//! log. A route has a number of seats, one for each request and each response that is being read. A channel that finds none waits in
//! the order of arrival. One whose publication turns out to be of a user without [room](super::share) is held back until a seat is
//! free, and then users have their turns.
//!
//! All of it may be lost: the store knows which channels wait, and a poll gives them to [`RelaySchedule::due`].

use crate::clock::Moment;
use crate::id::{ChannelName, UserName};
use ahash::AHashMap;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Channels that wait for a seat of one route, channels that are held back of one route, and channels that wait for a time. More are left
/// to the poll.
pub const WAITING_MAX: usize = 4_096;

/// A route's place in the schedule, which stays the same for as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutePlace(pub usize);

/// The state of a channel after its publication was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSettling {
    /// Nothing is to be sent, as far as it is known.
    Rest,
    /// It may be claimed again.
    Ready,
    /// It may be claimed after this time.
    Later(Moment),
}

/// The channels of all routes that wait or are with a sender.
#[derive(Debug, Default)]
pub struct RelaySchedule {
    routes: Vec<RouteSeats>,
    channels: AHashMap<ChannelName, ChannelPlace>,
    later: BTreeSet<(Moment, ChannelName)>,
    /// The route that is served first next time.
    turn: usize,
}

#[derive(Debug, Default)]
struct RouteSeats {
    all: usize,
    taken: usize,
    ready: VecDeque<ChannelName>,
    held: HeldChannels,
}

/// Channels whose next publication is of a user without room.
#[derive(Debug, Default)]
struct HeldChannels {
    count: usize,
    of_users: AHashMap<UserName, VecDeque<ChannelName>>,
    /// The users among them, in turn.
    turns: VecDeque<UserName>,
}

#[derive(Clone, Copy, Debug)]
enum ChannelPlace {
    /// In `ready` of the route.
    Ready(RoutePlace),
    /// With a sender. If `is_due`, something more is to be sent.
    Sent { route: RoutePlace, is_due: bool },
    /// In `held` of the route.
    Held(RoutePlace),
    /// In `later`.
    Later(RoutePlace, Moment),
}

impl RelaySchedule {
    /// A schedule of routes with this many seats each.
    pub fn new(seats: impl IntoIterator<Item = u16>) -> RelaySchedule {
        let mut schedule = RelaySchedule::default();
        for (at, all) in seats.into_iter().enumerate() {
            schedule.seat(RoutePlace(at), all);
        }
        schedule
    }

    /// Changes the seats of a route, or adds it. Taken seats stay taken.
    pub fn seat(&mut self, route: RoutePlace, all: u16) {
        if self.routes.len() <= route.0 {
            self.routes.resize_with(route.0 + 1, RouteSeats::default);
        }
        if let Some(seats) = self.routes.get_mut(route.0) {
            seats.all = usize::from(all);
        }
    }

    /// A publication of the channel was committed. One that waits for a time goes on waiting, because its backend is to be left alone;
    /// under another route it has another backend.
    pub fn noticed(&mut self, channel: ChannelName, route: RoutePlace) {
        match self.channels.get_mut(&channel) {
            Some(ChannelPlace::Sent { is_due, .. }) => *is_due = true,
            Some(ChannelPlace::Ready(of) | ChannelPlace::Held(of) | ChannelPlace::Later(of, _))
                if *of == route => {}
            Some(ChannelPlace::Ready(_) | ChannelPlace::Held(_) | ChannelPlace::Later(..)) => {
                self.withdraw(&channel);
                self.ready(channel, route);
            }
            None => self.ready(channel, route),
        }
    }

    /// The store says that the channel may be claimed now.
    pub fn due(&mut self, channel: ChannelName, route: RoutePlace) {
        if let Some(ChannelPlace::Later(..)) = self.channels.get(&channel) {
            self.withdraw(&channel);
        }
        self.noticed(channel, route);
    }

    /// Takes the next channel to claim, and a seat for it. `is_open` says if requests to a route may be made.
    pub fn next(
        &mut self,
        now: Moment,
        is_open: impl Fn(RoutePlace) -> bool,
    ) -> Option<(RoutePlace, ChannelName)> {
        self.wake(now);
        let count = self.routes.len();
        for step in 0..count {
            let route = RoutePlace((self.turn + step) % count);
            let seats = self.routes.get_mut(route.0)?;
            if seats.taken >= seats.all || seats.ready.is_empty() || !is_open(route) {
                continue;
            }
            let channel = seats.ready.pop_front()?;
            seats.taken += 1;
            self.turn = route.0 + 1;
            self.channels.insert(channel.clone(), ChannelPlace::Sent { route, is_due: false });
            return Some((route, channel));
        }
        None
    }

    /// Takes another seat for a channel that is with a sender, which goes on with a response. False if there is none.
    pub fn take_over(&mut self, channel: &ChannelName) -> bool {
        let Some(ChannelPlace::Sent { route, .. }) = self.channels.get(channel) else { return false };
        let Some(seats) = self.routes.get_mut(route.0) else { return false };
        let has_room = seats.taken < seats.all;
        seats.taken += usize::from(has_room);
        has_room
    }

    /// The publication of a channel was settled, or nothing was claimed. `route` is the one that the channel has now, because a reload
    /// may have given it another than it was sent under; `None`: it has none.
    pub fn settled(&mut self, channel: &ChannelName, after: AfterSettling, route: Option<RoutePlace>) {
        let Some(ChannelPlace::Sent { is_due, .. }) = self.channels.get(channel).copied() else { return };
        self.channels.remove(channel);
        let Some(route) = route else { return };
        match after {
            AfterSettling::Rest if !is_due => {}
            AfterSettling::Rest | AfterSettling::Ready => self.ready(channel.clone(), route),
            AfterSettling::Later(_) if self.later.len() >= WAITING_MAX => {}
            AfterSettling::Later(at) => {
                self.later.insert((at, channel.clone()));
                self.channels.insert(channel.clone(), ChannelPlace::Later(route, at));
            }
        }
    }

    /// The publication of a channel was claimed and released, because its author has no room. It waits for [`RelaySchedule::let_go`].
    pub fn hold(&mut self, channel: &ChannelName, user: UserName, route: Option<RoutePlace>) {
        let Some(ChannelPlace::Sent { .. }) = self.channels.get(channel) else { return };
        self.channels.remove(channel);
        let Some(route) = route else { return };
        let Some(seats) = self.routes.get_mut(route.0) else { return };
        if seats.held.count < WAITING_MAX {
            seats.held.push(user, channel.clone());
            self.channels.insert(channel.clone(), ChannelPlace::Held(route));
        }
    }

    /// A seat of a route is free: a channel that is held back may be claimed, if its user has room. Users have their turns.
    pub fn let_go(&mut self, route: RoutePlace, has_room: impl Fn(&UserName) -> bool) {
        let Some(seats) = self.routes.get_mut(route.0) else { return };
        if let Some(channel) = seats.held.pop(has_room) {
            self.channels.remove(&channel);
            self.ready(channel, route);
        }
    }

    /// A sender is free.
    pub fn freed(&mut self, route: RoutePlace) {
        if let Some(seats) = self.routes.get_mut(route.0) {
            seats.taken = seats.taken.saturating_sub(1);
        }
    }

    /// Forgets the channels of a route that are with no sender: the store knows them.
    pub fn forget(&mut self, route: RoutePlace) {
        if let Some(seats) = self.routes.get_mut(route.0) {
            seats.ready.clear();
            seats.held = HeldChannels::default();
        }
        self.channels.retain(|_, place| match place {
            ChannelPlace::Ready(of) | ChannelPlace::Held(of) | ChannelPlace::Later(of, _) => *of != route,
            ChannelPlace::Sent { .. } => true,
        });
        let channels = &self.channels;
        self.later.retain(|(_, channel)| channels.contains_key(channel));
    }

    /// The channels that are with a sender.
    pub fn sent(&self) -> usize {
        self.channels.values().filter(|place| matches!(place, ChannelPlace::Sent { .. })).count()
    }

    /// RouteSeats taken of a route.
    pub fn taken(&self, route: RoutePlace) -> usize {
        self.routes.get(route.0).map_or(0, |seats| seats.taken)
    }

    /// When a channel has waited long enough.
    pub fn wakes(&self) -> Option<Moment> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Removes a channel that waits.
    fn withdraw(&mut self, channel: &ChannelName) {
        match self.channels.remove(channel) {
            Some(ChannelPlace::Ready(of)) => {
                if let Some(seats) = self.routes.get_mut(of.0) {
                    seats.ready.retain(|waiting| waiting != channel);
                }
            }
            Some(ChannelPlace::Held(of)) => {
                if let Some(seats) = self.routes.get_mut(of.0) {
                    seats.held.remove(channel);
                }
            }
            Some(ChannelPlace::Later(_, at)) => drop(self.later.remove(&(at, channel.clone()))),
            Some(ChannelPlace::Sent { .. }) | None => {}
        }
    }

    fn wake(&mut self, now: Moment) {
        while let Some((at, _)) = self.later.first()
            && *at <= now
            && let Some((_, channel)) = self.later.pop_first()
        {
            if let Some(ChannelPlace::Later(route, _)) = self.channels.remove(&channel) {
                self.ready(channel, route);
            }
        }
    }

    fn ready(&mut self, channel: ChannelName, route: RoutePlace) {
        let Some(seats) = self.routes.get_mut(route.0) else { return };
        if seats.ready.len() < WAITING_MAX {
            seats.ready.push_back(channel.clone());
            self.channels.insert(channel, ChannelPlace::Ready(route));
        }
    }
}

impl HeldChannels {
    fn push(&mut self, user: UserName, channel: ChannelName) {
        self.count += 1;
        match self.of_users.get_mut(&user) {
            Some(channels) => channels.push_back(channel),
            None => {
                self.turns.push_back(user.clone());
                self.of_users.insert(user, VecDeque::from([channel]));
            }
        }
    }

    /// The next channel of the first user that has room. That user is the last one next time.
    fn pop(&mut self, has_room: impl Fn(&UserName) -> bool) -> Option<ChannelName> {
        let place = self.turns.iter().position(has_room)?;
        let user = self.turns.remove(place)?;
        let channels = self.of_users.get_mut(&user)?;
        let channel = channels.pop_front();
        if channels.is_empty() {
            self.of_users.remove(&user);
        } else {
            self.turns.push_back(user);
        }
        self.count = self.count.saturating_sub(usize::from(channel.is_some()));
        channel
    }

    fn remove(&mut self, channel: &ChannelName) {
        self.of_users.values_mut().for_each(|channels| channels.retain(|held| held != channel));
        self.of_users.retain(|_, channels| !channels.is_empty());
        let of_users = &self.of_users;
        self.turns.retain(|user| of_users.contains_key(user));
        self.count = of_users.values().map(VecDeque::len).sum();
    }
}

/// The moment after a wait.
pub fn later(now: Moment, wait: Duration) -> AfterSettling {
    AfterSettling::Later(now + wait)
}

#[cfg(test)]
mod tests;
