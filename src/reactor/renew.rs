//! What all reactors share may be replaced while they run: each looks once a turn, which is one comparison of pointers.
//!
//! Connections that are there live under the new limits from their next frame, command or deadline on. A limit that is now
//! below what is in use takes nothing away: who has more keeps it, and gets no more until there is room. A deadline that
//! was set stays until it comes; then it is judged by the new limit.

use super::{Reactor, Setup};
use crate::wire::frames::FrameLimits;
use crate::wire::request::HeadLimits;
use arc_swap::{ArcSwap, Cache};
use std::sync::Arc;

/// The setup that holds, for all reactors.
#[derive(Clone)]
pub struct Setups(Arc<ArcSwap<Setup>>);

/// A reactor's own way to it.
pub(super) type SetupReader = Cache<Arc<ArcSwap<Setup>>, Arc<Setup>>;

impl Setups {
    /// Begins with this one.
    pub fn new(setup: Setup) -> Setups {
        Setups(Arc::new(ArcSwap::from_pointee(setup)))
    }

    /// The one that holds now.
    pub fn load(&self) -> Arc<Setup> {
        self.0.load_full()
    }

    /// Another one holds from here on. Ring the reactors after it. What only the start decides, their number, clock,
    /// vitals, outlook and metrics, must be the same.
    pub fn publish(&self, setup: Setup) {
        self.0.store(Arc::new(setup));
    }

    pub(super) fn reader(&self) -> SetupReader {
        Cache::new(Arc::clone(&self.0))
    }
}

impl Setup {
    /// With TLS, or without, for the connections that begin under it.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<rustls::ServerConfig>>) -> Setup {
        Setup { tls, ..self }
    }
}

impl Reactor {
    /// Takes the newest setup.
    pub(super) fn renew(&mut self) {
        let newest = self.setups.load();
        if Arc::ptr_eq(newest, &self.setup) {
            return;
        }
        self.setup = Arc::clone(newest);
        let limits = &self.setup.policy.limits;
        self.frame_limits = FrameLimits::from(limits);
        self.head_limits = HeadLimits::from(limits);
        self.hub.bound_tails(limits.tail_bytes_total as usize / self.setup.reactors.max(1));
    }
}
