//! A reactor around the pure floors: it performs what they ask for as `src/reactor` does, but its sockets,
//! its clock and its lanes are the simulation's.

use super::connection::{Connection, Event, Flushed, Replays, Stage};
use super::drain::Draining;
use super::frame::Channel;
use super::pending::{Job, Pending};
use super::socket::{Shared, Upward};
use seawall::clock::{Moment, Now};
use seawall::close::{CloseReason, Farewell};
use seawall::drain::Phase;
use seawall::hub::{ChannelId, Hub, Slot};
use seawall::id::{ChannelName, ReactorId};
use seawall::job::{Completion, Live};
use seawall::limits::{
    CLOSE_TIMEOUT, HEADS_PERIOD, HISTORY_PAGE_BYTES_MAX, RECOVERY_PAGE_BYTES_MAX, REFILL_RETRY,
    REPLAY_PAGE_BYTES_MAX,
};
use seawall::session::heartbeat::{Beat, Due, Periods};
use seawall::session::{Context, Effect, Policy, Session, write_beat};
use seawall::wire::outbox::Arena;
use seawall::wire::push::{self, ErrorCode};
use seawall::wire::server_frame::{self, Kind};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const STATUS: &str = r#"{"revision":1,"level":"ok","dependencies":[],"lost":[]}"#;
/// Small replies of a connection that may wait beside its pages.
const REPLIES_BYTES_MAX: usize = 64 << 10;

pub struct Reactor {
    pub id: ReactorId,
    pub policy: Rc<Policy>,
    pub hub: Hub,
    pub connections: Vec<Option<Connection>>,
    pub pending: Pending,
    pub now: Now,
    pub arena: Arena,
    /// Places left in the workers' queues.
    pub append_room: usize,
    pub read_room: usize,
    /// Bytes of a page that is read for all recoveries of a channel.
    pub recovery_bytes: usize,
    pub jobs: Vec<Job>,
    /// Signals for the other reactors.
    pub signals: Vec<(ChannelName, Arc<[u8]>)>,
    /// Answers and publications on their way here, and when they arrive.
    pub answers: Vec<(Moment, Completion)>,
    pub live: Vec<(Moment, Live)>,
    pub missed: bool,
    pub heads_at: Moment,
    pub rooms: Vec<u64>,
    pub retries: VecDeque<(Moment, Retry)>,
    /// Connections that are gone, for the shadow to judge to the end.
    pub ended: Vec<Connection>,
    /// The newest offset given out to the live ones of a channel that is followed.
    pub given: BTreeMap<Channel, u64>,
    /// What was sent out of memory, for the shadow: nothing that this reactor knows to be erased.
    pub from_memory: Vec<(Channel, Rc<super::frame::Frame>, u64)>,
    /// Tokens under way whose grant counts a connection: those of `connect`.
    pub counting: BTreeSet<u64>,
    pub draining: Draining,
    effects: Vec<Effect>,
}

/// What is tried again after a read failed.
#[derive(Clone, Copy, Debug)]
pub enum Retry {
    CatchUp(u64),
    Fill(ChannelId),
    Older(ChannelId),
}

impl Reactor {
    pub fn new(id: ReactorId, policy: Rc<Policy>, now: Now, seed: u64) -> Reactor {
        let limits = &policy.limits;
        let hasher = ahash::RandomState::with_seeds(seed, 2, 3, 4);
        Reactor {
            id,
            hub: Hub::new(limits.channels as usize, limits.tail_bytes_total as usize, hasher),
            policy,
            connections: Vec::new(),
            pending: Pending::default(),
            now,
            arena: Arena::default(),
            append_room: 0,
            read_room: 0,
            // A page may hold all that is wanted, or a part, or one publication.
            recovery_bytes: [RECOVERY_PAGE_BYTES_MAX, 2_000, 1][seed as usize % 3],
            jobs: Vec::new(),
            signals: Vec::new(),
            answers: Vec::new(),
            live: Vec::new(),
            missed: false,
            heads_at: now.at + HEADS_PERIOD,
            rooms: Vec::new(),
            retries: VecDeque::new(),
            ended: Vec::new(),
            given: BTreeMap::new(),
            from_memory: Vec::new(),
            counting: BTreeSet::new(),
            draining: Draining::new(seed),
            effects: Vec::new(),
        }
    }

    pub fn accept(&mut self, serial: u64, socket: Shared, phase: f32) {
        let now = self.now.at;
        let connect_by = now + ms(self.policy.limits.connect_ms);
        let connection = Connection::new(serial, socket, now, connect_by, (self.periods(), phase));
        match self.connections.iter().position(Option::is_none) {
            Some(free) => self.connections[free] = Some(connection),
            None => self.connections.push(Some(connection)),
        }
    }

    /// One pass, in the order of the real one.
    pub fn turn(&mut self, now: Now) {
        self.now = now;
        self.read();
        self.complete();
        self.expire();
        self.drain();
        for serial in std::mem::take(&mut self.rooms) {
            self.catch_up(serial);
        }
        self.flush();
        let most = self.policy.limits.pending as usize;
        assert!(self.serials().iter().all(|serial| self.pending.commands_of(*serial) <= most));
        self.reap();
        self.arena.clear(0);
    }

    pub fn periods(&self) -> Periods {
        Periods { ping: ms(self.policy.limits.ping_ms), pong: ms(self.policy.limits.pong_ms) }
    }

    pub fn serials(&self) -> Vec<u64> {
        self.connections.iter().flatten().map(|connection| connection.serial).collect()
    }

    pub fn connection(&mut self, serial: u64) -> Option<(usize, &mut Connection)> {
        self.connections
            .iter_mut()
            .enumerate()
            .find_map(|(index, entry)| Some((index, entry.as_mut().filter(|found| found.serial == serial)?)))
    }

    /// One that is served.
    pub fn open(&mut self, serial: u64) -> Option<(usize, &mut Connection)> {
        self.connection(serial).filter(|(_, connection)| connection.stage == Stage::Open)
    }

    pub fn at(&mut self, slot: Slot) -> Option<u64> {
        self.connections.get(slot.0 as usize)?.as_ref().map(|connection| connection.serial)
    }

    fn read(&mut self) {
        let hard = self.policy.limits.outbox_bytes_hard as usize;
        for serial in self.serials() {
            let Some((_, connection)) = self.connection(serial) else { continue };
            if connection.socket.borrow().client_gone {
                connection.outbox.clear();
                connection.stage = Stage::Dead;
                continue;
            }
            // None is taken that would not be answered.
            let reads = if self.draining.phase == Phase::Closing { 0 } else { 8 };
            for _ in 0..reads {
                let now = self.now.at;
                let Some((_, connection)) = self.open(serial) else { break };
                if connection.outbox.bytes() > hard {
                    break;
                }
                let Some(upward) = connection.receive(now) else { break };
                connection.heartbeat.heard(now);
                match upward {
                    Upward::Text(order) => {
                        let text = order.text.clone();
                        connection.events.push(Event::Received(now, order));
                        self.with_session(serial, |session, cx| session.text(&text, cx));
                    }
                    Upward::Pong => {}
                    Upward::Close => self.close(serial, CloseReason::Answered(1000)),
                }
            }
        }
    }

    pub fn with_session(&mut self, serial: u64, act: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let index = self.connections.iter().position(|e| e.as_ref().is_some_and(|c| c.serial == serial));
        let Some(index) = index else { return };
        let Some(connection) = &mut self.connections[index] else { return };
        if connection.stage != Stage::Open {
            return;
        }
        let (mut out, mut refused): (Vec<u8>, Vec<ErrorCode>) = (Vec::new(), Vec::new());
        let mut cx = Context {
            now: self.now,
            asked: self.now.at,
            policy: &self.policy,
            hub: &mut self.hub,
            slot: Slot(index as u32),
            connection: serial,
            status: STATUS,
            waiting_bytes: connection.outbox.bytes(),
            out: &mut out,
            effects: &mut self.effects,
            refused: &mut refused,
        };
        act(&mut connection.session, &mut cx);
        connection.write(&mut self.arena, &out);
        let effects = std::mem::take(&mut self.effects);
        check_effects(&effects, &connection.session);
        for effect in effects {
            self.perform(serial, effect);
        }
    }

    /// Ends a connection: `bye`, the close frame, and nothing more.
    pub fn close(&mut self, serial: u64, reason: CloseReason) {
        if self.open(serial).is_none() {
            return;
        }
        self.with_session(serial, |session, cx| session.end(cx));
        self.with_session(serial, silence);
        let until = self.now.at + CLOSE_TIMEOUT;
        let mut out = Vec::new();
        match reason.farewell() {
            Farewell::Bye => {
                push::bye(&mut out, &reason);
                server_frame::write_close(&mut out, reason.code(), &reason.text());
            }
            Farewell::CloseOnly => server_frame::write_close(&mut out, reason.code(), &reason.text()),
            Farewell::None => {}
        }
        let Some(connection) = self.connections.iter_mut().flatten().find(|c| c.serial == serial) else {
            return;
        };
        connection.events.push(Event::Closed);
        connection.write(&mut self.arena, &out);
        connection.stage = match reason.farewell() {
            Farewell::None => Stage::Dead,
            Farewell::Bye | Farewell::CloseOnly => Stage::Closing { until },
        };
    }

    fn expire(&mut self) {
        for serial in self.serials() {
            self.expire_connection(serial);
        }
        while let Some(request) = self.pending.pop_late(self.now.at) {
            self.answer_late(request);
        }
        while let Some((due, retry)) = self.retries.front().copied() {
            if due > self.now.at {
                break;
            }
            self.retries.pop_front();
            match retry {
                Retry::CatchUp(serial) => self.catch_up(serial),
                Retry::Fill(channel) => self.hub.refill(channel),
                Retry::Older(channel) => self.hub.ask_older(channel),
            }
        }
        self.ask_needs();
    }

    fn expire_connection(&mut self, serial: u64) {
        let (now, periods) = (self.now.at, self.periods());
        let stall = ms(self.policy.limits.stall_ms);
        let Some((_, connection)) = self.connection(serial) else { return };
        if connection.stalled_since.is_some_and(|since| since + stall <= now) {
            self.close(serial, CloseReason::WriteStalled);
            return;
        }
        match connection.stage {
            Stage::Open => {}
            Stage::Closing { until } if until <= now => return connection.stage = Stage::Dead,
            Stage::Closing { .. } | Stage::Dead => return,
        }
        if connection.session.awaits_connect() && connection.connect_by <= now {
            return self.close(serial, CloseReason::ConnectTimeout);
        }
        match connection.heartbeat.due(now, periods) {
            Due::GiveUp => return self.close(serial, CloseReason::NoSignOfLife),
            Due::Ping => {
                let mut ping = Vec::new();
                server_frame::write(&mut ping, Kind::Ping, b"");
                if let Some(connection) = self.connections.iter_mut().flatten().find(|c| c.serial == serial) {
                    connection.write(&mut self.arena, &ping);
                }
            }
            Due::Nothing => {}
        }
        self.beat(serial, periods);
        let due = self.open(serial).is_some_and(|(_, connection)| {
            connection.session.expires_unix_ms().is_some() || connection.session.answer_by().is_some()
        });
        if due {
            self.with_session(serial, |session, cx| session.expire(cx));
        }
    }

    fn beat(&mut self, serial: u64, periods: Periods) {
        let Some(connection) = self.connections.iter_mut().flatten().find(|c| c.serial == serial) else {
            return;
        };
        let beat = connection.heartbeat.beat(self.now.at, periods);
        if beat != Beat::NotDue && connection.session.is_open() {
            let mut out = Vec::new();
            write_beat(&connection.session, &mut self.hub, beat, 1, &mut out);
            connection.write(&mut self.arena, &out);
        }
    }

    fn flush(&mut self) {
        let soft = self.policy.limits.outbox_bytes as usize;
        let pages = self.policy.limits.outbox_bytes_hard as usize + HISTORY_PAGE_BYTES_MAX;
        let bytes_max = soft.max(2 * REPLAY_PAGE_BYTES_MAX) + pages + REPLIES_BYTES_MAX;
        let alive = |connection: &&mut Connection| connection.stage != Stage::Dead;
        for connection in self.connections.iter_mut().flatten().filter(alive) {
            assert!(connection.outbox.bytes() <= bytes_max, "an outbox of {}", connection.outbox.bytes());
            if connection.outbox.bytes() >= soft {
                connection.crowded_at = Some(self.now.at);
            }
            if connection.outbox.is_empty() {
                connection.stalled_since = None;
                if connection.replays != Replays::None {
                    self.rooms.push(connection.serial);
                }
                continue;
            }
            let (written, flushed) = connection.flush(&self.arena);
            if written > 0 {
                connection.heartbeat.said(self.now.at);
            }
            match flushed {
                Flushed::Empty => connection.stalled_since = None,
                Flushed::Blocked => {
                    connection.outbox.settle(&self.arena);
                    if written > 0 || connection.stalled_since.is_none() {
                        connection.stalled_since = Some(self.now.at);
                    }
                }
            }
            if connection.replays != Replays::None && connection.outbox.bytes() < REPLAY_PAGE_BYTES_MAX {
                self.rooms.push(connection.serial);
            }
        }
    }

    /// Frees the slots of the dead, and of those that said everything.
    fn reap(&mut self) {
        for index in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[index] else { continue };
            let said_all = matches!(connection.stage, Stage::Closing { .. }) && connection.outbox.is_empty();
            if connection.stage != Stage::Dead && !said_all {
                continue;
            }
            // `close` ended the session of a closing one; this ends that of a broken one.
            let serial = connection.serial;
            connection.stage = Stage::Open;
            self.with_session(serial, |session, cx| session.end(cx));
            if let Some(connection) = self.connections[index].take() {
                connection.socket.borrow_mut().server_gone = true;
                self.ended.push(connection);
            }
        }
    }

    pub fn retry_soon(&mut self, retry: Retry) {
        self.retries.push_back((self.now.at + REFILL_RETRY, retry));
    }
}

/// After its end a session says nothing and asks for nothing.
fn silence(session: &mut Session, cx: &mut Context<'_>) {
    session.text(r#"{"id":1,"subscribe":{"channel":"c0"}}"#, cx);
    session.expire(cx);
    session.end(cx);
    assert!(cx.out.is_empty() && cx.effects.is_empty(), "a session spoke after its end");
}

/// A close comes once; after it only what others count is given back.
fn check_effects(effects: &[Effect], session: &Session) {
    let close = effects.iter().position(|effect| matches!(effect, Effect::Close(_)));
    if let Some(close) = close {
        assert!(!session.is_open() && !session.awaits_connect(), "a session that closed serves on");
        let after = &effects[close + 1..];
        assert!(after.iter().all(|effect| matches!(effect, Effect::Leave(_))), "after a close: {after:?}");
        assert!(after.len() <= 1, "one connection is given back once: {after:?}");
    }
}

fn ms(milliseconds: u32) -> Duration {
    Duration::from_millis(u64::from(milliseconds))
}
