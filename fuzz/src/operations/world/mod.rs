//! Three connections, a hub and a store, without sockets, threads or a clock: what a reactor does around
//! sessions, reduced to what a session can notice.

mod workers;

use super::store::Store;
use super::view::View;
use seawall::clock::{Moment, Now};
use seawall::close::{CloseReason, Farewell};
use seawall::hub::{ChannelId, Hub, Need, Paging, Slot, Step, SubscriptionId};
use seawall::id::{ChannelName, CommandId, InstanceName, Offset};
use seawall::limits::Limits;
use seawall::session::heartbeat::Beat;
use seawall::session::outcome::{Denied, Identity, Occasion};
use seawall::session::{AppendEffect, AuthMode, Context, Effect, Policy, Session, write_beat};
use seawall::wire::command::{Range, parse};
use seawall::wire::publication::Published;
use seawall::wire::push;
use seawall::wire::server_frame;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Connections.
pub const PEERS: usize = 3;
/// Requests that may wait; past it a queue is full.
const PENDING_MAX: usize = 16;
/// What one call may write beside a page of history: errors for what was held, at most.
const CALL_BYTES_MAX: usize = 16 << 10;

/// One connection and what its client saw.
pub struct Peer {
    session: Session,
    /// Counts the connections that lived in this place.
    generation: u32,
    outbox: Vec<u8>,
    pub view: View,
    /// Every id ever used: a client counts up.
    used: BTreeSet<u64>,
    state: PeerState,
    page_asked: bool,
    /// A page of it could not be read: it goes on when time passes.
    retries: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerState {
    Served,
    /// The close frame is written.
    Closed,
    /// The socket is gone.
    Gone,
}

/// Who waits: a place, and which connection in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who {
    peer: usize,
    generation: u32,
}

/// What waits for a worker.
enum Request {
    Append(Who, Box<AppendEffect>),
    History { who: Who, id: CommandId, channel: ChannelName, range: Range, limit: u32 },
    Token { who: Who, id: CommandId, occasion: Occasion },
    Replay { who: Who, subscription: SubscriptionId, channel: ChannelName, after: Offset, limit: u32 },
    Position(ChannelId),
    Older(ChannelId),
    Fill(ChannelId, Offset),
}

/// What a worker does with a request.
pub enum Answer {
    Succeed(Result<Identity, Denied>),
    Fail,
}

/// See the module.
pub struct World {
    pub policy: Policy,
    pub hub: Hub,
    pub store: Store,
    pub peers: Vec<Peer>,
    pub now: Now,
    pending: VecDeque<(Moment, Request)>,
    lane: VecDeque<Published>,
    refills: Vec<ChannelId>,
    /// Connections that the census counts.
    counted: i64,
}

impl World {
    pub fn new(limits: &Limits, auth: AuthMode) -> World {
        let mut world = World {
            policy: Policy::new(limits, auth, InstanceName(Arc::from("gw"))),
            hub: Hub::new(limits.channels as usize, 600, ahash::RandomState::with_seeds(1, 2, 3, 4)),
            store: Store::default(),
            peers: Vec::new(),
            now: Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_000_000 },
            pending: VecDeque::new(),
            lane: VecDeque::new(),
            refills: Vec::new(),
            counted: 0,
        };
        (0..PEERS).for_each(|index| world.peers.push(Peer::new(index as u32)));
        world
    }

    /// The client sends a text, unless it repeats an id or its socket is not read.
    pub fn say(&mut self, index: usize, text: &str) {
        let bounds = self.policy.bounds;
        let peer = &mut self.peers[index];
        let overfull = peer.outbox.len() > self.policy.limits.outbox_bytes_hard as usize;
        if peer.state == PeerState::Gone || overfull || peer.outbox.len() > 1 << 20 {
            return;
        }
        if peer.state == PeerState::Served {
            let parsed = parse(text, bounds);
            let id = match &parsed {
                Ok(request) => request.id,
                Err(rejected) => rejected.id,
            };
            if id.is_some_and(|id| !peer.used.insert(id.0)) {
                return;
            }
            match (&parsed, id) {
                (Ok(request), _) => peer.view.asks(request),
                (Err(_), Some(id)) => peer.view.owes(id.0),
                (Err(_), None) => {}
            }
        }
        self.call(index, CALL_BYTES_MAX, |session, cx| session.text(text, cx));
    }

    /// Another instance, or a worker, put something into the log.
    pub fn append(&mut self, effect: &AppendEffect) {
        if let Ok((_, Some(published))) = self.store.append(effect) {
            self.lane.push_back(published);
        }
    }

    /// Up to eight publications arrive; bit by bit `lost` and `doubled` say how.
    pub fn turn(&mut self, lost: u8, doubled: u8) {
        for bit in 0..8 {
            let Some(published) = self.lane.pop_front() else { break };
            let times = usize::from(lost >> bit & 1 == 0) + usize::from(doubled >> bit & 1);
            (0..times).for_each(|_| self.hub.publish(&published));
        }
        self.finish();
    }

    /// True exactly when nothing is under way.
    pub fn is_at_rest(&self) -> bool {
        let silent = self.peers.iter().all(|peer| peer.outbox.is_empty() || peer.state == PeerState::Gone);
        self.pending.is_empty() && self.lane.is_empty() && silent
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// A worker answers the `index`th request that waits.
    pub fn answer(&mut self, index: usize, answer: Answer) {
        if let Some((_, request)) = self.pending.remove(index) {
            self.answer_request(request, Some(answer));
            self.ask_needs();
        }
    }

    /// Time passes: what waited too long is answered, tokens expire, beats are due.
    pub fn pass(&mut self, time: Duration) {
        self.now.at = self.now.at + time;
        self.now.unix_ms += time.as_millis() as u64;
        while self.pending.front().is_some_and(|(deadline, _)| *deadline <= self.now.at) {
            if let Some((_, request)) = self.pending.pop_front() {
                self.answer_request(request, None);
            }
        }
        std::mem::take(&mut self.refills).into_iter().for_each(|channel| {
            self.hub.refill(channel);
            self.hub.ask_older(channel);
        });
        for index in 0..PEERS {
            self.call(index, CALL_BYTES_MAX, Session::expire);
            if self.peers[index].session.is_open() {
                let peer = &mut self.peers[index];
                write_beat(&peer.session, &mut self.hub, Beat::IfMoved, 1, &mut peer.outbox);
            }
            if std::mem::take(&mut self.peers[index].retries) {
                self.catch_up(index);
            }
        }
        self.finish();
    }

    /// The round over all heads.
    pub fn read_heads(&mut self) {
        for name in self.hub.names_from(0, usize::MAX).0 {
            self.hub.heads_read(&name, self.store.position(&name));
        }
        self.finish();
    }

    /// The client takes all that waits for it.
    pub fn drain(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let bytes = std::mem::take(&mut peer.outbox);
        peer.view.read(&bytes, &self.store);
        self.catch_up(index);
        self.finish();
    }

    /// The socket ends, or a new one takes its place.
    pub fn hang_up(&mut self, index: usize) {
        if self.peers[index].state != PeerState::Gone {
            self.end(index);
            return;
        }
        let generation = self.peers[index].generation + 1;
        self.peers[index] = Peer { generation, ..Peer::new(index as u32) };
    }

    pub fn end(&mut self, index: usize) {
        self.call(index, 0, Session::end);
        self.peers[index].state = PeerState::Gone;
    }

    /// After the last connection nothing may be left.
    pub fn assert_empty(&self) {
        assert_eq!(self.hub.sizes(), (0, 0, 0), "an empty hub holds nothing");
        assert_eq!(self.counted, 0, "who was counted was counted off, once");
    }

    /// With no fault left everybody must have everything.
    pub fn assert_settled(&self) {
        assert!(self.is_at_rest() && !self.hub.has_needs(), "never at rest");
        for peer in self.peers.iter().filter(|peer| peer.state == PeerState::Served) {
            if !peer.session.awaits_connect() {
                assert!(peer.session.is_open(), "connect is answered");
                assert!(peer.view.owed().is_empty(), "never answered: {:?}", peer.view.owed());
            }
            for subscription in peer.session.subscriptions() {
                let name = self.hub.name(*subscription).expect("it is registered");
                let following = &peer.view.following[name.as_str()];
                assert!(self.hub.is_live(*subscription), "{name} is live again");
                assert!(following.synced, "{name} ended its replay with synced");
                assert_eq!(following.last, self.store.head(name), "{name} came to its head");
            }
        }
        assert!(self.peers.iter().all(|peer| peer.state != PeerState::Closed || peer.view.is_closed()));
    }

    /// Calls a session, holds it to its promises, and does what it asks for.
    fn call(&mut self, index: usize, bytes_max: usize, act: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let peer = &mut self.peers[index];
        let (mut effects, mut refused, before) = (Vec::new(), Vec::new(), peer.outbox.len());
        let mut cx = Context {
            now: self.now,
            asked: self.now.at,
            policy: &self.policy,
            hub: &mut self.hub,
            slot: Slot(index as u32),
            connection: 7,
            status: r#"{"revision":1,"level":"ok","dependencies":[],"lost":[]}"#,
            waiting_bytes: before,
            out: &mut peer.outbox,
            effects: &mut effects,
            refused: &mut refused,
        };
        act(&mut peer.session, &mut cx);
        let written = peer.outbox.len() - before;
        assert!(written <= bytes_max, "{written} bytes by one call");
        if peer.state != PeerState::Served {
            assert_eq!(written, 0, "a closed session says nothing");
            assert!(
                effects.iter().all(|effect| matches!(effect, Effect::Leave(_))),
                "it asks for nothing: {effects:?}"
            );
        }
        assert!(effects.iter().filter(|effect| matches!(effect, Effect::Close(_))).count() <= 1);
        for effect in effects {
            self.perform(index, effect);
        }
        self.ask_needs();
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        let who = Who { peer: index, generation: self.peers[index].generation };
        match effect {
            Effect::Append(append) => self.ask(Request::Append(who, append)),
            Effect::History { id, channel, range, limit, .. } => {
                self.ask(Request::History { who, id, channel, range, limit });
            }
            Effect::CheckToken { occasion, id, .. } => self.ask(Request::Token { who, id, occasion }),
            Effect::Signal { channel, frame } => self.hub.signal(&channel, &frame),
            Effect::Replay(subscription) => self.step(subscription),
            Effect::Leave(_) => {
                self.counted -= 1;
                assert!(self.counted >= 0, "counted off twice");
            }
            Effect::Close(reason) => self.close(index, &reason),
        }
    }

    fn close(&mut self, index: usize, reason: &CloseReason) {
        assert_eq!(self.peers[index].state, PeerState::Served, "closed twice");
        self.call(index, 0, Session::end);
        let peer = &mut self.peers[index];
        assert_eq!(reason.farewell(), Farewell::Bye, "a session's own reasons are told");
        push::bye(&mut peer.outbox, reason);
        server_frame::write_close(&mut peer.outbox, reason.code(), &reason.text());
        peer.state = PeerState::Closed;
    }

    fn catch_up(&mut self, index: usize) {
        for subscription in self.peers[index].session.subscriptions().to_vec() {
            if !self.hub.is_live(subscription) {
                self.step(subscription);
            }
        }
    }

    fn step(&mut self, subscription: SubscriptionId) {
        let Some(slot) = self.hub.slot(subscription) else { return };
        let room = self.policy.limits.outbox_bytes as usize / 2;
        let index = slot.0 as usize;
        loop {
            let peer = &mut self.peers[index];
            if !peer.session.is_open() || peer.outbox.len() >= room {
                return;
            }
            let paging = if peer.page_asked { Paging::Busy } else { Paging::Allowed };
            match self.hub.step(subscription, paging, &mut peer.outbox) {
                Step::Done | Step::Waits => return,
                Step::Wrote => {}
                Step::Shares(frame) => peer.outbox.extend_from_slice(&frame),
                Step::Page { channel, after, limit } => {
                    peer.page_asked = true;
                    let who = Who { peer: index, generation: peer.generation };
                    return self.ask(Request::Replay { who, subscription, channel, after, limit });
                }
            }
        }
    }

    /// Asks the store for what the hub lacks.
    fn ask_needs(&mut self) {
        while self.hub.has_needs() {
            for need in self.hub.take_needs() {
                self.ask(match need {
                    Need::Position(id) => Request::Position(id),
                    Need::Older(id) => Request::Older(id),
                    Need::Fill(id, after) => Request::Fill(id, after),
                });
            }
        }
    }

    /// The end of a turn: the runs are given out. Between two ends much may happen, as in a reactor, whose
    /// turn takes many answers.
    fn finish(&mut self) {
        self.ask_needs();
        let bound = self.policy.limits.outbox_bytes as usize;
        while let Some(run) = self.hub.take_run() {
            let mut fallen = Vec::new();
            for live in run.live {
                let outbox = &mut self.peers[live.slot.0 as usize].outbox;
                if outbox.len() + run.bytes.len() > bound {
                    fallen.push(*live);
                } else {
                    outbox.extend_from_slice(&run.bytes);
                }
            }
            fallen.into_iter().for_each(|live| self.hub.fall_behind(live));
        }
        for subscription in self.hub.take_caught_up() {
            self.step(subscription);
        }
    }
}

impl Peer {
    fn new(index: u32) -> Peer {
        Peer {
            // One comes with a token in its upgrade.
            session: Session::new((index == 0).then(|| Box::from("upgrade"))),
            generation: 0,
            outbox: Vec::new(),
            view: View::default(),
            used: BTreeSet::new(),
            state: PeerState::Served,
            page_asked: false,
            retries: false,
        }
    }

    pub fn is_gone(&self) -> bool {
        self.state == PeerState::Gone
    }
}
