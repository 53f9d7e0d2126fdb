//! The shell of a real engine: it moves bytes, jobs and time as `src/reactor` does, but its sockets, its clock and its lanes are
//! the simulation's.
//!
//! Every frame is shown to the shadow as it enters an outbox, and the bytes that leave the outbox must be the same ones.

use super::drain::{Slots, listens};
use super::frame::{Channel, Frame, Push, Reply};
use super::order::Order;
use super::share::Share;
use super::socket::{Shared, Upward, parse};
use super::store::{Origin, number};
use super::world::Phase;
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::drain::DrainPhase;
use seawall::engine;
use seawall::engine::{
    AcceptQuota, Engine, Flushed, FollowMode, Job, ReadExtent, Readiness, Setup, SlotId, Transport, Written,
};
use seawall::id::{ChannelName, ReactorId};
use seawall::job::bus::Interest;
use seawall::job::{Append, AuthJob, Broadcast, Completion, Read};
use seawall::limits::{HISTORY_PAGE_BYTES_MAX, REPLAY_PAGE_BYTES_MAX};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::IoSlice;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Messages that one socket is read for in a turn.
const READS: usize = 8;
/// Small replies of a connection that may wait in addition to its pages.
const REPLIES_BYTES_MAX: usize = 64 << 10;
/// The total of waiting bytes may be over its bound for this long: peers are relieved ten times a second, and steps are long.
const RELIEVED_WITHIN: Duration = Duration::from_millis(800);

/// One reactor of an instance.
pub struct Shell {
    pub engine: Engine,
    pub lines: Vec<Line>,
    /// Clients that the kernel keeps until they are accepted.
    backlog: VecDeque<(u64, Shared)>,
    /// Connections that are gone, for the shadow to judge to the end.
    pub ended: Vec<Line>,
    /// Jobs for the workers; an append with the command that asked for it.
    pub jobs: Vec<Work>,
    /// Signals for the other reactors.
    pub signals: Vec<(ChannelName, Arc<[u8]>)>,
    /// Completions and broadcasts on their way here, and when they arrive.
    pub answers: Vec<(Moment, Completion)>,
    pub live: Vec<(Moment, Broadcast)>,
    pub missed: bool,
    /// The newest offset given to live subscribers of a channel that is followed.
    given: BTreeMap<Channel, u64>,
    /// Frames sent out of memory, for the shadow: the engine must not know them to be erased.
    pub from_memory: Vec<(Channel, Rc<Frame>, u64)>,
    /// Slots of a drain that were planned together.
    pub slots: Slots,
    share: Share,
    over_bound_since: Option<Moment>,
    habits: Habits,
}

/// Properties of the machine, by the seed.
#[derive(Debug)]
struct Habits {
    /// The time that reading one arriving connection takes, while faults last.
    arrival_cost: Duration,
    /// The longest time of a turn's other work.
    busy_us_max: u64,
    /// Of a hundred interests, how many the bus has no room for.
    bus_full: u8,
    rng: Rng,
}

/// Work for a worker.
#[derive(Debug)]
pub enum Work {
    Append(Append, Origin),
    Read(Read),
    Admit(AuthJob),
    /// The bus follows a channel; the completion says so.
    Follow(Completion),
}

/// One connection.
pub struct Line {
    pub serial: u64,
    id: SlotId,
    pub socket: Shared,
    /// Its events, in order, for the shadow to judge.
    pub events: Vec<Event>,
    /// The last moment at which its outbox had no room for a push.
    pub crowded_at: Option<Moment>,
    /// True until the response to the upgrade was seen.
    awaits_response: bool,
    /// Commands that were read before the upgrade was complete; they count from then on.
    early: Vec<Order>,
    upgraded: bool,
    connected: bool,
}

/// An event that the shadow has to know.
#[derive(Debug)]
pub enum Event {
    /// The engine read it.
    Received(Moment, Order),
    /// It entered the outbox.
    Said(Rc<Frame>),
    /// The upgrade was refused with this status.
    Refused(u16),
}

/// `>` is what came from the client, `<` what goes to it.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Received(_, order) => write!(f, "> {}", order.text),
            Event::Said(frame) => write!(f, "< {frame:?}"),
            Event::Refused(status) => write!(f, "< HTTP {status}"),
        }
    }
}

/// Where the frames of a call may come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Runs and tails alone: what is sent is in memory.
    Memory,
    /// A page of the store, perhaps.
    Store,
}

impl Shell {
    pub fn new(id: ReactorId, setup: &Arc<Setup>, now: Now, follows: FollowMode, seed: u64) -> Shell {
        let mut rng = Rng::with_seed(seed);
        let snapshot = setup.outlook.snapshot();
        Shell {
            engine: Engine::new(id, Arc::clone(setup), snapshot, now, follows, seed),
            lines: Vec::new(),
            backlog: VecDeque::new(),
            ended: Vec::new(),
            jobs: Vec::new(),
            signals: Vec::new(),
            answers: Vec::new(),
            live: Vec::new(),
            missed: false,
            given: BTreeMap::new(),
            from_memory: Vec::new(),
            slots: Slots::default(),
            share: Share::default(),
            over_bound_since: None,
            habits: Habits {
                arrival_cost: Duration::from_micros([20, 300, 4_000][rng.usize(..3)]),
                busy_us_max: [200, 3_000, 12_000][rng.usize(..3)],
                bus_full: [0, 30][rng.usize(..2)],
                rng,
            },
        }
    }

    /// A client connects: the kernel keeps it until it is accepted.
    pub fn connect(&mut self, serial: u64, socket: Shared) {
        self.backlog.push_back((serial, socket));
    }

    /// Accepts waiting clients, as many as the engine wants now.
    fn accept(&mut self) {
        let AcceptQuota::Now(quota) = self.engine.accept_quota() else { return };
        for _ in 0..quota {
            if self.engine.is_crowded() || self.engine.has_heads_enough() || !self.accept_one() {
                return;
            }
        }
    }

    fn accept_one(&mut self) -> bool {
        let Some((serial, socket)) = self.backlog.pop_front() else { return false };
        let address = IpAddr::from([127, 0, 0, 1]);
        let id = self.engine.handle_accepted(address, Transport::Plain).expect("no proxy is demanded");
        self.lines.push(Line {
            serial,
            id,
            socket,
            events: Vec::new(),
            crowded_at: None,
            awaits_response: true,
            early: Vec::new(),
            upgraded: false,
            connected: false,
        });
        true
    }

    /// One pass, in the order of the real shell. `rooms` are the appends and reads that the store's queues take.
    pub fn turn(&mut self, now: Now, phase: DrainPhase, weather: Phase, mut rooms: (usize, usize)) {
        if weather == Phase::Calm {
            self.habits.arrival_cost = Duration::from_micros(20);
            self.habits.bus_full = 0;
        }
        self.engine.begin_turn(now);
        self.accept();
        let spent = self.read(&mut rooms);
        self.exchange(&mut rooms);
        self.engine.expire();
        self.send_jobs(&mut rooms);
        self.tap(Source::Memory);
        self.engine.push_status();
        let planned = phase != self.engine.phase() && phase == DrainPhase::Moving;
        let open =
            self.lines.iter().filter(|line| line.connected && self.engine.is_upgraded(line.id)).count();
        if !listens(phase) {
            // The listener takes in the clients that wait before it closes.
            while self.accept_one() {}
        }
        self.engine.drain(phase);
        self.send_jobs(&mut rooms);
        if planned {
            self.slots.begin(now.at, open);
        }
        self.tap(Source::Memory);
        self.slots.end();
        self.engine.catch_up_rooms();
        self.send_jobs(&mut rooms);
        self.tap(Source::Memory);
        self.flush();
        let pending_max = self.engine.limits().pending as usize;
        assert!(self.lines.iter().all(|line| self.engine.commands_of(line.id) <= pending_max));
        self.reap(&mut rooms);
        let busy = spent + Duration::from_micros(self.habits.rng.u64(..=self.habits.busy_us_max));
        self.engine.end_turn(busy);
        self.engine.check_invariants();
        self.share.turned(busy.saturating_sub(spent));
        self.check_relief();
        self.forget_unfollowed();
    }

    fn read(&mut self, rooms: &mut (usize, usize)) -> Duration {
        let now = self.engine.now().at;
        for line in &self.lines {
            let socket = line.socket.borrow();
            let readable = socket.upward.front().is_some_and(|(at, _)| *at <= now);
            let writable = socket.room() > 0 && !socket.waiting().is_empty();
            if readable || writable || socket.client_gone {
                let read_closed = socket.client_gone;
                let readiness = Readiness { readable, writable, read_closed, error: false };
                self.engine.handle_readiness(line.id, readiness);
            }
        }
        let mut left = self.engine.ready();
        while let Some(id) = self.engine.next_ready(&mut left) {
            self.read_line(id, rooms);
        }
        let slice = self.engine.arrival_slice();
        let mut spent = Duration::ZERO;
        while slice.is_some_and(|slice| spent < slice)
            && let Some(id) = self.engine.next_arrival()
        {
            self.read_line(id, rooms);
            spent += self.habits.arrival_cost;
        }
        self.share.check(now, spent, self.habits.arrival_cost);
        self.engine.handle_handshake_time(spent);
        spent
    }

    fn read_line(&mut self, id: SlotId, rooms: &mut (usize, usize)) {
        for _ in 0..READS {
            let now = self.engine.now().at;
            let Some(line) = self.lines.iter_mut().find(|line| line.id == id) else { return };
            if self.engine.reads(id) == ReadExtent::Nothing {
                return;
            }
            let (next, gone) = {
                let mut socket = line.socket.borrow_mut();
                let due = socket.upward.front().is_some_and(|(at, _)| *at <= now);
                let next = if due { socket.upward.pop_front().map(|(_, upward)| upward) } else { None };
                (next, socket.client_gone)
            };
            match next {
                // A reset and an orderly end alike.
                _ if gone && self.habits.rng.bool() => return self.engine.handle_broken(id),
                None if gone => return self.engine.handle_end(id),
                None => return,
                Some(upward) => {
                    let mut bytes = upward.bytes();
                    if let Upward::Text(order) = upward {
                        match (self.engine.is_upgraded(id), line.upgraded) {
                            (true, _) => line.events.push(Event::Received(now, order)),
                            (false, false) => line.early.push(order),
                            // The engine has closed it, and waits for the close frame alone.
                            (false, true) => {}
                        }
                    }
                    self.engine.handle_bytes(id, &mut bytes);
                    self.send_jobs(rooms);
                    self.tap(Source::Memory);
                }
            }
        }
        self.engine.handle_more(id);
    }

    fn exchange(&mut self, rooms: &mut (usize, usize)) {
        let now = self.engine.now().at;
        let due = |lane: &[(Moment, Broadcast)]| lane.iter().filter(|(at, _)| *at <= now).count();
        let answered = self.answers.iter().filter(|(at, _)| *at <= now).count();
        if self.engine.gathers(answered, due(&self.live)) {
            return;
        }
        while let Some(place) = self.live.iter().position(|(at, _)| *at <= now)
            && self.engine.wants_broadcast()
        {
            let (_, broadcast) = self.live.remove(place);
            if matches!(broadcast, Broadcast::Published(_)) {
                self.share.published(now);
            }
            self.engine.handle_broadcast(broadcast);
        }
        if std::mem::take(&mut self.missed) {
            self.engine.handle_missed();
        }
        self.engine.finish_broadcasts();
        self.tap(Source::Memory);
        while let Some(place) = self.answers.iter().position(|(at, _)| *at <= now)
            && self.engine.wants_completion()
        {
            let (_, completion) = self.answers.remove(place);
            self.engine.handle_completion(completion);
            self.send_jobs(rooms);
            self.tap(Source::Store);
        }
        self.engine.set_read_room(rooms.1);
        self.engine.finish_completions(usize::MAX);
        self.send_jobs(rooms);
        self.tap(Source::Memory);
    }

    fn send_jobs(&mut self, rooms: &mut (usize, usize)) {
        let mut jobs = Vec::new();
        let mut bus_is_full = false;
        loop {
            self.engine.take_jobs(&mut jobs);
            if jobs.is_empty() {
                break;
            }
            for job in jobs.drain(..) {
                match job {
                    Job::Append(append) if rooms.0 > 0 => {
                        rooms.0 -= 1;
                        // The drain gave up its answer in the same call: the client has learned that the outcome is unknown,
                        // and here it is not stored.
                        if let Some(origin) = self.origin(&append) {
                            self.jobs.push(Work::Append(append, origin));
                        }
                    }
                    Job::Read(read) if rooms.1 > 0 => {
                        rooms.1 -= 1;
                        self.jobs.push(Work::Read(read));
                    }
                    Job::Admit(admit) => self.jobs.push(Work::Admit(admit)),
                    // Its clients use no rosters, begin no streams and report nothing.
                    Job::Presence(_) | Job::Stream(_) | Job::Report(_) => {}
                    Job::Signal { channel, frame } => self.signals.push((channel, frame)),
                    Job::Interest(interest) => {
                        bus_is_full |= self.habits.rng.u8(..100) < self.habits.bus_full;
                        match interest {
                            refused if bus_is_full => self.engine.handle_refused(Job::Interest(refused)),
                            Interest::Follow { ticket, .. } => {
                                self.jobs.push(Work::Follow(Completion::Followed { ticket }));
                            }
                            Interest::Leave { .. } => {}
                        }
                    }
                    refused @ (Job::Append(_) | Job::Read(_)) => self.engine.handle_refused(refused),
                }
            }
            self.engine.set_read_room(rooms.1);
        }
    }

    /// The connection and command that an append belongs to.
    fn origin(&self, append: &Append) -> Option<Origin> {
        let (id, command) = self.engine.asker(append.ticket)?;
        let line = self.lines.iter().find(|line| line.id == id).expect("of a connection");
        Some((line.serial, command.0))
    }

    /// Shows the shadow what entered the outboxes since the last call.
    fn tap(&mut self, source: Source) {
        let (mut bytes, mut newest, mut last) = (Vec::new(), Vec::new(), (Vec::new(), Vec::new()));
        for line in &mut self.lines {
            let Some((outbox, arena)) = self.engine.outbox(line.id) else { continue };
            let mut socket = line.socket.borrow_mut();
            let known = socket.waiting().len();
            if outbox.bytes() == known {
                continue;
            }
            bytes.clear();
            outbox.slices(arena).for_each(|slice| bytes.extend_from_slice(slice));
            assert!(bytes.starts_with(socket.waiting()), "queued bytes changed");
            let mut new = &bytes[known..];
            if line.awaits_response {
                line.awaits_response = false;
                let end = new.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
                let status = std::str::from_utf8(&new[9..12]).expect("digits").parse().expect("a status");
                if status != 101 {
                    line.events.push(Event::Refused(status));
                    socket.tap_other(new);
                    continue;
                }
                line.upgraded = true;
                let now = self.engine.now().at;
                line.events.extend(line.early.drain(..).map(|order| Event::Received(now, order)));
                socket.tap_other(&new[..end]);
                new = &new[end..];
            }
            // A run is parsed once for all its subscribers.
            if last.0 != new {
                last = (new.to_vec(), parse(new));
            }
            for frame in socket.tap_frames(new, &last.1) {
                if let Frame::Push(Push::Publication(publication)) = &*frame
                    && source == Source::Memory
                {
                    // As of before this call: one run goes to several subscribers.
                    let given = self.given.get(&publication.channel).copied().unwrap_or_default();
                    self.from_memory.push((publication.channel, Rc::clone(&frame), given));
                    newest.push((publication.channel, publication.offset));
                }
                match &*frame {
                    Frame::Push(Push::Drain { slot_ms, .. }) => self.slots.sent(*slot_ms),
                    Frame::Reply(_, Reply::Connected(_)) => line.connected = true,
                    Frame::Push(_) | Frame::Reply(..) | Frame::Complaint(_) => {}
                    Frame::Close(_) | Frame::Ping | Frame::Pong => {}
                }
                line.events.push(Event::Said(frame));
            }
        }
        for (channel, offset) in newest {
            let given = self.given.entry(channel).or_default();
            *given = offset.max(*given);
        }
    }

    fn flush(&mut self) {
        let now = self.engine.now().at;
        let limits = self.engine.limits();
        let (soft, hard) = (limits.outbox_bytes as usize, limits.outbox_bytes_hard as usize);
        let bytes_max =
            soft.max(2 * REPLAY_PAGE_BYTES_MAX) + hard + HISTORY_PAGE_BYTES_MAX + REPLIES_BYTES_MAX;
        for line in &mut self.lines {
            if line.socket.borrow().waiting().len() >= soft {
                line.crowded_at = Some(now);
            }
        }
        let lines = &mut self.lines;
        let mut write = |id, outbox: &mut seawall::wire::outbox::Outbox, arena: &_| {
            let line = lines.iter_mut().find(|line| line.id == id).expect("a connection");
            assert!(outbox.bytes() <= bytes_max, "an outbox of {}", outbox.bytes());
            let mut socket = line.socket.borrow_mut();
            let mut bytes = 0;
            let flushed = loop {
                if outbox.is_empty() {
                    break Flushed::Empty;
                }
                if socket.client_gone {
                    break Flushed::Broken;
                }
                if socket.room() == 0 {
                    break Flushed::Blocked;
                }
                let mut slices = [IoSlice::new(&[])];
                outbox.fill(arena, &mut slices);
                let taken = slices[0].len().min(socket.room());
                socket.take(&slices[0][..taken]);
                outbox.advance(taken);
                bytes += taken;
            };
            Written { bytes, flushed, sealed_bytes: 0 }
        };
        self.engine.flush(&mut write);
        self.engine.flush_arrivals(&mut write);
        for order in self.engine.take_orders() {
            match order {
                engine::Order::Shutdown(id) => {
                    let line = self.lines.iter().find(|line| line.id == id).expect("a connection");
                    line.socket.borrow_mut().server_gone = true;
                }
                engine::Order::SayDone(id) => panic!("no TLS here: {id:?}"),
            }
        }
        self.engine.finish_flush();
    }

    fn reap(&mut self, rooms: &mut (usize, usize)) {
        for id in self.engine.reap() {
            let place = self.lines.iter().position(|line| line.id == id).expect("a connection");
            let line = self.lines.swap_remove(place);
            line.socket.borrow_mut().server_gone = true;
            self.ended.push(line);
        }
        self.send_jobs(rooms);
    }

    /// Peers that do not read are ended while they hold too much memory together.
    fn check_relief(&mut self) {
        let waiting: usize = self.lines.iter().map(|line| line.socket.borrow().waiting().len()).sum();
        let now = self.engine.now().at;
        if waiting as u64 <= self.engine.outbox_bytes_max() {
            self.over_bound_since = None;
        }
        let since = *self.over_bound_since.get_or_insert(now);
        if waiting as u64 > self.engine.outbox_bytes_max() {
            assert!(now < since + RELIEVED_WITHIN, "{waiting} bytes wait since {:?}", now.since(since));
        }
    }

    /// The process is gone: its connections are reset.
    pub fn reset(&self) {
        let waiting = self.backlog.iter().map(|(_, socket)| socket);
        for socket in self.lines.iter().map(|line| &line.socket).chain(waiting) {
            socket.borrow_mut().server_gone = true;
        }
    }

    /// A channel without subscribers is forgotten, and so is what was given out of it.
    fn forget_unfollowed(&mut self) {
        let (heads, _) = self.engine.hub().heads_from(0, usize::MAX);
        self.given.retain(|channel, _| heads.iter().any(|(name, _)| number(name) == *channel));
    }
}
