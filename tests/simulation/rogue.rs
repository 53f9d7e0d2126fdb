//! A client that keeps no rule: it floods, never reads, sends nonsense, speaks before `connect`.

use super::order::{Begin, Content, Order};
use super::schedule::chance;
use super::socket::{Shared, Upward};
use fastrand::Rng;
use seawall::clock::Moment;
use seawall::id::{Epoch, Offset};
use seawall::wire::publication::Change;
use std::time::Duration;

pub struct Rogue {
    pub user: String,
    pub socket: Option<Shared>,
    next_id: u64,
    habit: Habit,
    until: Moment,
}

/// The behaviour during one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// It sends all kinds of commands, and reads.
    Erratic,
    /// The same, and it never reads.
    Deaf,
    /// Many commands at once.
    Flood,
    /// Mostly no commands at all.
    Nonsense,
    /// A command that is not `connect`, or nothing.
    Unconnected,
}

impl Rogue {
    pub fn new(user: String) -> Rogue {
        Rogue { user, socket: None, next_id: 0, habit: Habit::Erratic, until: Moment::ZERO }
    }

    pub fn connected_to(&mut self, socket: Shared, now: Moment, epoch: u32, rng: &mut Rng) {
        let habits = [Habit::Erratic, Habit::Deaf, Habit::Flood, Habit::Nonsense, Habit::Unconnected];
        self.habit = habits[rng.usize(..habits.len())];
        self.until = now + Duration::from_millis(rng.u64(0..30_000));
        socket.borrow_mut().upward.push_back((now, Upward::Upgrade));
        self.socket = Some(socket);
        if self.habit != Habit::Unconnected {
            let token = if chance(rng, 10) { "nobody".into() } else { format!("user-{}", self.user) };
            let mut recover = Vec::new();
            for channel in 0..rng.u8(..4) {
                recover.push((channel, Epoch(epoch - u32::from(chance(rng, 20))), rng.u64(..60)));
            }
            let id = self.id();
            self.send(Order::connect(id, &token, recover), now);
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn send(&self, order: Order, now: Moment) {
        if let Some(socket) = &self.socket {
            socket.borrow_mut().upward.push_back((now, Upward::Text(order)));
        }
    }

    pub fn act(&mut self, now: Moment, epoch: u32, rng: &mut Rng) {
        let Some(socket) = &self.socket else { return };
        let ended = {
            let mut socket = socket.borrow_mut();
            if self.habit != Habit::Deaf {
                socket.read(20_000);
            }
            socket.server_gone || self.until <= now
        };
        if ended {
            return self.leave();
        }
        let many = match self.habit {
            Habit::Erratic | Habit::Deaf => usize::from(chance(rng, 30)),
            Habit::Flood => {
                if chance(rng, 20) {
                    12
                } else {
                    0
                }
            }
            Habit::Nonsense => usize::from(chance(rng, 20)),
            Habit::Unconnected => usize::from(chance(rng, 2)),
        };
        for _ in 0..many {
            let order = self.order(epoch, rng);
            self.send(order, now);
        }
    }

    /// It leaves without a close frame.
    pub fn leave(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.borrow_mut().client_gone = true;
        }
    }

    fn order(&mut self, epoch: u32, rng: &mut Rng) -> Order {
        let id = self.id();
        if self.habit == Habit::Nonsense && chance(rng, 70) {
            return Order::nonsense(chance(rng, 30).then_some(id));
        }
        let channel = if chance(rng, 80) { rng.u8(..4) } else { rng.u8(..12) };
        let publishes = self.habit == Habit::Flood && chance(rng, 90);
        match if publishes { 0 } else { rng.u8(..16) } {
            0..6 => Order::publish(id, &self.content(channel, rng)),
            6..9 => {
                let from = match rng.u8(..3) {
                    0 => Begin::Now,
                    1 => Begin::Last(rng.u64(1..40)),
                    _ => Begin::After(Epoch(epoch - u32::from(chance(rng, 10))), rng.u64(..80)),
                };
                Order::subscribe(id, channel, from)
            }
            9..11 => Order::unsubscribe(id, channel),
            11..14 => {
                let after = chance(rng, 50).then(|| rng.u64(..80));
                Order::history(id, channel, after, rng.u64(1..400))
            }
            14 => Order::signal(channel),
            _ if chance(rng, 40) => Order::connect(id, &format!("user-{}", self.user), Vec::new()),
            _ if chance(rng, 50) => Order::refresh(id, &format!("user-u{}", rng.u8(..4))),
            _ => Order::nonsense(chance(rng, 50).then_some(id)),
        }
    }

    /// Few keys and few contents, so that repeats and conflicts are common.
    fn content(&self, channel: u8, rng: &mut Rng) -> Content {
        let key = chance(rng, 60).then(|| format!("{}-{}", self.user, rng.u8(..40)));
        let change = match rng.u8(..10) {
            0 => Change::Edits(Offset(rng.u64(1..60))),
            1 => Change::Deletes(Offset(rng.u64(1..60))),
            _ => Change::None,
        };
        let data = match rng.u8(..20) {
            0 => format!("\"{}\"", "y".repeat(rng.usize(..9_000))),
            n => format!("{}", n % 3),
        };
        Content { channel, key, change, data }
    }
}
