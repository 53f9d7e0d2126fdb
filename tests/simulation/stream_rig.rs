//! A real engine whose sockets are memory, for the world of streams: text goes in and messages come out.

use super::instance::{Kind, limits_of_streams, setup};
use super::socket::Upward;
use seawall::clock::Now;
use seawall::drain::DrainPhase;
use seawall::engine::Addresses;
use seawall::engine::{Engine, Flushed, FollowMode, Job, ReadExtent, Readiness, SlotId, Transport, Written};
use seawall::id::{InstanceName, ReactorId};
use seawall::job::stream::StreamWork;
use seawall::job::{Append, Broadcast, Completion, Read};
use seawall::session::AuthMode;
use seawall::wire::outbox::Outbox;
use seawall::wire::server_frame;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Completions that fit into a call.
const COMPLETIONS: usize = usize::MAX;

/// One connection.
#[derive(Debug)]
struct Line {
    id: SlotId,
    sent: Vec<u8>,
    received: Vec<u8>,
    upgraded: bool,
    /// The bytes that the client takes in a turn.
    pace: usize,
    client_gone: bool,
    server_gone: bool,
}

/// Work for the store.
#[derive(Debug)]
pub enum StoreJob {
    Append(Append),
    Read(Read),
    Stream(StreamWork),
}

/// One reactor.
pub struct Rig {
    engine: Engine,
    lines: Vec<Line>,
    pub jobs: Vec<StoreJob>,
    pub answers: VecDeque<Completion>,
    pub live: VecDeque<Broadcast>,
    pub missed: bool,
    pub missed_streams: bool,
    /// Commands about streams that their queue takes in a turn.
    pub stream_room: usize,
    taken: usize,
}

impl Rig {
    pub fn new(reactor: u16, now: Now, seed: u64) -> Rig {
        let kind = Kind { auth: AuthMode::Off, addresses: Addresses::Uncounted, follows: FollowMode::Alone };
        let setup = setup(&InstanceName(Arc::from("gw-0")), &limits_of_streams(), kind, now);
        let snapshot = setup.outlook.snapshot();
        let engine = Engine::new(ReactorId(reactor), setup, snapshot, now, FollowMode::Alone, seed);
        Rig {
            engine,
            lines: Vec::new(),
            jobs: Vec::new(),
            answers: VecDeque::new(),
            live: VecDeque::new(),
            missed: false,
            missed_streams: false,
            stream_room: usize::MAX,
            taken: 0,
        }
    }

    /// A client connects and says `connect`.
    pub fn connect(&mut self, pace: usize) -> Option<SlotId> {
        let id = self.engine.handle_accepted(IpAddr::from([127, 0, 0, 1]), Transport::Plain)?;
        self.lines.push(Line {
            id,
            sent: Upward::Upgrade.bytes(),
            received: Vec::new(),
            upgraded: false,
            pace,
            client_gone: false,
            server_gone: false,
        });
        self.say(id, r#"{"id":1,"connect":{}}"#);
        Some(id)
    }

    /// Sends a masked text frame; the mask is zero.
    pub fn say(&mut self, id: SlotId, text: &str) {
        let Some(line) = self.lines.iter_mut().find(|line| line.id == id) else { return };
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("short");
        line.sent.extend([0x81, 0x80 | length]);
        line.sent.extend([0; 4]);
        line.sent.extend(text.as_bytes());
    }

    pub fn set_pace(&mut self, id: SlotId, pace: usize) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.id == id) {
            line.pace = pace;
        }
    }

    pub fn leave(&mut self, id: SlotId) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.id == id) {
            line.client_gone = true;
        }
    }

    /// The messages that have arrived; `None` if the connection is over.
    pub fn hear(&mut self, id: SlotId) -> Option<Vec<Value>> {
        let line = self.lines.iter_mut().find(|line| line.id == id)?;
        if !line.upgraded {
            let end = line.received.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = end else { return Some(Vec::new()) };
            line.received.drain(..end + 4);
            line.upgraded = true;
        }
        let (mut used, mut messages) = (0, Vec::new());
        for frame in server_frame::split(&line.received) {
            used += frame.len();
            match (frame[0], server_frame::text(frame)) {
                (_, Some(text)) => messages.push(serde_json::from_slice(text).expect("JSON")),
                (0x89, None) => line.sent.extend(Upward::Pong.bytes()),
                (0x88, None) => line.server_gone = true,
                (kind, None) => panic!("a frame of kind {kind:#x}"),
            }
        }
        line.received.drain(..used);
        (!line.server_gone).then_some(messages)
    }

    /// One pass, in the order of the real shell.
    pub fn turn(&mut self, now: Now) {
        self.taken = 0;
        self.engine.begin_turn(now);
        self.read();
        self.exchange();
        self.engine.expire();
        self.send_jobs();
        self.engine.push_status();
        self.engine.drain(DrainPhase::Serving);
        self.engine.catch_up_rooms();
        self.send_jobs();
        self.flush();
        for id in self.engine.reap() {
            self.lines.retain(|line| line.id != id);
        }
        self.send_jobs();
        self.engine.end_turn(Duration::from_micros(50));
        self.engine.check_invariants();
    }

    fn read(&mut self) {
        for line in &self.lines {
            if !line.sent.is_empty() || line.client_gone {
                let readiness =
                    Readiness { readable: true, read_closed: line.client_gone, ..Readiness::default() };
                self.engine.handle_readiness(line.id, readiness);
            }
            if self.engine.outbox(line.id).is_some_and(|(outbox, _)| !outbox.is_empty()) {
                self.engine.handle_readiness(line.id, Readiness { writable: true, ..Readiness::default() });
            }
        }
        let mut left = self.engine.ready();
        while let Some(id) = self.engine.next_ready(&mut left) {
            self.read_line(id);
        }
        while let Some(id) = self.engine.next_arrival() {
            self.read_line(id);
        }
        self.engine.handle_handshake_time(Duration::ZERO);
        self.send_jobs();
    }

    fn read_line(&mut self, id: SlotId) {
        let Some(line) = self.lines.iter_mut().find(|line| line.id == id) else { return };
        if self.engine.reads(id) != ReadExtent::Nothing && !line.sent.is_empty() {
            self.engine.handle_bytes(id, &mut std::mem::take(&mut line.sent));
        }
        if line.client_gone && line.sent.is_empty() {
            self.engine.handle_broken(id);
        }
    }

    fn exchange(&mut self) {
        while self.engine.wants_broadcast()
            && let Some(broadcast) = self.live.pop_front()
        {
            self.engine.handle_broadcast(broadcast);
        }
        if std::mem::take(&mut self.missed) {
            self.engine.handle_missed();
        }
        if std::mem::take(&mut self.missed_streams) {
            self.engine.handle_missed_streams();
        }
        self.engine.finish_broadcasts();
        while self.engine.wants_completion()
            && let Some(completion) = self.answers.pop_front()
        {
            self.engine.handle_completion(completion);
        }
        self.engine.set_read_room(64);
        if self.engine.wants_stream_room() {
            self.engine.set_stream_room(self.stream_room - self.taken);
        }
        self.engine.finish_completions(COMPLETIONS);
        self.send_jobs();
    }

    fn send_jobs(&mut self) {
        let mut jobs = Vec::new();
        self.engine.take_jobs(&mut jobs);
        for job in jobs {
            match job {
                // If one does not fit, all that follow do not fit either.
                Job::Stream(work) if self.taken >= self.stream_room => {
                    self.engine.handle_refused(Job::Stream(work));
                }
                Job::Stream(work) => {
                    self.taken += 1;
                    self.jobs.push(StoreJob::Stream(*work));
                }
                Job::Append(append) => self.jobs.push(StoreJob::Append(append)),
                Job::Read(read) => self.jobs.push(StoreJob::Read(read)),
                Job::Admit(_) | Job::Presence(_) | Job::Report(_) | Job::Interest(_) | Job::Signal { .. } => {
                }
            }
        }
        self.engine.set_read_room(64);
    }

    fn flush(&mut self) {
        let lines = &mut self.lines;
        let mut write = |id, outbox: &mut Outbox, arena: &_| {
            let line = lines.iter_mut().find(|line| line.id == id).expect("a connection");
            let (mut bytes, mut room) = (0, line.pace);
            while !outbox.is_empty() && room > 0 {
                let mut slices = [IoSlice::new(&[])];
                outbox.fill(arena, &mut slices);
                let taken = slices[0].len().min(room);
                line.received.extend_from_slice(&slices[0][..taken]);
                outbox.advance(taken);
                bytes += taken;
                room -= taken;
            }
            let flushed = if outbox.is_empty() { Flushed::Empty } else { Flushed::Blocked };
            Written { bytes, flushed, sealed_bytes: 0 }
        };
        self.engine.flush(&mut write);
        self.engine.flush_arrivals(&mut write);
        self.engine.take_orders();
        self.engine.finish_flush();
    }
}
