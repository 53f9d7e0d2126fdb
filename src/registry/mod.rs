//! The registry: this instance's lease in Redis, and what is known of the others.
//!
//! One thread with its own connection to Redis, so that a full queue of publications delays no lease. It takes events, renews
//! the lease every second together with a reading of all leases, judges the other instances from leases and rows
//! ([`crate::cluster`]), and publishes what it knows. Without a bus the same thread runs with rows alone, and with the embedded
//! store as the only instance.
//!
//! | Redis key | field → value | written |
//! |---|---|---|
//! | `PREFIX:{460}:i` | `ORIGIN.COUNT` → [lease](crate::wire::lease) | every second ± 10 % |
//! | `PREFIX:{460}:s` | `ORIGIN.COUNT` → [stats](crate::wire::stats) | every five seconds, less often above 50 leases |
//! | `PREFIX:{TAG}:r:SLOT` | `ORIGIN.COUNT/USER` → [connections](crate::wire::user_fields) | when a user's connections changed |
//! | `PREFIX:{460}:g` | `ORIGIN.COUNT` → the number of its last flush of [segments](crate::job::segments) | with each flush |

mod answers;
mod key_reader;
mod leadership;
mod lease_store;
mod link;
mod load;
mod parts;
mod redis_side;
mod segment_side;
mod segment_store;
mod thread;
mod user_side;
mod waiting;

pub use parts::{RegistryParts, RegistryRedis};

use crate::clock::Now;
use crossbeam_channel::{Sender, bounded};
use std::convert::Infallible;
use std::io;
use std::thread::{Builder, JoinHandle};
use thread::RegistryWorker;

/// A registry whose thread runs.
#[derive(Debug)]
pub struct RunningRegistry {
    /// Its drop ends the thread.
    alive: Sender<Infallible>,
    thread: JoinHandle<()>,
}

/// Starts the thread.
pub fn start(parts: RegistryParts, clock: impl Fn() -> Now + Send + 'static) -> io::Result<RunningRegistry> {
    let (alive, over) = bounded(0);
    let worker = RegistryWorker::new(parts, clock);
    let thread = Builder::new().name("registry".into()).spawn(move || worker.run(&over))?;
    Ok(RunningRegistry { alive, thread })
}

impl RunningRegistry {
    /// Says goodbye to the other instances and ends the thread.
    pub fn stop(self) {
        drop(self.alive);
        if self.thread.join().is_err() {
            tracing::error!("registry panicked");
        }
    }
}
