//! The shell of an engine: one thread with its poll, its listener and its sockets.
//!
//! The [`Engine`] decides; a reactor moves bytes between it and the kernel, jobs between it and the workers, and reads the
//! clocks: once when the poll returns, and around handshakes, whose cost is measured. Reactors share nothing mutable; all they
//! send to each other and to the workers goes through `job::lane`. [`Reactor::turn`] lists the steps of a turn.

mod accept;
mod clock;
pub(crate) mod exchange;
mod listener;
mod observe;
mod renew;
mod secure;
mod socket;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod transfer;

pub use crate::engine::{Addresses, Echo, Hosts, ProxyHeader};
pub use clock::Clock;
pub use listener::{Port, listen};
pub use renew::{Setups, ShellSetup};

use crate::clock::Moment;
use crate::drain::DrainPhase;
use crate::engine::{Engine, FollowMode, Job, Readiness};
use crate::id::ReactorId;
use crate::job::lane::{Inbox, Mailbox, Queues, SnapshotReader, StreamLoss, inbox};
use crate::job::orders::{OrderBoard, OrderReader};
use crate::limits::READ_BYTES;
use crate::metrics::reactor::ReactorCounters;
use listener::Leaving;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use socket::{Sockets, slot_of};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The two tokens that name no socket: no peer has their generation.
const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// The most events taken from the kernel in a turn.
const EVENTS: usize = 1_024;

/// The parts of a reactor that are created before its thread starts: everything a configuration mistake can make fail.
pub struct Prepared {
    poll: Poll,
    listener: TcpListener,
    inbox: Inbox,
}

impl Prepared {
    /// Creates the poll and the inbox of a reactor, and registers its listener.
    pub fn new(mut listener: TcpListener) -> io::Result<(Mailbox, Prepared)> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (mailbox, inbox) = inbox(Waker::new(poll.registry(), WAKER)?);
        Ok((mailbox, Prepared { poll, listener, inbox }))
    }
}

/// The shell of one engine.
pub struct Reactor {
    id: ReactorId,
    engine: Engine,
    sockets: Sockets,
    setups: renew::SetupReader,
    /// The setup of this turn.
    setup: Arc<ShellSetup>,
    health: SnapshotReader,
    orders: Arc<OrderBoard>,
    order_reader: OrderReader,
    counters: Arc<ReactorCounters>,
    poll: Poll,
    listener: Option<TcpListener>,
    accepting: accept::Accepting,
    leaving_port: Leaving,
    inbox: Inbox,
    stream_loss: StreamLoss,
    queues: Queues,
    /// Memory for the jobs that are being sent.
    jobs: Vec<Job>,
    buffer: Vec<u8>,
    secrecy: secure::Secrecy,
    /// The ended sessions that were logged and reported.
    logged_ends: u64,
    /// When this reactor looks again for the users with sessions.
    look_around_at: Moment,
}

impl Reactor {
    /// Assembles a reactor on its own thread.
    pub fn new(
        id: ReactorId,
        prepared: Prepared,
        setups: &Setups,
        queues: Queues,
        orders: Arc<OrderBoard>,
    ) -> Reactor {
        let setup = setups.load();
        let mut health = setup.engine.outlook.reader();
        let follows = if queues.bus.is_some() { FollowMode::ByBus } else { FollowMode::Alone };
        let (shared, snapshot) = (Arc::clone(&setup.engine), Arc::clone(health.load()));
        let mut engine = Engine::new(id, shared, snapshot, setup.clock.read(), follows, fastrand::u64(..));
        engine.begin_orders(orders.log());
        Reactor {
            id,
            engine,
            order_reader: orders.reader(),
            sockets: Sockets::default(),
            setups: setups.reader(),
            health,
            counters: setup.engine.metrics.reactor(id),
            poll: prepared.poll,
            listener: Some(prepared.listener),
            accepting: accept::Accepting::Edge,
            leaving_port: Leaving::No,
            inbox: prepared.inbox,
            stream_loss: StreamLoss::default(),
            queues,
            jobs: Vec::new(),
            buffer: vec![0; READ_BYTES],
            secrecy: secure::Secrecy::default(),
            logged_ends: 0,
            look_around_at: Moment::ZERO,
            orders,
            setup,
        }
    }

    /// Runs turns until the process stops and its connections are closed.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.engine.is_drained() {
            self.turn(&mut events)?;
        }
        self.engine.give_up_rest();
        self.engine.tally().publish(&self.counters);
        Ok(())
    }

    /// Does everything that a reactor does, once.
    pub fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        self.wait(events)?;
        self.renew();
        self.look();
        self.look_for_orders();
        self.accept();
        self.read();
        self.exchange();
        self.expire();
        self.carry_out_orders();
        self.push_status();
        self.drain();
        self.catch_up();
        self.flush();
        self.reap();
        self.observe();
        Ok(())
    }

    /// Sleeps until something happens or is due, and notes the sockets that became ready.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, Some(self.patience())) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            Err(error) => return Err(error),
        }
        let now = self.setup.clock.read();
        self.engine.begin_turn(now);
        // The other reactors have used the queue meanwhile.
        self.engine.set_read_room(self.queues.read_room());
        if let Some(vitals) = self.setup.engine.vitals.reactors.get(usize::from(self.id.0)) {
            vitals.began.set(now.at.micros());
        }
        for event in events.iter() {
            match event.token() {
                LISTENER => self.accepting = accept::Accepting::Now,
                WAKER => {}
                token => self.engine.handle_readiness(slot_of(token), readiness(event)),
            }
        }
        Ok(())
    }

    /// The time until something is due.
    fn patience(&self) -> Duration {
        if self.accepting == accept::Accepting::Now {
            return Duration::ZERO;
        }
        let now = self.engine.now().at;
        let dues = [self.accepting.due(), self.leaving_port.due()];
        let rest = dues.into_iter().flatten().map(|due| due.since(now));
        // mio rounds up to the milliseconds that the poll can wait for, so no turn comes just before its time.
        rest.fold(self.engine.patience(), Duration::min)
    }

    /// Takes the newest health snapshot, which costs one comparison while there is no new one.
    fn look(&mut self) {
        let newest = self.health.load();
        if !Arc::ptr_eq(newest, self.engine.snapshot()) {
            self.engine.handle_snapshot(Arc::clone(newest));
        }
    }

    /// Takes the newest orders, which costs one comparison while there are no new ones.
    fn look_for_orders(&mut self) {
        let newest = self.order_reader.load();
        if !Arc::ptr_eq(newest, self.engine.order_log()) {
            self.engine.handle_orders(Arc::clone(newest));
        }
    }

    /// Ends the sessions that orders mean. Like the snapshot, orders that came since the waker was rearmed are taken as well.
    fn carry_out_orders(&mut self) {
        self.look_for_orders();
        self.engine.carry_out_orders();
        for order in self.engine.take_finished_orders() {
            self.orders.finished(&order);
        }
        self.send_jobs();
    }

    fn expire(&mut self) {
        self.engine.expire();
        self.send_jobs();
    }

    fn push_status(&mut self) {
        // Looks again after the waker was rearmed: a snapshot that was published since `look` did not wake this reactor.
        self.look();
        if self.engine.wants_roster_room() {
            self.engine.set_roster_room(self.queues.presence.share());
        }
        self.engine.push_status();
        self.send_jobs();
    }

    /// Follows the phases of the process's drain. The engine enters `Moving` and `Closing` only once the listener is
    /// closed.
    fn drain(&mut self) {
        let phase = self.setup.engine.vitals.drain.phase();
        let may_enter = match phase {
            DrainPhase::Serving | DrainPhase::Accepting => true,
            DrainPhase::Moving | DrainPhase::Closing if phase == self.engine.phase() => true,
            DrainPhase::Moving | DrainPhase::Closing => self.leave_port() == Leaving::Left,
        };
        if may_enter {
            self.announce_closed(phase);
        }
        self.engine.drain(if may_enter { phase } else { self.engine.phase() });
        self.send_jobs();
    }

    fn catch_up(&mut self) {
        self.engine.catch_up_rooms();
        self.send_jobs();
    }

    /// Closes the sockets of the peers that ended.
    fn reap(&mut self) {
        let dead = self.engine.reap();
        for &id in &dead {
            self.sockets.remove(id);
        }
        if !dead.is_empty() {
            if self.engine.is_empty() {
                self.sockets.shrink();
            }
            self.send_jobs();
        }
    }
}

fn readiness(event: &mio::event::Event) -> Readiness {
    Readiness {
        readable: event.is_readable(),
        writable: event.is_writable(),
        read_closed: event.is_read_closed(),
        error: event.is_error(),
    }
}
