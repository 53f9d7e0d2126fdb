//! The engine: one thread, one poll, its own listener, and everything that belongs to its connections.
//!
//! A reactor decides nothing. It moves bytes, asks the pure floors, and does what they say. Reactors share
//! nothing mutable; what they tell each other and the workers goes through `job`. The turn is the list of
//! verbs in [`Reactor::turn`]; each has a file.
//!
//! Invariants of a turn:
//!
//! - the clock is read once, when the poll returns;
//! - a connection is written at most once, at the end, with all it got;
//! - a slot is freed only at the very end, so that no event of the batch finds a stranger in it.

mod accept;
mod arrive;
mod clock;
mod complete;
mod connection;
mod deliver;
mod drain;
mod expire;
mod flush;
mod frames;
mod http;
mod listener;
mod observe;
mod pending;
mod perform;
mod prepared;
mod proxy;
mod read;
mod recover;
mod renew;
mod secure;
mod slots;
mod tell;
#[cfg(test)]
mod tests;
mod timers;
mod tls;

pub use clock::Clock;
pub use listener::{Port, listen};
pub use prepared::Prepared;
pub use renew::Setups;

use crate::clock::{Moment, Now};
use crate::health::handshakes::Handshakes;
use crate::health::snapshot::Snapshot;
use crate::hub::{ChannelId, Hub};
use crate::id::{ChannelName, ReactorId};
use crate::job::{Inbox, Mailbox, Outlook, Queues, SnapshotReader};
use crate::limits::{GATHER_MAX, READ_BYTES};
use crate::metrics::reactor::ReactorCounters;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::session::{Effect, Policy};
use crate::wire::frames::FrameLimits;
use crate::wire::outbox::Arena;
use crate::wire::push::ErrorCode;
use crate::wire::request::HeadLimits;
use connection::{Arrival, Connection, Listed, Queued};
use mio::net::TcpListener;
use mio::{Events, Poll, Token};
use pending::Pending;
use slots::{SlotId, Slots};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use timers::Timers;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Events taken from the kernel in a turn.
const EVENTS: usize = 1_024;
/// The longest sleep: a reactor without work still shows that it lives.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// A turn over this is counted as slow.
const SLOW_TURN: Duration = Duration::from_millis(10);

/// What all reactors of a process share: settings, and ways to others.
pub struct Setup {
    /// What holds for every session.
    pub policy: Policy,
    /// `server.origins`
    pub origins: Vec<String>,
    /// Which hosts the chat answers to.
    pub hosts: Hosts,
    /// `server.trusted_proxies`
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// `server.proxy_protocol`
    pub proxy_header: ProxyHeader,
    /// `server.echo`
    pub echo: Echo,
    /// `server.takeover`
    pub port: Port,
    /// Whether `limits.connections_per_address` or `limits.handshakes_per_s` is on.
    pub addresses: Addresses,
    /// How many reactors there are.
    pub reactors: usize,
    /// The origin of time.
    pub clock: Clock,
    /// What the process knows of itself.
    pub vitals: Arc<Vitals>,
    /// What is known of the dependencies.
    pub outlook: Arc<Outlook>,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// With whom connections are encrypted that begin from now on; `None`: they are plain.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Which hosts the chat answers to.
#[derive(Clone, Debug)]
pub enum Hosts {
    /// All: tokens keep strangers out.
    Any,
    /// Loopback names and these.
    LoopbackOr(Vec<String>),
}

/// Whether connections begin with a PROXY v2 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// They do not.
    Off,
    /// All must, and only those of trusted proxies are taken.
    Required,
}

/// Whether `/echo` exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// It does not.
    Off,
    /// It does.
    On,
}

/// Whether connections are counted by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// They are not.
    Uncounted,
    /// By the auth worker.
    Counted,
}

/// See the module.
pub struct Reactor {
    id: ReactorId,
    setups: renew::SetupReader,
    /// The setup of this turn.
    setup: Arc<Setup>,
    frame_limits: FrameLimits,
    head_limits: HeadLimits,
    counters: Arc<ReactorCounters>,
    poll: Poll,
    listener: Option<TcpListener>,
    accepting: accept::Accepting,
    leaving_port: listener::Leaving,
    inbox: Inbox,
    queues: Queues,
    mailboxes: Arc<[Mailbox]>,
    slots: Slots<Connection>,
    timers: Timers,
    pending: Pending,
    hub: Hub,
    now: Now,
    random: fastrand::Rng,
    buffer: Vec<u8>,
    secrecy: secure::Secrecy,
    arena: Arena,
    sharing: deliver::Sharing,
    effects: Vec<Effect>,
    refused: Vec<ErrorCode>,
    /// To be written at the end of the turn.
    dirty: Vec<SlotId>,
    /// To be read: an edge came, or a quota left bytes behind.
    ready: VecDeque<SlotId>,
    arrivals: arrive::Arrivals,
    handshakes: Handshakes,
    /// What handshakes took in this turn, and what all else took in the last one.
    handshake_time: Duration,
    others: Duration,
    /// Outboxes with room again whose subscriptions are catching up.
    rooms: Vec<SlotId>,
    /// Completions were left in the inbox.
    inbox_left: complete::InboxLeft,
    /// Since when the inbox is left for more publications to come; `None` when it is not.
    gathering: Option<Moment>,
    /// How long the last turn took that gave publications out.
    fan_out: Duration,
    /// Runs given out before this turn.
    runs_before: u64,
    retries: VecDeque<(Moment, Retry)>,
    /// Reads for those that came back, behind those that are under way.
    recoveries: recover::Recoveries,
    heads: complete::HeadsRound,
    leaving: Vec<crate::job::Admit>,
    /// Channels that the bus is to be told of: nobody here follows them any more.
    unfollowing: VecDeque<ChannelName>,
    dead: Vec<SlotId>,
    waiting_bytes: u64,
    next_relief: Moment,
    names: u64,
    health: SnapshotReader,
    /// The snapshot of this turn.
    snapshot: Arc<Snapshot>,
    telling: tell::Telling,
    draining: drain::Draining,
}

/// What is to be tried again after a read failed.
#[derive(Clone, Copy, Debug)]
enum Retry {
    CatchUp(SlotId),
    Fill(ChannelId),
    Older(ChannelId),
}

impl Reactor {
    /// Puts a reactor together, on its own thread.
    pub fn new(
        id: ReactorId,
        prepared: Prepared,
        setups: &Setups,
        queues: Queues,
        mailboxes: Arc<[Mailbox]>,
    ) -> Reactor {
        let setup = setups.load();
        let now = setup.clock.read();
        let mut random = fastrand::Rng::new();
        let limits = &setup.policy.limits;
        let tail_bytes = limits.tail_bytes_total as usize / setup.reactors.max(1);
        let hasher =
            ahash::RandomState::with_seeds(random.u64(..), random.u64(..), random.u64(..), random.u64(..));
        let mut health = setup.outlook.reader();
        let snapshot = Arc::clone(health.load());
        Reactor {
            id,
            setups: setups.reader(),
            frame_limits: FrameLimits::from(limits),
            head_limits: HeadLimits::from(limits),
            counters: setup.metrics.reactor(id),
            poll: prepared.poll,
            listener: Some(prepared.listener),
            accepting: accept::Accepting::Edge,
            leaving_port: listener::Leaving::No,
            inbox: prepared.inbox,
            queues,
            mailboxes,
            slots: Slots::new(),
            timers: Timers::new(now.at),
            pending: Pending::new(id),
            hub: Hub::new(limits.channels as usize, tail_bytes, hasher),
            now,
            random,
            buffer: vec![0; READ_BYTES],
            secrecy: secure::Secrecy::default(),
            arena: Arena::default(),
            sharing: deliver::Sharing::default(),
            effects: Vec::new(),
            refused: Vec::new(),
            dirty: Vec::new(),
            ready: VecDeque::new(),
            arrivals: arrive::Arrivals::default(),
            handshakes: Handshakes::new(now.at),
            handshake_time: Duration::ZERO,
            others: Duration::ZERO,
            rooms: Vec::new(),
            inbox_left: complete::InboxLeft::No,
            gathering: None,
            fan_out: Duration::ZERO,
            runs_before: 0,
            retries: VecDeque::new(),
            recoveries: recover::Recoveries::default(),
            heads: complete::HeadsRound::starting(now.at),
            leaving: Vec::new(),
            unfollowing: VecDeque::new(),
            dead: Vec::new(),
            waiting_bytes: 0,
            next_relief: now.at,
            names: 0,
            health,
            snapshot,
            telling: tell::Telling::default(),
            draining: drain::Draining::default(),
            setup,
        }
    }

    /// Turns until the process stops and its connections are closed.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_drained() {
            self.turn(&mut events)?;
        }
        self.give_up_rest();
        Ok(())
    }

    /// One pass: the whole of what a reactor does.
    pub fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        self.wait(events)?;
        self.renew();
        self.look();
        self.accept();
        self.read();
        self.complete();
        self.expire();
        self.tell();
        self.drain();
        self.catch_up_rooms();
        self.flush();
        self.reap();
        self.observe();
        Ok(())
    }

    /// Sleeps until something happens or is due, and notes who is ready.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, Some(self.patience())) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            Err(error) => return Err(error),
        }
        self.now = self.setup.clock.read();
        if let Some(vitals) = self.setup.vitals.reactors.get(usize::from(self.id.0)) {
            vitals.began.set(self.now.at.micros());
        }
        for event in events.iter() {
            match event.token() {
                LISTENER => self.accepting = accept::Accepting::Now,
                WAKER => {}
                token => self.note_ready(SlotId::from_token(token), event),
            }
        }
        Ok(())
    }

    fn note_ready(&mut self, id: SlotId, event: &mio::event::Event) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        let writable = event.is_writable() && connection.wants_flush();
        if event.is_error() && connection.reading == connection::Reading::Paused {
            // Nothing would find the reset before the next write.
            self.kill(id);
            return;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            if event.is_read_closed() && connection.reading == connection::Reading::Open {
                connection.reading = connection::Reading::Ending;
            }
            self.mark_ready(id);
        }
        if writable {
            self.mark_dirty(id);
        }
    }

    /// How long nothing is due.
    fn patience(&self) -> Duration {
        let idle = self.ready.is_empty()
            && (self.arrivals.is_idle() || self.arrivals.patience().is_some())
            && self.rooms.is_empty()
            && self.dirty.is_empty()
            && self.arrivals.dirty.is_empty()
            && self.telling.is_done()
            && self.draining.is_idle()
            && self.inbox_left == complete::InboxLeft::No
            && self.accepting != accept::Accepting::Now;
        if !idle {
            return Duration::ZERO;
        }
        let dues = [
            self.pending.deadline(),
            self.retries.front().map(|(due, _)| *due),
            self.accepting.due(),
            self.leaving_port.due(),
            self.drain_due(),
            self.gathering.map(|since| since + self.fan_out.min(GATHER_MAX)),
        ];
        let rest = dues.into_iter().flatten().map(|due| due.since(self.now.at));
        let rest = rest.chain(self.arrivals.patience());
        // mio rounds up to the milliseconds that the poll can wait for, so no turn comes just before its time.
        rest.fold(self.timers.rest(self.now.at).min(SLEEP_MAX), Duration::min)
    }

    /// Takes the connection off the poll at the end of the turn.
    fn kill(&mut self, id: SlotId) {
        if let Some(connection) = self.slots.get_mut(id)
            && connection.reading != connection::Reading::Dead
        {
            connection.reading = connection::Reading::Dead;
            self.dead.push(id);
        }
    }

    /// Frees the slots of the dead; dropping a socket closes it.
    fn reap(&mut self) {
        for id in std::mem::take(&mut self.dead) {
            self.end_session(id);
            let Some(mut connection) = self.slots.remove(id) else { continue };
            self.count_left(id);
            self.waiting_bytes -= u64::from(connection.counted_bytes);
            if let Some(address) = connection.counted_address.take() {
                self.leave(crate::job::Admit::Depart { address: *address });
            }
        }
    }

    fn mark_ready(&mut self, id: SlotId) {
        if let Some(connection) = self.slots.get_mut(id)
            && connection.listed == Listed::No
        {
            connection.listed = Listed::Ready;
            if !self.arrivals.list(id, &mut connection.arrival) {
                self.ready.push_back(id);
            }
        }
    }

    fn mark_dirty(&mut self, id: SlotId) {
        if let Some(connection) = self.slots.get_mut(id)
            && connection.queued == Queued::No
            && connection.wants_flush()
        {
            connection.queued = Queued::Dirty;
            match connection.arrival {
                Arrival::Settling | Arrival::In => self.dirty.push(id),
                Arrival::Head | Arrival::Upgraded => self.arrivals.dirty.push(id),
            }
        }
    }
}
