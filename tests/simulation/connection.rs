//! One connection as its reactor has it.

use super::frame::Frame;
use super::order::Order;
use super::socket::{Shared, Socket, Upward};
use seawall::clock::Moment;
use seawall::session::Session;
use seawall::session::heartbeat::{Heartbeat, Periods};
use seawall::wire::outbox::{Arena, Outbox};
use std::fmt;
use std::io::IoSlice;
use std::rc::Rc;

pub struct Connection {
    pub serial: u64,
    pub socket: Shared,
    pub outbox: Outbox,
    pub session: Session,
    pub heartbeat: Heartbeat,
    pub connect_by: Moment,
    pub stage: Stage,
    pub replays: Replays,
    pub stalled_since: Option<Moment>,
    /// When its outbox had no room for a push last.
    pub crowded_at: Option<Moment>,
    /// What happened, in order, for the shadow to judge.
    pub events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Open,
    Closing { until: Moment },
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replays {
    None,
    Stepping,
    PageAsked,
}

/// What the shadow has to know of a connection.
#[derive(Debug)]
pub enum Event {
    /// The server read it.
    Received(Moment, Order),
    /// It entered the outbox.
    Said(Rc<Frame>),
    /// The session asked for its end.
    Closed,
}

/// `>` is what came from the client, `<` what goes to it.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Received(_, order) => write!(f, "> {}", order.text),
            Event::Said(frame) => write!(f, "< {frame:?}"),
            Event::Closed => write!(f, "closed"),
        }
    }
}

/// What became of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    Empty,
    Blocked,
}

impl Connection {
    pub fn new(
        serial: u64,
        socket: Shared,
        now: Moment,
        connect_by: Moment,
        clockwork: (Periods, f32),
    ) -> Connection {
        Connection {
            serial,
            socket,
            outbox: Outbox::default(),
            session: Session::new(None),
            heartbeat: Heartbeat::new(now, clockwork.0, clockwork.1),
            connect_by,
            stage: Stage::Open,
            replays: Replays::None,
            stalled_since: None,
            crowded_at: None,
            events: Vec::new(),
        }
    }

    /// Queues what was written for this peer alone.
    pub fn write(&mut self, arena: &mut Arena, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.outbox.push(arena, |out| out.extend_from_slice(bytes));
        let frames = self.socket.borrow_mut().tap(bytes);
        self.said(frames);
    }

    pub fn said(&mut self, frames: Vec<Rc<Frame>>) {
        self.events.extend(frames.into_iter().map(Event::Said));
    }

    pub fn flush(&mut self, arena: &Arena) -> (usize, Flushed) {
        let mut socket = self.socket.borrow_mut();
        let mut total = 0;
        while !self.outbox.is_empty() {
            let room = socket.room();
            if room == 0 {
                return (total, Flushed::Blocked);
            }
            let mut taken = 0;
            let mut slices = [IoSlice::new(&[]); 3];
            let filled = self.outbox.fill(arena, &mut slices);
            for slice in &slices[..filled] {
                let most = slice.len().min(room - taken);
                socket.take(&slice[..most]);
                taken += most;
            }
            self.outbox.advance(taken);
            total += taken;
        }
        (total, Flushed::Empty)
    }

    /// The next thing that arrived.
    pub fn receive(&self, now: Moment) -> Option<Upward> {
        let mut socket = self.socket.borrow_mut();
        let Socket { upward, .. } = &mut *socket;
        match upward.front() {
            Some((at, _)) if *at <= now => upward.pop_front().map(|(_, what)| what),
            Some(_) | None => None,
        }
    }
}
