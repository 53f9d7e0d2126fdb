//! The bus, if one is configured, before its threads start.

use super::config::Config;
use super::watch::{self, PreparedWatch};
use crate::bus::{self, BusSettings, RunningBus, StoreQueues};
use crate::follow::slot_map::SlotMap;
use crate::job::bus::{Bus, BusInbox, SharedKey, SharedSlots, bus};
use crate::job::orders::OrderBoard;
use crate::job::{Mailbox, Queues};
use crate::metrics::bus::BusCounters;
use crate::registry::RegistryRedis;
use crate::wire::envelope::Origin;
use arc_swap::ArcSwap;
use std::io;
use std::sync::Arc;

pub(super) struct PreparedBus {
    /// For the store and the reactors.
    pub(super) bus: Bus,
    config: BusSettings,
    inbox: BusInbox,
}

impl PreparedBus {
    /// Prepares the bus at `bus.url`, without connecting to it.
    pub(super) fn new(
        config: &Config,
        watched: &PreparedWatch,
        origin: Origin,
    ) -> Result<Option<PreparedBus>, String> {
        let dependency = config.dependencies.iter().find(|each| *each.definition.name == *watch::BUS);
        let target = dependency.and_then(|each| each.parsed.clone()).filter(|_| config.bus.url.is_some());
        let Some(target) = target else { return Ok(None) };
        let target = target.with_source(config.server.source_address);
        let (bus, inbox) = bus().map_err(|error| format!("cannot set up the bus: {error}"))?;
        let counters = BusCounters { dropped: Arc::clone(&inbox.dropped), ..BusCounters::default() };
        let config = BusSettings {
            target,
            prefix: Arc::from(config.bus.prefix()),
            origin,
            evidence: watched.reporter(watch::BUS),
            monitor: Arc::clone(&watched.shared().monitor),
            counters: Arc::new(counters),
            slots: Arc::new(ArcSwap::from_pointee(SlotMap::empty())),
        };
        Ok(Some(PreparedBus { bus, config, inbox }))
    }

    pub(super) fn counters(&self) -> &Arc<BusCounters> {
        &self.config.counters
    }

    /// The Redis, for the registry.
    pub(super) fn redis(&self) -> RegistryRedis {
        RegistryRedis {
            target: self.config.target.clone(),
            prefix: Arc::clone(&self.config.prefix),
            users: false,
        }
    }

    /// The key of its messages, once the store has given it.
    pub(super) fn key(&self) -> SharedKey {
        Arc::clone(&self.inbox.key)
    }

    /// The masters of a cluster, once it runs.
    pub(super) fn slots(&self) -> SharedSlots {
        Arc::clone(&self.config.slots)
    }

    /// Starts the threads; `queues` lead to the store.
    pub(super) fn start(
        self,
        mailboxes: Arc<[Mailbox]>,
        queues: &Queues,
        orders: Arc<OrderBoard>,
    ) -> io::Result<RunningBus> {
        let store = StoreQueues { reads: queues.read.clone(), streams: queues.streams.work.clone() };
        bus::start(self.config, self.inbox, mailboxes, store, orders)
    }
}
