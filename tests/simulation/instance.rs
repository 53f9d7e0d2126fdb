//! One process: its reactors and its auth worker. A crash takes all of it.

use super::auth::Auth;
use super::drain::Drain;
use super::reactor::Reactor;
use fastrand::Rng;
use seawall::clock::Now;
use seawall::id::{InstanceName, ReactorId};
use seawall::limits::Limits;
use seawall::session::{AuthMode, Policy};
use std::rc::Rc;
use std::sync::Arc;

const REACTORS: u16 = 2;

pub struct Instance {
    /// Which of its lives: answers for an earlier one find nobody.
    pub life: u32,
    pub up: bool,
    pub reactors: Vec<Reactor>,
    pub auth: Auth,
    /// It was told to end.
    pub drain: Option<Drain>,
    policy: Rc<Policy>,
}

impl Instance {
    pub fn new(name: &str, limits: &Limits, mode: AuthMode) -> Instance {
        let policy = Rc::new(Policy::new(limits, mode, InstanceName(Arc::from(name))));
        Instance { life: 0, up: false, reactors: Vec::new(), auth: Auth::default(), drain: None, policy }
    }

    pub fn start(&mut self, now: Now, rng: &mut Rng) {
        self.up = true;
        self.life += 1;
        self.auth = Auth::default();
        self.drain = None;
        self.reactors = (0..REACTORS)
            .map(|index| Reactor::new(ReactorId(index), Rc::clone(&self.policy), now, rng.u64(..)))
            .collect();
    }

    /// All its memory is gone; its connections are reset.
    pub fn crash(&mut self) {
        self.up = false;
        self.drain = None;
        for reactor in self.reactors.drain(..) {
            for connection in reactor.connections.into_iter().flatten() {
                connection.socket.borrow_mut().server_gone = true;
            }
        }
    }
}

/// Small ones, so that each is hit; times are short, so that many rounds fit in a run.
pub fn limits(rng: &mut Rng) -> Limits {
    let outbox_bytes = [1 << 10, 6 << 10, 96 << 10][rng.usize(..3)];
    Limits {
        subscriptions: 6,
        pending: 8,
        publishes_per_s: 20,
        publishes_burst: 40,
        commands_per_s: 100,
        commands_burst: 60,
        outbox_bytes,
        outbox_bytes_hard: 4 * outbox_bytes,
        tail_bytes_total: [0, 3_000, 200_000][rng.usize(..3)],
        channels: 10,
        connect_ms: 5_000,
        stall_ms: 8_000,
        ping_ms: 5_000,
        pong_ms: 4_000,
        ..Limits::default()
    }
}
