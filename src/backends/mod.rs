//! The threads that send publications to backends.
//!
//! `relay` decides which channel is next; `relay-send` threads make one request at a time and read its response. They share nothing
//! with the reactors: their work for the store goes through a queue of its own, and what a backend appends through that of the streams.
//! A backend that takes its time holds a thread and nothing else.

mod attempt;
mod call;
mod cancelled;
mod clock;
mod orders;
mod reading;
mod readings;
mod routes;
mod sender;
mod shared;
#[cfg(test)]
mod support;

pub use self::shared::{BackendEvidence, RelayParts};

use self::clock::{ClockOrder, RelayClock};
use self::shared::RelayShared;
use crate::clock::Now;
use crossbeam_channel::{Sender, bounded};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Orders that may wait for the thread `relay`.
const ORDERS: usize = 4;
/// The running relay.
#[derive(Debug)]
pub struct RunningRelay {
    orders: Sender<ClockOrder>,
    thread: JoinHandle<()>,
    shared: Arc<RelayShared>,
}

/// The way to notify the relay of a reload.
#[derive(Clone, Debug)]
pub struct RelayControl {
    orders: Sender<ClockOrder>,
}

/// Starts the threads. They run also without a route, because a reload may add one; until then `relay` only waits.
pub fn start(parts: RelayParts, clock: impl Fn() -> Now + Send + Sync + 'static) -> io::Result<RunningRelay> {
    let (orders, received) = bounded(ORDERS);
    let (shared, notices) = RelayShared::new(parts, Arc::new(clock));
    let relay = RelayClock::new(Arc::clone(&shared), notices, received);
    let thread = Builder::new().name("relay".into()).spawn(move || relay.run())?;
    Ok(RunningRelay { orders, thread, shared })
}

impl RunningRelay {
    pub fn control(&self) -> RelayControl {
        RelayControl { orders: self.orders.clone() }
    }

    /// Ends requests and responses in progress, releases the claims, and waits for it, but not for ever.
    pub fn stop(self) {
        // Without the thread the send fails, and the join says why it has ended.
        let _ = self.orders.send(ClockOrder::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the relay panicked");
            // The store ends only without ways to it.
            self.shared.links.store(None);
        }
    }
}

impl RelayControl {
    /// The routes were replaced.
    pub fn renew(&self) {
        // The relay is gone when the process ends.
        let _ = self.orders.try_send(ClockOrder::Renew);
    }
}
