//! The bus, if one is configured, before its threads start.

use super::config::Config;
use super::watch::{self, PreparedWatch};
use crate::bus::{self, BusSettings, RunningBus};
use crate::id::InstanceName;
use crate::job::bus::{BusInbox, bus};
use crate::job::{Mailbox, Read};
use crate::metrics::bus::BusCounters;
use crate::store::postgres::BusMember;
use crate::wire::envelope::Origin;
use crossbeam_channel::Sender;
use std::io;
use std::sync::Arc;

pub(super) struct PreparedBus {
    /// This instance as a member of the bus, for the store and the reactors.
    pub(super) member: BusMember,
    config: BusSettings,
    inbox: BusInbox,
}

impl PreparedBus {
    /// Prepares the bus at `bus.url`, without connecting to it.
    pub(super) fn new(
        config: &Config,
        watched: &PreparedWatch,
        instance: &InstanceName,
    ) -> Result<Option<PreparedBus>, String> {
        let dependency = config.dependencies.iter().find(|each| *each.definition.name == *watch::BUS);
        let target = dependency.and_then(|each| each.parsed.clone()).filter(|_| config.bus.url.is_some());
        let Some(target) = target else { return Ok(None) };
        let target = target.with_source(config.server.source_address);
        let (bus, inbox) = bus().map_err(|error| format!("cannot set up the bus: {error}"))?;
        let random = getrandom::u64().map_err(|_| "cannot set up the bus: no random number".to_owned())?;
        let origin = Origin(random);
        let counters = BusCounters { dropped: Arc::clone(&inbox.dropped), ..BusCounters::default() };
        let config = BusSettings {
            target,
            prefix: Arc::from(config.bus.prefix()),
            origin,
            evidence: watched.reporter(watch::BUS),
            monitor: Arc::clone(&watched.shared().monitor),
            counters: Arc::new(counters),
        };
        let member = BusMember { bus, origin, instance: Arc::clone(&instance.0) };
        Ok(Some(PreparedBus { member, config, inbox }))
    }

    pub(super) fn counters(&self) -> &Arc<BusCounters> {
        &self.config.counters
    }

    /// Starts the threads; `reads` is the queue of the store's readers.
    pub(super) fn start(self, mailboxes: Arc<[Mailbox]>, reads: Sender<Read>) -> io::Result<RunningBus> {
        bus::start(self.config, self.inbox, mailboxes, reads)
    }
}
