//! The thread that owns the rosters of all channels ([`crate::roster`]).
//!
//! It waits for its queue and for its deadlines, so without clients that use presence it costs nothing. It needs neither the store nor
//! the bus, and no thread waits for it longer than a second.

mod parts;
mod thread;

pub use parts::PresenceParts;

use crate::clock::Now;
use crate::roster::RosterRules;
use arc_swap::ArcSwap;
use std::io;
use std::sync::Arc;
use std::thread::Builder;
use thread::PresenceThread;

/// The running thread, which ends with the process.
#[derive(Clone, Debug)]
pub struct RunningPresence {
    rules: Arc<ArcSwap<RosterRules>>,
}

impl RunningPresence {
    /// Changes the rules, from the thread's next work on.
    pub fn revise(&self, rules: RosterRules) {
        self.rules.store(Arc::new(rules));
    }
}

impl<C: Fn() -> Now + Send + 'static> PresenceParts<C> {
    /// Starts the thread.
    pub fn start(self) -> io::Result<RunningPresence> {
        let rules = Arc::new(ArcSwap::from_pointee(self.rules));
        let shared = Arc::clone(&rules);
        Builder::new().name("presence".into()).spawn(move || PresenceThread::new(self, shared).run())?;
        Ok(RunningPresence { rules })
    }
}
