//! Settings that all reactors share. They may be replaced while reactors run: each reactor compares one pointer a turn.

use super::Reactor;
use super::clock::Clock;
use super::listener::Port;
use crate::engine;
use arc_swap::{ArcSwap, Cache};
use std::sync::Arc;

/// The engine's settings, and those of the shell.
pub struct ShellSetup {
    pub engine: Arc<engine::Setup>,
    /// `server.takeover`
    pub port: Port,
    pub clock: Clock,
    /// The TLS of new connections; `None` if they are plain.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// The current setup of all reactors.
#[derive(Clone)]
pub struct Setups(Arc<ArcSwap<ShellSetup>>);

pub(super) type SetupReader = Cache<Arc<ArcSwap<ShellSetup>>, Arc<ShellSetup>>;

impl Setups {
    pub fn new(setup: ShellSetup) -> Setups {
        Setups(Arc::new(ArcSwap::from_pointee(setup)))
    }

    pub fn load(&self) -> Arc<ShellSetup> {
        self.0.load_full()
    }

    /// Replaces the setup. Wake the reactors afterwards. The number of reactors, the clock, vitals, outlook and metrics are
    /// fixed at the start and must be the same.
    pub fn publish(&self, setup: ShellSetup) {
        self.0.store(Arc::new(setup));
    }

    pub(super) fn reader(&self) -> SetupReader {
        Cache::new(Arc::clone(&self.0))
    }
}

impl ShellSetup {
    /// Changes the TLS of new connections.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<rustls::ServerConfig>>) -> ShellSetup {
        ShellSetup { tls, ..self }
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
