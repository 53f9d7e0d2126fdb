//! What the director of a scenario tells the crowd, and what it can see of it meanwhile.

use crate::clock::Micros;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Something to do, or to know.
#[derive(Clone, Debug)]
pub enum Order {
    /// From now on this process is at this place.
    Life {
        /// Which place.
        slot: u8,
        /// The number of the process.
        life: u16,
        /// Where it is reached.
        address: SocketAddr,
    },
    /// Whether new connections are led to this place, as a load balancer does by `ready`.
    Rotation {
        /// Which place.
        slot: u8,
        /// Whether they are.
        open: bool,
    },
    /// These clients come, spread over a time.
    Come {
        /// The first.
        from: u32,
        /// One after the last.
        to: u32,
        /// Over how long.
        over: Micros,
    },
    /// Everybody closes, and stays away until it is to come again.
    Leave,
    /// Publishes a second, all together.
    Rate(f64),
    /// All connections are lost at once: those to this place, or all.
    Storm(Option<u8>),
    /// Says something in the journal.
    Remark(String),
    /// Everybody leaves; the ledger is handed over.
    Finish,
}

/// What can be seen from outside while a crowd is at work.
#[derive(Debug, Default)]
pub struct Seen {
    /// Clients that are connected, subscribed and have all they know of.
    pub settled: AtomicU64,
    /// Clients that came so far, whether or not they are there now.
    pub known: AtomicU64,
    /// Clients that lack something that is known to be stored, or are away.
    pub lacking: AtomicU64,
    /// Publications that were sent and not resolved.
    pub unresolved: AtomicU64,
    /// Publications acknowledged.
    pub stored: AtomicU64,
    /// Publishes that were due and found nobody free to send them.
    pub skipped: AtomicU64,
    /// Connections that are open.
    pub links: AtomicU64,
    /// Turns of the crowd's loop: two more mean that it looked at every order before.
    pub turns: AtomicU64,
    /// The thread is over.
    pub over: AtomicBool,
}

impl Seen {
    /// One number.
    pub fn read(number: &AtomicU64) -> u64 {
        number.load(Ordering::Acquire)
    }

    /// Writes one.
    pub fn write(number: &AtomicU64, value: u64) {
        number.store(value, Ordering::Release);
    }
}
