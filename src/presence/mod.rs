//! The thread that owns the rosters of all channels ([`crate::roster`]).
//!
//! It waits for its queues and for its deadlines, so without clients that use presence it costs nothing. It needs neither the store nor
//! the bus, and no thread waits for it longer than a second.
//!
//! With a bus, rosters are shared with the other instances: `presence-listen` hears of their changes, and the registry writes and reads
//! the hashes of rosters.

mod links;
mod listen;
mod pages;
mod parts;
mod side;
mod thread;
mod topic;

pub use parts::{PresenceParts, PresenceRules, SharingParts};

use crate::clock::Now;
use arc_swap::ArcSwap;
use std::io;
use std::sync::Arc;
use std::thread::Builder;
use thread::PresenceThread;

/// The running thread, which ends with the process.
#[derive(Clone, Debug)]
pub struct RunningPresence {
    rules: Arc<ArcSwap<PresenceRules>>,
}

impl RunningPresence {
    /// Changes the rules, from the thread's next work on.
    pub fn revise(&self, rules: PresenceRules) {
        self.rules.store(Arc::new(rules));
    }
}

impl<C: Fn() -> Now + Clone + Send + Sync + 'static> PresenceParts<C> {
    /// Starts the thread, and the one that listens for it, which has the same clock.
    pub fn start(self) -> io::Result<RunningPresence> {
        let rules = Arc::new(ArcSwap::from_pointee(self.rules));
        let shared = Arc::clone(&rules);
        let thread = PresenceThread::new(self, shared)?;
        Builder::new().name("presence".into()).spawn(move || thread.run())?;
        Ok(RunningPresence { rules })
    }
}
