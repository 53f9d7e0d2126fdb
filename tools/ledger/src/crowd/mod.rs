//! Many clients on one thread, each modelled on an SDK, and the ledger of what they observe.
//!
//! The director of a scenario sends [`Order`]s and reads [`Seen`]. The thread ends with [`Order::Finish`] and returns its
//! [`Ledger`].

mod client;
mod follow;
mod leave;
mod link;
pub mod message;
mod orders;
mod publish;
mod receive;
pub mod role;
mod roster;
mod visit;

pub use client::Kind;
pub use orders::{Order, Seen, Visits};
pub use role::Role;
pub use roster::View;
pub use visit::Census;

use crate::clock::{self, Micros, SECOND};
use crate::ledger::{Journal, Ledger};
use client::Client;
use crossbeam_channel::{Receiver, TryRecvError};
use leave::Attempt;
use link::{Link, Stage, Until};
use mio::{Events, Interest, Poll, Token};
use seawall_load::{socket::Sources, upgrade};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Size of the read buffer that all connections share.
const READ_BYTES: usize = 256 << 10;
/// The longest wait of one turn of the loop.
const TICK: Duration = Duration::from_millis(10);
/// Dials per turn. The bound keeps arriving messages from waiting long.
const DIALS_PER_TURN: usize = 64;
/// The timeout of an upgrade.
const UPGRADE_WITHIN: Micros = 10 * SECOND;
/// The timeout of a close handshake.
const CLOSE_WITHIN: Micros = 5 * SECOND;

/// The parameters of a crowd.
#[derive(Debug)]
pub struct Plan {
    /// Part of every key, so that two runs on one store do not collide.
    pub run: u32,
    /// The role and channel of each client.
    pub clients: Vec<(Role, u16)>,
    /// The number of the first client and the first connection, so that two crowds of one run do not collide.
    pub base: u32,
    /// Bytes of a publication's data; in channel 0 thirty times as many.
    pub payload: usize,
}

/// One gateway's place, as the crowd knows it.
#[derive(Clone, Copy, Debug)]
struct Slot {
    life: u16,
    address: SocketAddr,
    in_rotation: bool,
}

/// A scheduled event. Its condition is checked again when it fires, because it may no longer apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A client connects or reconnects.
    Dial(u32),
    Move(u32),
    /// A client sends its due publication.
    Send(u32),
    /// A connection, given by its slab index and number, subscribes again.
    Subscribe(usize, u32),
    /// A replaced connection ends if its answers are complete.
    Retire(usize, u32),
    /// A head that a beat announced should have arrived.
    CheckBeat(usize, u32),
    /// A client requests missing publications again.
    Pull(u32),
    /// A slow reader stops or resumes reading.
    ToggleReading(usize, u32),
    /// A visitor comes or goes.
    Visit(u32),
    /// A watcher reads the roster of its channel.
    Roster(usize, u32),
}

pub struct Crowd {
    run: u32,
    base: u32,
    payload: usize,
    now: Micros,
    clients: Vec<Client>,
    links: Slab<Link>,
    slots: Vec<Option<Slot>>,
    timers: BinaryHeap<Reverse<(Micros, Timer)>>,
    poll: Poll,
    sources: Option<Sources>,
    dirty: Vec<usize>,
    next_link: u32,
    ledger: Ledger,
    seen: Arc<Seen>,
    /// The store's epoch, from the first answer that gave it.
    epoch: Option<String>,
    /// The newest offset of each channel that any client has heard of.
    heads: Vec<u64>,
    rate: f64,
    credit: f64,
    paid: Micros,
    next_author: usize,
    settled: u64,
    unresolved: u64,
    dials: usize,
    scanned: Micros,
    finishing: Option<Micros>,
    /// True while visitors come and go.
    visiting: bool,
    /// The clients of each user.
    users: HashMap<u32, Vec<u32>>,
}

impl Crowd {
    /// Creates a crowd without connections.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error if there is no epoll.
    pub fn new(plan: Plan, journal: Journal, seen: Arc<Seen>) -> io::Result<Crowd> {
        let channels = plan.clients.iter().map(|(_, channel)| usize::from(*channel) + 1).max().unwrap_or(0);
        let mut users: HashMap<u32, Vec<u32>> = HashMap::new();
        for (client, (role, _)) in (0..).zip(&plan.clients) {
            role.user.into_iter().for_each(|user| users.entry(user).or_default().push(client));
        }
        Ok(Crowd {
            run: plan.run,
            base: plan.base,
            payload: plan.payload,
            now: clock::now(),
            clients: plan.clients.into_iter().map(|(role, channel)| Client::new(role, channel)).collect(),
            links: Slab::new(),
            slots: Vec::new(),
            timers: BinaryHeap::new(),
            poll: Poll::new()?,
            sources: None,
            dirty: Vec::new(),
            next_link: plan.base << 12,
            ledger: Ledger::new(journal),
            seen,
            epoch: None,
            heads: vec![0; channels],
            rate: 0.0,
            credit: 0.0,
            paid: 0,
            next_author: 0,
            settled: 0,
            unresolved: 0,
            dials: 0,
            scanned: 0,
            finishing: None,
            visiting: false,
            users,
        })
    }

    /// Runs until [`Order::Finish`], or until the director is gone.
    ///
    /// # Errors
    ///
    /// Returns errors of epoll and of the journal's file.
    pub fn run(mut self, orders: &Receiver<Order>) -> io::Result<Ledger> {
        let mut events = Events::with_capacity(4_096);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            self.now = clock::now();
            self.handle_orders(orders);
            self.fire(&mut buffer);
            self.publish_what_is_due();
            self.flush();
            if self.scan() {
                break;
            }
            let wait = if self.dials >= DIALS_PER_TURN { Duration::ZERO } else { TICK };
            self.dials = 0;
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                let index = event.token().0;
                if event.is_writable()
                    && let Some(link) = self.links.get_mut(index)
                {
                    link.flush();
                }
                if event.is_readable() {
                    let until = if event.is_read_closed() { Until::TheEnd } else { Until::Drained };
                    self.readable(index, &mut buffer, until);
                }
            }
        }
        self.hand_over();
        self.ledger.flush()?;
        Ok(self.ledger)
    }

    fn handle_orders(&mut self, orders: &Receiver<Order>) {
        loop {
            match orders.try_recv() {
                Ok(order) => self.order(order),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.order(Order::Finish),
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Life { slot, life, address } => {
                let at = usize::from(slot);
                if self.slots.len() <= at {
                    self.slots.resize(at + 1, None);
                }
                let in_rotation =
                    self.slots.get(at).is_some_and(|slot| slot.is_some_and(|slot| slot.in_rotation));
                if let Some(place) = self.slots.get_mut(at) {
                    *place = Some(Slot { life, address, in_rotation });
                }
                self.sources.get_or_insert_with(|| Sources::usual(address));
            }
            Order::Rotation { slot, open } => {
                if let Some(Some(place)) = self.slots.get_mut(usize::from(slot)) {
                    place.in_rotation = open;
                }
            }
            Order::Connect { from, to, over } => {
                let each = over / u64::from(to.saturating_sub(from).max(1));
                for (at, client) in (from..to).enumerate() {
                    if let Some(it) = self.clients.get_mut(client as usize) {
                        it.is_wanted = true;
                    }
                    self.later(each * at as u64, Timer::Dial(client));
                }
                self.count_wanted();
            }
            Order::Rate(rate) => {
                self.rate = rate;
                self.credit = 0.0;
            }
            Order::Leave => self.stay_away(),
            Order::Storm(slot) => self.storm(slot),
            Order::Visits(Visits::Begin) => self.begin_visits(),
            Order::Visits(Visits::End) => self.visiting = false,
            Order::Census(answer) => {
                // The director that asked waits, unless it was interrupted.
                let _ = answer.send(self.census());
            }
            Order::Remark(what) => self.ledger.remark(self.now, &what),
            Order::Finish => self.finish(),
        }
    }

    fn count_wanted(&self) {
        Seen::write(&self.seen.wanted, self.clients.iter().filter(|it| it.is_wanted).count() as u64);
    }

    fn later(&mut self, wait: Micros, timer: Timer) {
        self.timers.push(Reverse((self.now + wait, timer)));
    }

    fn fire(&mut self, buffer: &mut [u8]) {
        while let Some(Reverse((at, timer))) = self.timers.peek().copied()
            && at <= self.now
            && self.dials < DIALS_PER_TURN
        {
            self.timers.pop();
            match timer {
                Timer::Dial(client) => {
                    if self
                        .clients
                        .get(client as usize)
                        .is_some_and(|it| it.is_wanted && it.current.is_none())
                    {
                        self.dial(client, None);
                    }
                }
                Timer::Move(client) => self.begin_move(client),
                Timer::Send(client) => self.send_what_is_due(client),
                Timer::Subscribe(index, number) => self.subscribe_again(index, number),
                Timer::Retire(index, number) => self.retire(index, number),
                Timer::CheckBeat(index, number) => self.check_beat(index, number),
                Timer::Pull(client) => self.pull(client),
                Timer::ToggleReading(index, number) => self.toggle_reading(index, number, buffer),
                Timer::Visit(client) => self.visit(client),
                Timer::Roster(index, number) => self.read_roster(index, number),
            }
        }
    }

    /// Starts a connection, to another place than `away_from` if there is one.
    fn dial(&mut self, client: u32, away_from: Option<u8>) {
        if self.finishing.is_some() {
            return;
        }
        self.dials += 1;
        let Some((slot, place)) = self.place_for(client, away_from) else {
            return self
                .later(SECOND, if away_from.is_some() { Timer::Move(client) } else { Timer::Dial(client) });
        };
        let number = self.next_link;
        self.next_link += 1;
        self.ledger.life(place.life).dialled += 1;
        let Some(sources) = &mut self.sources else { return };
        let dialled = sources.dial(place.address);
        let entry = self.links.vacant_entry();
        let index = entry.key();
        let is_open = dialled.and_then(|stream| {
            let mut link = Link::new((client, number), (slot, place.life), stream, self.now);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(link.socket(), Token(index), interest)?;
            let (request, accept) = upgrade::request("/ws", place.address);
            link.accept = accept;
            link.queue_bytes(&request);
            entry.insert(link);
            Ok(())
        });
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        match is_open {
            Ok(()) if it.current.is_none() => it.current = Some(index),
            Ok(()) => it.next = Some(index),
            Err(_) => {
                self.ledger.life(place.life).refused_upgrades += 1;
                let attempt = if away_from.is_some() { Attempt::Move } else { Attempt::Reconnect };
                self.try_again(client, None, attempt);
            }
        }
    }

    /// The gateway that a load balancer would choose for this client.
    fn place_for(&self, client: u32, away_from: Option<u8>) -> Option<(u8, Slot)> {
        let places = || (0u8..).zip(&self.slots).filter_map(|(at, slot)| Some((at, (*slot)?)));
        let open: Vec<_> = places().filter(|(at, slot)| slot.in_rotation && Some(*at) != away_from).collect();
        let hint = self.clients.get(client as usize).and_then(|it| it.hint).filter(|_| away_from.is_some());
        if let Some(hinted) = open.iter().find(|(at, _)| Some(*at) == hint) {
            return Some(*hinted);
        }
        let chosen = open.get(client as usize % open.len().max(1)).copied();
        // If none is in rotation, any place is tried; its gateway will refuse.
        chosen.or_else(|| places().find(|(_, slot)| slot.in_rotation)).or_else(|| places().next())
    }

    fn flush(&mut self) {
        while let Some(index) = self.dirty.pop() {
            if let Some(link) = self.links.get_mut(index) {
                link.dirty = false;
                link.flush();
            }
        }
    }

    fn mark_dirty(&mut self, index: usize) {
        if let Some(link) = self.links.get_mut(index)
            && !link.dirty
        {
            link.dirty = true;
            self.dirty.push(index);
        }
    }

    /// Closes what is overdue and updates [`Seen`], every quarter second. True when the run is finished.
    fn scan(&mut self) -> bool {
        self.seen.turns.fetch_add(1, Ordering::AcqRel);
        if self.now < self.scanned + SECOND / 4 {
            return false;
        }
        self.scanned = self.now;
        let overdue: Vec<usize> =
            self.links.iter().filter(|(_, link)| self.is_overdue(link)).map(|(index, _)| index).collect();
        overdue.into_iter().for_each(|index| self.give_up(index));
        let heads = &self.heads;
        let lacks = |it: &&Client| {
            let head = heads.get(usize::from(it.channel)).copied().unwrap_or(0);
            it.is_wanted && (!it.is_settled || it.last.is_none_or(|last| last < head))
        };
        Seen::write(&self.seen.lacking, self.clients.iter().filter(lacks).count() as u64);
        self.count_wanted();
        Seen::write(&self.seen.links, self.links.len() as u64);
        Seen::write(&self.seen.unresolved, self.unresolved);
        self.finishing.is_some_and(|since| self.links.is_empty() || self.now > since + CLOSE_WITHIN)
    }

    fn is_overdue(&self, link: &Link) -> bool {
        if self.now < link.paused_until {
            return false;
        }
        match link.stage {
            Stage::Upgrading => self.now > link.dialled + UPGRADE_WITHIN,
            Stage::Connecting | Stage::Joining | Stage::Live => self.now > link.heard + 2 * link.ping,
            Stage::Leaving => self.now > link.heard + CLOSE_WITHIN,
        }
    }

    /// Updates whether a client is settled, which means connected with everything it knows of.
    fn settle(&mut self, client: u32) {
        let Some(it) = self.clients.get_mut(client as usize) else { return };
        let is_live =
            it.current.and_then(|index| self.links.get(index)).is_some_and(|link| link.stage == Stage::Live);
        let is_settled = is_live && !it.lacks();
        if is_settled != std::mem::replace(&mut it.is_settled, is_settled) {
            self.settled = if is_settled { self.settled + 1 } else { self.settled - 1 };
            Seen::write(&self.seen.settled, self.settled);
        }
    }
}
