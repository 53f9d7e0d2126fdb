//! The schedule of a run: connections that come and go, and faults.

use super::fault::Fault;
use super::instance::{self, CHANNELS, GRACE, Interest, LEFTOVER, ModelInstance, channel};
use super::redis::ModelRedis;
use super::watcher::ModelRoster;
use seawall::clock::{Moment, Now};
use seawall::id::{ChannelName, PresenceState, ReactorId, UserName};
use seawall::roster::{ConnectionId, Departure, RosterEvent, Shown};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const INSTANCES: usize = 4;
/// This one has no watchers. Its roster is read twice, and forgotten in between.
const READER: usize = 3;
const READ_MS: u64 = 27_000;
const USERS: u64 = 12;
const STEP_MS: u64 = 100;
/// Faults begin after this time.
const START_MS: u64 = 5_000;
/// Connections come and go until then, and all faults are over.
const HEAL_MS: u64 = 45_000;
/// Then everything must be true.
const END_MS: u64 = HEAL_MS + 25_000;
/// The longest wait for a page.
const PAGE_STEPS: usize = 12;
/// The truth must be old before an answer that calls itself complete is compared with it: an instance that is killed is known to be
/// gone after 5.1 s, and then its members stay for the grace.
const SETTLED_MS: u64 = 17_000;
/// A user that has left long ago, and whose field is still there.
const GHOST: &str = "ghost";
/// Rosters that change each second in a storm, more than two writes hold, and the time of a write then.
const STORM_ROSTERS: u64 = 1_100;
const STORM_WRITE: Duration = Duration::from_secs(1);
/// Users that are there since this time are shown in a storm.
const STORM_SHOWN_MS: u64 = 8_000;

#[derive(Clone, Debug)]
struct Connection {
    user: u64,
    channel: usize,
    instance: usize,
    since_ms: u64,
}

pub(super) struct World {
    random: fastrand::Rng,
    ms: u64,
    redis: ModelRedis,
    /// The data of a second ago and earlier.
    replicas: Vec<ModelRedis>,
    is_redis_up: bool,
    instances: Vec<Option<ModelInstance>>,
    rows: BTreeMap<u64, Moment>,
    origins: u64,
    names: u64,
    connections: BTreeMap<u64, Connection>,
    /// Clients that come back: when, and their user and channel.
    returns: Vec<(u64, u64, usize)>,
    /// Connections come and go without rest, so that only the end can be compared.
    is_restless: bool,
    /// A client waits for a page of [`READER`].
    awaits_page: bool,
    changed_ms: u64,
    /// Connections of a stopped process count as they like.
    unsure_until_ms: u64,
    is_stormy: bool,
    false_leaves: Vec<String>,
    incomplete: u32,
    ghosts: u32,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut world = World {
            random: fastrand::Rng::with_seed(seed),
            ms: 0,
            redis: ModelRedis::default(),
            replicas: Vec::new(),
            is_redis_up: true,
            instances: Vec::new(),
            rows: BTreeMap::new(),
            origins: 0,
            names: 0,
            connections: BTreeMap::new(),
            returns: Vec::new(),
            is_restless: seed % 2 == 1,
            awaits_page: false,
            changed_ms: 0,
            unsure_until_ms: 0,
            is_stormy: false,
            false_leaves: Vec::new(),
            incomplete: 0,
            ghosts: 0,
        };
        (0..CHANNELS).for_each(|number| world.redis.leave_behind(LEFTOVER, &channel(number), GHOST));
        for place in 0..INSTANCES {
            let instance =
                world.start_instance(if place == READER { Interest::Readers } else { Interest::Watchers });
            world.instances.push(Some(instance));
        }
        world
    }

    /// Leaves of users that were there.
    pub(super) fn false_leaves(&self) -> &[String] {
        &self.false_leaves
    }

    /// Steps of instances after the start at which a watcher had no complete roster.
    pub(super) fn incomplete_after_start(&self) -> u32 {
        self.incomplete
    }

    /// Pages that showed a user that had left long ago.
    pub(super) fn ghosts(&self) -> u32 {
        self.ghosts
    }

    fn now(&self) -> Now {
        Now { at: Moment::from_micros((self.ms + 1_000) * 1_000), unix_ms: 1_760_000_000_000 + self.ms }
    }

    fn start_instance(&mut self, interest: Interest) -> ModelInstance {
        self.origins += 1;
        ModelInstance::new(self.origins, interest, self.now())
    }

    /// Runs a schedule to its end, and compares.
    pub(super) fn run(&mut self, faults: &[Fault]) {
        let plan: Vec<(Fault, u64, u64)> = faults
            .iter()
            .map(|fault| {
                let begins = self.random.u64(START_MS..30_000);
                (*fault, begins, (begins + self.random.u64(1_000..25_000)).min(HEAL_MS))
            })
            .collect();
        while self.ms < END_MS {
            for (fault, begins, ends) in &plan {
                let step = |at: &u64| (self.ms..self.ms + STEP_MS).contains(at);
                let (begins, ends) = (step(begins), step(ends));
                if begins {
                    self.begin(*fault);
                }
                if ends {
                    self.end(*fault);
                }
            }
            self.churn();
            self.rage();
            self.step();
            self.ms += STEP_MS;
        }
        for number in 0..CHANNELS {
            let truth = ModelRoster { members: self.truth(number), is_complete: true };
            for instance in self.watched() {
                let roster = &instance.watchers[number].roster;
                assert_eq!(*roster, truth, "{number} of {}: {instance:?}", instance.origin);
            }
        }
        let truth = ModelRoster { members: self.truth(0), is_complete: true };
        self.awaits_page = true;
        let page = std::iter::repeat_with(|| {
            self.step();
            self.ms += STEP_MS;
            self.read()
        });
        let page = page.take(PAGE_STEPS).flatten().next();
        assert_eq!(page, Some(truth), "of the page: {:?}", self.instances[READER]);
    }

    /// The instances with watchers.
    fn watched(&self) -> impl Iterator<Item = &ModelInstance> {
        self.instances.iter().take(READER).flatten()
    }

    /// The page that a client waits for.
    fn read(&mut self) -> Option<ModelRoster> {
        let now = self.now().at;
        let reader = self.instances[READER].as_mut().filter(|_| self.awaits_page)?;
        let page = reader.page(now)?;
        self.awaits_page = false;
        Some(page)
    }

    fn truth(&self, channel: usize) -> BTreeMap<String, u64> {
        let mut truth = BTreeMap::new();
        for connection in self.connections.values().filter(|connection| connection.channel == channel) {
            *truth.entry(format!("u{}", connection.user)).or_default() += 1;
        }
        truth
    }

    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::RedisDown => self.is_redis_up = false,
            Fault::RedisEmptied => self.redis = ModelRedis::default(),
            Fault::RedisOlder => {
                let age = self.random.usize(0..3);
                if let Some(replica) = self.replicas.iter().rev().nth(age) {
                    self.redis = replica.clone();
                }
            }
            Fault::CutOff => self.set(1, |instance| instance.reaches = false),
            Fault::Deaf => self.set(1, |instance| instance.hears = false),
            Fault::Stopped => {
                self.unsure_until_ms = u64::MAX;
                self.set(2, |instance| instance.is_stopped = true);
            }
            Fault::Killed => self.kill(),
            Fault::Storm => {
                self.is_stormy = true;
                self.set(1, |instance| instance.write_time = STORM_WRITE);
            }
        }
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::RedisDown => self.is_redis_up = true,
            Fault::RedisEmptied | Fault::RedisOlder => {}
            Fault::CutOff => self.set(1, |instance| instance.reaches = true),
            Fault::Deaf => self.set(1, |instance| instance.hears = true),
            Fault::Stopped => {
                self.unsure_until_ms = self.ms + SETTLED_MS;
                self.set(2, |instance| instance.is_stopped = false);
            }
            Fault::Storm => {
                self.is_stormy = false;
                self.set(1, |instance| instance.write_time = instance::WAY);
            }
            Fault::Killed => {
                if self.instances[2].is_none() {
                    let instance = self.start_instance(Interest::Watchers);
                    self.instances[2] = Some(instance);
                    // It hears of the one before it only now.
                    self.changed_ms = self.ms;
                }
            }
        }
    }

    fn set(&mut self, place: usize, act: impl FnOnce(&mut ModelInstance)) {
        if let Some(instance) = &mut self.instances[place] {
            act(instance);
        }
    }

    fn kill(&mut self) {
        if self.instances[2].take().is_none() {
            return;
        }
        for (_, connection) in
            self.connections.extract_if(.., |_, connection| connection.instance == 2).collect::<Vec<_>>()
        {
            self.may_return(connection.user, connection.channel);
        }
        self.changed_ms = self.ms;
    }

    /// Half of the clients that lose their connection come back.
    fn may_return(&mut self, user: u64, channel: usize) {
        if self.random.bool() {
            self.returns.push((self.ms + self.random.u64(100..12_000), user, channel));
        }
    }

    /// Changes the rosters of a storm.
    fn rage(&mut self) {
        if !self.is_stormy || !self.ms.is_multiple_of(1_000) {
            return;
        }
        let (now, state) = (self.now(), if self.ms.is_multiple_of(2_000) { "even" } else { "odd" });
        let shown = Arc::new(Shown { user: UserName::parse("rager").expect("a user"), info: None });
        for number in 0..STORM_ROSTERS {
            let event = RosterEvent::Present {
                // They are before the others in any order.
                channel: ChannelName::parse(&format!("a{number}")).expect("a name"),
                connection: ConnectionId { name: 1_000_000 + number, reactor: ReactorId(0) },
                shown: Arc::clone(&shown),
                state: PresenceState::parse(state).ok(),
            };
            self.set(1, |instance| instance.rosters.handle(event, now));
        }
    }

    /// Lets connections come and go.
    fn churn(&mut self) {
        let ms = self.ms;
        for (_, user, channel) in self.returns.extract_if(.., |(at, _, _)| *at <= ms).collect::<Vec<_>>() {
            self.come(user, channel);
        }
        // In between nothing changes, so that what is called complete can be compared.
        let comes_and_goes = self.ms < HEAL_MS && (self.is_restless || self.ms % 30_000 < 8_000);
        if comes_and_goes && self.random.u8(0..8) == 0 {
            let (user, channel) = (self.random.u64(0..USERS), self.random.usize(0..CHANNELS));
            if self.connections.len() < 8 || self.random.bool() && self.connections.len() < 25 {
                self.come(user, channel);
            } else {
                self.go();
            }
        }
    }

    fn come(&mut self, user: u64, number: usize) {
        let places: Vec<usize> = (0..INSTANCES)
            .filter(|place| self.instances[*place].as_ref().is_some_and(|instance| !instance.is_stopped))
            .collect();
        let instance = places[self.random.usize(0..places.len())];
        self.names += 1;
        let (name, now) = (self.names, self.now());
        let user_name = UserName::parse(&format!("u{user}")).expect("a user");
        let event = RosterEvent::Present {
            channel: channel(number),
            connection: ConnectionId { name, reactor: ReactorId(0) },
            shown: Arc::new(Shown { user: user_name, info: None }),
            state: None,
        };
        self.set(instance, |instance| instance.rosters.handle(event, now));
        self.connections.insert(name, Connection { user, channel: number, instance, since_ms: self.ms });
        self.changed_ms = self.ms;
    }

    fn go(&mut self) {
        let place = self.random.usize(0..self.connections.len());
        let Some((name, connection)) = self.connections.iter().nth(place) else { return };
        let (name, connection, now) = (*name, connection.clone(), self.now());
        if self.instances[connection.instance].as_ref().is_none_or(|instance| instance.is_stopped) {
            return;
        }
        self.connections.remove(&name);
        let departure = if self.random.bool() { Departure::Deliberate } else { Departure::Lost };
        if departure == Departure::Lost {
            self.may_return(connection.user, connection.channel);
        }
        let event = RosterEvent::Absent {
            channel: channel(connection.channel),
            connection: ConnectionId { name, reactor: ReactorId(0) },
            user: UserName::parse(&format!("u{}", connection.user)).expect("a user"),
            departure,
        };
        self.set(connection.instance, |instance| instance.rosters.handle(event, now));
        self.changed_ms = self.ms;
    }

    fn step(&mut self) {
        if self.ms.is_multiple_of(1_000) {
            self.replicas.push(self.redis.clone());
        }
        let now = self.now();
        let mut published = Vec::new();
        let rows: Vec<(u64, Moment)> = self.rows.iter().map(|(origin, at)| (*origin, *at)).collect();
        let mut left = Vec::new();
        for instance in self.instances.iter_mut().flatten().filter(|instance| !instance.is_stopped) {
            let redis = self.is_redis_up.then_some(&mut self.redis);
            let (more, users) = instance.step(redis, &rows, now);
            published.extend(more);
            left.extend(users.into_iter().map(|(channel, user)| (instance.origin, channel, user)));
            self.rows.insert(instance.origin, instance.row);
        }
        for instance in self.instances.iter_mut().flatten() {
            published.iter().for_each(|published| instance.send(published, now.at));
        }
        for (origin, channel, user) in left {
            let is_there = |connection: &Connection| {
                let is_same = connection.channel == channel && format!("u{}", connection.user) == user;
                is_same && connection.since_ms + 1_000 < self.ms
            };
            if let Some(there) = self.connections.values().find(|connection| is_there(connection)) {
                self.false_leaves.push(format!("at {} ms: {there:?} at {origin}", self.ms));
            }
        }
        self.compare();
    }

    /// Checks that rosters which are called complete are.
    fn compare(&mut self) {
        if self.ms < START_MS || !self.ms.is_multiple_of(500) {
            return;
        }
        let is_settled = self.ms > self.changed_ms + SETTLED_MS && self.ms > self.unsure_until_ms;
        let is_settled = is_settled && self.ms > SETTLED_MS + GRACE.as_millis() as u64;
        let truths: [_; CHANNELS] = std::array::from_fn(|number| self.truth(number));
        let mut incomplete = 0;
        for instance in self.watched().filter(|instance| !instance.is_stopped) {
            for (watcher, truth) in instance.watchers.iter().zip(&truths) {
                let ModelRoster { members, is_complete } = &watcher.roster;
                if !is_complete {
                    incomplete += 1;
                } else if is_settled {
                    assert_eq!(
                        members, truth,
                        "{} calls it complete at {} ms: {:?}",
                        instance.origin, self.ms, instance.rosters
                    );
                }
            }
        }
        if self.is_stormy {
            self.see_users_in_a_storm();
        }
        if incomplete > 0 {
            self.incomplete += incomplete;
            // Silence of others is counted again, and each instance notices the end of a fault by itself.
            self.unsure_until_ms = self.unsure_until_ms.max(self.ms + SETTLED_MS);
        }
        if self.ms == READ_MS {
            self.awaits_page = true;
        }
        if self.ms < END_MS
            && let Some(page) = self.read()
        {
            self.incomplete += u32::from(!page.is_complete);
            self.ghosts += u32::from(page.members.contains_key(GHOST));
            let truth = &truths[0];
            assert!(!page.is_complete || !is_settled || page.members == *truth, "{page:?} and not {truth:?}");
        }
    }

    /// Checks that users are shown although much waits to be written.
    fn see_users_in_a_storm(&self) {
        for connection in self.connections.values().filter(|one| one.since_ms + STORM_SHOWN_MS < self.ms) {
            let user = format!("u{}", connection.user);
            for instance in self.watched() {
                let members = &instance.watchers[connection.channel].roster.members;
                assert!(members.contains_key(&user), "{user} is not shown: {connection:?} {members:?}");
            }
        }
    }
}
