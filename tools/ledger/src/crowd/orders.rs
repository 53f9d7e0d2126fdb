//! Orders from the director of a scenario to the crowd, and the numbers the director can read meanwhile.

use super::visit::Census;
use crate::clock::Micros;
use crossbeam_channel::Sender;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An order to the crowd.
#[derive(Clone, Debug)]
pub enum Order {
    /// A process now runs at this place.
    Life { slot: u8, life: u16, address: SocketAddr },
    /// Adds this place to the rotation or removes it, as a load balancer does by `ready`.
    Rotation { slot: u8, open: bool },
    /// These clients connect, spread over a time.
    Connect {
        /// The first client.
        from: u32,
        /// One past the last client.
        to: u32,
        /// The time to spread them over.
        over: Micros,
    },
    /// All clients close, and stay away until [`Order::Connect`].
    Leave,
    /// Publishes per second, over all clients.
    Rate(f64),
    /// All connections, or all to one place, are lost at once.
    Storm(Option<u8>),
    /// The visitors begin to come and go, or stay where they are.
    Visits(Visits),
    /// The crowd counts the users that are present now.
    Census(Sender<Census>),
    /// Writes a remark to the journal.
    Remark(String),
    /// All clients leave, and the ledger is returned.
    Finish,
}

/// The beginning or the end of visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visits {
    Begin,
    End,
}

/// Counters that the director reads while a crowd is running.
#[derive(Debug, Default)]
pub struct Seen {
    /// Clients that are connected and subscribed and have everything they know of.
    pub settled: AtomicU64,
    /// Clients that the scenario wants connected.
    pub wanted: AtomicU64,
    /// Clients that are away, or lack something known to be stored.
    pub lacking: AtomicU64,
    /// Publications that were sent and have no final answer.
    pub unresolved: AtomicU64,
    pub stored: AtomicU64,
    /// Publishes that were due while no client was free to send them.
    pub skipped: AtomicU64,
    /// Open connections.
    pub links: AtomicU64,
    /// Turns of the crowd's loop. Two more mean that every earlier order has been read.
    pub turns: AtomicU64,
    /// True once the thread has ended.
    pub over: AtomicBool,
}

impl Seen {
    /// Reads one counter.
    pub fn read(number: &AtomicU64) -> u64 {
        number.load(Ordering::Acquire)
    }

    /// Writes one counter.
    pub fn write(number: &AtomicU64, value: u64) {
        number.store(value, Ordering::Release);
    }
}
