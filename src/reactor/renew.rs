//! Settings that all reactors share. They may be replaced while reactors run: each looks once a turn, which is one comparison
//! of pointers.

use super::{Clock, Port, Reactor};
use crate::engine;
use arc_swap::{ArcSwap, Cache};
use std::sync::Arc;

/// The engine's settings, and those of the shell.
pub struct Setup {
    /// What decisions depend on.
    pub engine: Arc<engine::Setup>,
    /// `server.takeover`
    pub port: Port,
    /// The origin of time.
    pub clock: Clock,
    /// The TLS of connections that begin from now on; `None`: they are plain.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

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

    /// Replaces the setup. Wake the reactors after it. The number of reactors, the clock, vitals, outlook and metrics are fixed
    /// at the start and must be the same.
    pub fn publish(&self, setup: Setup) {
        self.0.store(Arc::new(setup));
    }

    pub(super) fn reader(&self) -> SetupReader {
        Cache::new(Arc::clone(&self.0))
    }
}

impl Setup {
    /// Changes the TLS of connections that begin under this setup.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<rustls::ServerConfig>>) -> Setup {
        Setup { tls, ..self }
    }
}

impl Reactor {
    /// Takes the newest setup.
    pub(super) fn renew(&mut self) {
        let newest = self.setups.load();
        if !Arc::ptr_eq(newest, &self.setup) {
            self.setup = Arc::clone(newest);
            self.engine.handle_setup(Arc::clone(&self.setup.engine));
        }
    }
}
