//! Everything together, moved one step at a time by the seed.

use super::client::Client;
use super::drain::listens;
use super::frame::{Channel, Frame};
use super::instance::{Instance, Kind, limits};
use super::rogue::Rogue;
use super::schedule::{Weather, calm_pause_ms, chance, pause_ms};
use super::shadow::Shadow;
use super::shell::{Shell, Work};
use super::socket::{Shared, Socket};
use super::store::Store;
use super::trace::Trace;
use super::work::StoreQueue;
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::job::{Broadcast, Completion};
use seawall::session::AuthMode;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

pub const CHANNELS: u8 = 4;
const STEPS: u64 = 450;
const SETTLE_STEPS: u64 = 4_000;
const CLIENTS: usize = 7;
const ROGUES: usize = 3;

pub struct World {
    pub now: Now,
    pub rng: Rng,
    pub store: Store,
    pub queue: StoreQueue,
    pub instances: Vec<Instance>,
    pub weather: Weather,
    pub trace: Rc<Trace>,
    clients: Vec<Client>,
    rogues: Vec<Rogue>,
    /// By instance and connection.
    pub shadows: BTreeMap<(usize, u64), Shadow>,
    connections: u64,
    weather_until: Moment,
}

impl World {
    pub fn new(seed: u64, trace: Rc<Trace>) -> World {
        let mut rng = Rng::with_seed(seed);
        let now = Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_763_770_000_000 };
        let limits = limits(&mut rng);
        let kind = Kind::draw(&mut rng);
        let mode = kind.auth;
        let mut instances: Vec<Instance> =
            ["gw-0", "gw-1"].map(|name| Instance::new(name, &limits, kind, now)).into();
        instances.iter_mut().for_each(|instance| instance.start(now, &mut rng));
        let clients = (0..CLIENTS).map(|number| client(number, mode, &mut rng)).collect();
        let rogues = (0..ROGUES).map(|number| Rogue::new(user(number, mode))).collect();
        World {
            now,
            rng,
            store: Store::new(),
            queue: StoreQueue::default(),
            instances,
            weather: Weather::fair(),
            trace,
            clients,
            rogues,
            shadows: BTreeMap::new(),
            connections: 0,
            weather_until: now.at,
        }
    }

    /// The whole of a run: faults, calm, and the end of all connections.
    pub fn run(&mut self) {
        for _ in 0..STEPS {
            self.change_weather();
            self.mishap();
            self.step(Phase::Faults);
        }
        self.settle();
        self.end();
    }

    fn change_weather(&mut self) {
        if self.weather_until <= self.now.at {
            self.weather = if self.rng.u8(..3) == 0 { Weather::fair() } else { Weather::foul(&mut self.rng) };
            self.weather_until = self.now.at + Duration::from_millis(self.rng.u64(200..7_000));
            let weather = &self.weather;
            self.trace.note(self.now, || format!("weather {weather:?}"));
        }
    }

    /// Rare events of processes and of the log.
    fn mishap(&mut self) {
        match self.rng.u16(..600) {
            0 => {
                let index = self.rng.usize(..self.instances.len());
                self.crash(index);
            }
            1 => self.restore(),
            2..4 => self.storm(),
            4..10 => {
                let (channel, keep) = (self.rng.u8(..CHANNELS), self.rng.u64(..60));
                self.trace.note(self.now, || format!("retention keeps {keep} of c{channel}"));
                self.store.retain(channel, keep);
            }
            10..13 => {
                let index = self.rng.usize(..self.instances.len());
                self.signal(index);
            }
            _ => {}
        }
        for index in 0..self.instances.len() {
            if !self.instances[index].up && chance(&mut self.rng, 3) {
                self.trace.note(self.now, || format!("gw-{index} starts"));
                self.instances[index].start(self.now, &mut self.rng);
            }
        }
    }

    fn crash(&mut self, index: usize) {
        self.trace.note(self.now, || format!("gw-{index} crashes"));
        self.instances[index].crash();
        self.shadows.retain(|(instance, _), _| *instance != index);
        let rng = &mut self.rng;
        self.queue.forget(index, || rng.bool());
    }

    /// Every process dies and is back at once, and so is everybody: with no tail to be served from, at cursors of their own,
    /// while the first of them publish already.
    fn storm(&mut self) {
        for index in 0..self.instances.len() {
            self.crash(index);
            self.instances[index].start(self.now, &mut self.rng);
        }
        for client in &mut self.clients {
            client.lost(self.now.at, &mut self.rng);
            client.connect_at = self.now.at + Duration::from_millis(self.rng.u64(0..300));
        }
        self.trace.note(self.now, || "a storm".into());
    }

    /// Everything stops, an older copy of the logs comes back under a new epoch.
    fn restore(&mut self) {
        (0..self.instances.len()).for_each(|index| self.crash(index));
        let rng = &mut self.rng;
        self.queue.forget_all();
        self.store.restore(|| rng.u64(..8));
        let epoch = self.store.epoch;
        self.trace.note(self.now, || format!("restored as {epoch}"));
    }

    fn step(&mut self, phase: Phase) {
        let pause = match phase {
            Phase::Faults => pause_ms(&mut self.rng),
            Phase::Calm => calm_pause_ms(&mut self.rng),
        };
        self.now.at = self.now.at + Duration::from_millis(pause);
        self.now.unix_ms += pause;
        self.work();
        for index in 0..self.instances.len() {
            for which in 0..self.instances[index].shells.len() {
                if chance(&mut self.rng, 90) {
                    self.turn(index, which, phase);
                }
            }
        }
        for index in 0..self.instances.len() {
            self.lead(index);
            if phase == Phase::Calm && !self.instances[index].up {
                self.instances[index].start(self.now, &mut self.rng);
            }
        }
        let (now, epoch) = (self.now.at, self.store.epoch);
        for index in 0..self.clients.len() {
            self.admit_client(index);
            let client = &mut self.clients[index];
            match phase {
                Phase::Faults => client.live(now, &mut self.rng),
                Phase::Calm => client.calm(),
            }
            client.act(now, &mut self.rng);
        }
        for index in 0..self.rogues.len() {
            if phase == Phase::Faults && self.rogues[index].socket.is_none() && chance(&mut self.rng, 5) {
                self.admit_rogue(index);
            }
            self.rogues[index].act(now, epoch, &mut self.rng);
        }
        self.shadows.values().for_each(|shadow| shadow.check_time(now));
    }

    fn turn(&mut self, index: usize, which: usize, phase: Phase) {
        let rooms = self.queue.rooms();
        let instance = &mut self.instances[index];
        let draining = instance.setup.vitals.drain.phase();
        instance.shells[which].turn(self.now, draining, phase, rooms);
        self.judge(index, which);
        let instance = &mut self.instances[index];
        let asker = (index, instance.life);
        for work in std::mem::take(&mut instance.shells[which].jobs) {
            let at = self.now.at + Duration::from_millis(self.rng.u64(0..20));
            match work {
                Work::Append(append, origin) => self.queue.append(asker, append, origin),
                Work::Read(read) => self.queue.read(asker, read),
                Work::Admit(admit) => self.instances[index].auth.queue.push((at, admit)),
                Work::Follow(followed) => self.answer(asker, which as u16, followed),
            }
        }
        let instance = &mut self.instances[index];
        for (channel, frame) in std::mem::take(&mut instance.shells[which].signals) {
            for (other, shell) in instance.shells.iter_mut().enumerate() {
                if other != which && shell.live.len() < self.weather.lane {
                    let live = Broadcast::Signal { channel: channel.clone(), frame: frame.clone() };
                    shell.live.push((self.now.at, live));
                }
            }
        }
    }

    /// Shows the shadow the events of each connection.
    fn judge(&mut self, index: usize, which: usize) {
        let (now, trace) = (self.now, Rc::clone(&self.trace));
        let process = self.instances[index].drain;
        let shell = &mut self.instances[index].shells[which];
        for (channel, frame, given) in std::mem::take(&mut shell.from_memory) {
            check_erased(&self.store, channel, &frame, given);
        }
        let mut ended = std::mem::take(&mut shell.ended);
        let gone: Vec<u64> = ended.iter().map(|line| line.serial).collect();
        let all = ended.iter_mut().chain(&mut shell.lines);
        let events: Vec<_> = all.map(|line| (line.serial, std::mem::take(&mut line.events))).collect();
        for (serial, events) in events {
            let Some(shadow) = self.shadows.get_mut(&(index, serial)) else { continue };
            shadow.process = process;
            for event in events {
                trace.note(now, || format!("gw-{index}.{which} #{serial} {event}"));
                shadow.judge(&event, now.at, &mut self.store);
            }
        }
        gone.into_iter().for_each(|serial| drop(self.shadows.remove(&(index, serial))));
    }

    fn admit_client(&mut self, index: usize) {
        let client = &self.clients[index];
        if !client.comes(self.now.at) {
            return;
        }
        let user = client.user.clone();
        match self.accept(user) {
            Some(socket) => self.clients[index].connected_to(socket, self.now.at, &mut self.rng),
            None => self.clients[index].refused(self.now.at, &mut self.rng),
        }
    }

    fn admit_rogue(&mut self, index: usize) {
        let user = self.rogues[index].user.clone();
        if let Some(socket) = self.accept(user) {
            let epoch = self.store.epoch;
            self.rogues[index].connected_to(socket, self.now.at, epoch, &mut self.rng);
        }
    }

    fn accept(&mut self, user: String) -> Option<Shared> {
        let index = self.rng.usize(..self.instances.len());
        let instance = &mut self.instances[index];
        let first = self.rng.usize(..2);
        let takes = |which: &usize| instance.shells.get(*which).is_some_and(|it| listens(it.engine.phase()));
        let which = [first, 1 - first].into_iter().find(takes)?;
        let shell = instance.shells.get_mut(which)?;
        self.connections += 1;
        let serial = self.connections;
        let socket = Socket::new([300, 2_000, 30_000][self.rng.usize(..3)]);
        shell.connect(serial, socket.clone());
        self.trace.note(self.now, || format!("#{serial} of {user} connects to gw-{index}.{which}"));
        self.shadows.insert((index, serial), Shadow::new(serial, user));
        Some(socket)
    }

    /// Passes an answer to the reactor that waits, unless its process died meanwhile.
    pub fn answer(&mut self, (index, life): (usize, u32), which: u16, completion: Completion) {
        let delay = self.weather.delay_ms(&mut self.rng);
        let instance = &mut self.instances[index];
        if instance.up && instance.life == life {
            let at = self.now.at + Duration::from_millis(delay);
            instance.shells[usize::from(which)].answers.push((at, completion));
        }
    }

    /// The faults end, save that lanes may go on losing all: the log alone makes up for it. In time every
    /// honest client must have everything.
    fn settle(&mut self) {
        let lost = [0, 0, 0, 100][self.rng.usize(..4)];
        self.weather = Weather { lost, ..Weather::fair() };
        self.trace.note(self.now, || "calm".into());
        for _ in 0..SETTLE_STEPS {
            self.step(Phase::Calm);
            if self.clients.iter().all(|client| self.has_all(client)) && self.queue.is_empty() {
                break;
            }
        }
        for client in &self.clients {
            assert!(
                self.has_all(client),
                "never came to have all: {} of {:?}",
                client.describe(),
                self.heads()
            );
        }
        self.rogues.iter_mut().for_each(Rogue::leave);
        // Answers that were late when the faults ended come in, and replays end.
        (0..120).for_each(|_| self.step(Phase::Calm));
        self.shadows.values().for_each(Shadow::check_settled);
    }

    fn has_all(&self, client: &Client) -> bool {
        client.has_all(self.store.position(0).epoch, |channel| self.store.head(channel))
    }

    fn heads(&self) -> Vec<u64> {
        (0..CHANNELS).map(|channel| self.store.head(channel)).collect()
    }

    /// All go: nothing may be left of them.
    fn end(&mut self) {
        for client in &mut self.clients {
            client.lost(self.now.at, &mut self.rng);
            client.connect_at = self.now.at + Duration::from_secs(3_600);
        }
        (0..60).for_each(|_| self.step(Phase::Calm));
        for instance in &self.instances {
            assert_eq!(instance.auth.counted(), 0, "every counted connection is released");
            for Shell { engine, lines, .. } in &instance.shells {
                assert!(lines.is_empty() && engine.is_empty(), "peers are left");
                assert_eq!(engine.hub().sizes(), (0, 0, 0), "an empty hub holds nothing");
                assert_eq!(engine.tally().pending.read(), 0, "requests are left");
            }
        }
    }
}

/// The parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Faults,
    Calm,
}

fn user(number: usize, mode: AuthMode) -> String {
    match mode {
        AuthMode::Off => "anonymous".into(),
        AuthMode::Required => format!("u{}", number % 4),
    }
}

fn client(number: usize, mode: AuthMode, rng: &mut Rng) -> Client {
    let mut channels: Vec<Channel> = (0..CHANNELS).collect();
    rng.shuffle(&mut channels);
    channels.truncate(rng.usize(1..4));
    Client::new(number, user(number, mode), &channels, rng)
}

/// A publication that live subscribers know to be erased is not sent out of memory any more.
fn check_erased(store: &Store, channel: Channel, frame: &Frame, given: u64) {
    let Frame::Push(super::frame::Push::Publication(publication)) = frame else { return };
    let entry = store.logs.get(&channel).and_then(|log| log.at(publication.offset));
    let erased = entry.and_then(|entry| entry.deleted_by).is_some_and(|by| by <= given);
    assert!(!erased || publication.data.is_none(), "erased, and still given out of memory: {publication:?}");
}
