//! SIGHUP: the sources are read again, and what a running process can change is changed.
//!
//! First everything is read, checked and built, which may fail: then every fault is in the log and nothing has changed.
//! Only then is it handed out, to each thread in the way it takes such things: the reactors find a new [`Setup`] with their
//! next turn, the watch and the auth worker get a message. A thread that hangs may end that in between; then nobody knows
//! what holds, which is said, and the next reload compares with nothing and hands everything out. A process that is leaving
//! takes no reload: what it is about to do must not be undone.
//!
//! [`Setup`]: crate::reactor::Setup

use super::capacity::Capacity;
use super::config::Config;
use super::config::renewal::{Change, Renewal, renew};
use super::config::source::Sources;
use super::systemd::Notifier;
use super::{auth, tls, watch};
use crate::health::board::DependencyId;
use crate::health::finding::Evidence;
use crate::id::InstanceName;
use crate::job::{Mailbox, Witness};
use crate::log;
use crate::metrics::reload::Outcome;
use crate::reactor::Setups;
use crate::session::Policy;
use crate::worker::auth::service::AUTH;
use crate::worker::auth::{Renewal as AuthRenewal, Trust};
use crate::worker::bus::Monitor;
use crate::worker::watch::{Reviser, Revision, Unrevised};
use crossbeam_channel::Sender;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for a thread that is handed its part.
const HAND_OUT_TIMEOUT: Duration = Duration::from_secs(1);

/// The signal that asks for a reload. Registered before anything slow: unregistered it ends a process.
pub(super) fn signals() -> Result<Signals, String> {
    Signals::new([signal_hook::consts::SIGHUP]).map_err(|error| format!("cannot await SIGHUP: {error}"))
}

/// What a reload reads, and whom it reaches.
pub(super) struct Reloader {
    /// Read again each time.
    pub(super) sources: Sources,
    /// What holds now, as far as that is known.
    pub(super) config: Config,
    /// How far.
    pub(super) known: Known,
    /// The reactors.
    pub(super) setups: Setups,
    /// Rung when there is something new.
    pub(super) mailboxes: Arc<[Mailbox]>,
    /// The watch.
    pub(super) reviser: Reviser,
    /// Where a new witness tells.
    pub(super) told: Sender<(DependencyId, Evidence)>,
    /// What is known of the bus's delivery.
    pub(super) monitor: Arc<Monitor>,
    /// The auth worker.
    pub(super) renewals: Sender<AuthRenewal>,
    /// This process.
    pub(super) instance: InstanceName,
    /// Who started it is told of a reload as well.
    pub(super) notifier: Notifier,
}

/// Whether every thread holds its part of [`Reloader::config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Each does.
    Whole,
    /// A reload reached some of them, or none, and that one may yet take its part.
    InPart,
}

/// A reload that was not handed out to all.
enum Halt {
    /// Nobody took anything.
    Before(String),
    /// Somebody took his part, or may yet take it.
    Within(&'static str),
}

/// What is built of a configuration before anything is handed out.
struct Built {
    capacity: Capacity,
    revision: Revision,
    trust: Option<Trust>,
    policy: Policy,
    secured: Option<Arc<rustls::ServerConfig>>,
}

impl Reloader {
    /// Starts the thread `reload`.
    pub(super) fn start(mut self, mut signals: Signals) -> io::Result<()> {
        let body = move || {
            for _ in signals.forever() {
                self.notifier.reloading();
                let outcome = self.reload();
                if (outcome, self.known) == (Outcome::Refused, Known::InPart) {
                    tracing::warn!(
                        "what an incomplete reload left holds still; the next that is good mends it"
                    );
                }
                let setup = self.setups.load();
                setup.engine.metrics.reloads.ended(outcome, setup.clock.read().unix_ms);
                self.notifier.ready();
            }
        };
        std::thread::Builder::new().name("reload".into()).spawn(body).map(|_| ())
    }

    fn reload(&mut self) -> Outcome {
        if self.setups.load().engine.vitals.stopping() {
            tracing::warn!("no reload: the process is leaving");
            return Outcome::Refused;
        }
        let Renewal { config, taken, waiting } = match renew(&self.sources, &self.config) {
            Ok(renewal) => renewal,
            Err(error) => {
                for problem in &error.problems {
                    tracing::error!(%problem, "no reload: the configuration is wrong");
                }
                return Outcome::Refused;
            }
        };
        for Change { key, from, to } in &waiting {
            tracing::warn!(key, holds = from, wanted = to, "changed, and needs a restart");
        }
        if taken.is_empty() && self.known == Known::Whole {
            tracing::info!(needs_restart = waiting.len(), "reloaded: nothing else has changed");
            return Outcome::Unchanged;
        }
        let built = self.build(&config).map_err(Halt::Before);
        if let Err(halt) = built.and_then(|built| self.hand_out(&config, built)) {
            return self.halted(halt);
        }
        if self.known == Known::InPart {
            tracing::info!("everything was handed out anew, since the reload before was incomplete");
        }
        // What is said of this reload is said at the more talkative of both levels.
        let quieter = config.log.level < self.config.log.level;
        if !quieter {
            log::set_level(config.log.level);
        }
        for Change { key, from, to } in &taken {
            tracing::info!(key, change = %format_args!("{from} -> {to}"), "changed");
        }
        if let Some(identity) = &config.tls.identity
            && taken.iter().any(|change| change.key.starts_with("tls."))
        {
            let setup = self.setups.load();
            tls::announce(identity, &setup.engine.metrics, setup.clock.read().unix_ms / 1_000);
        }
        tracing::info!(changed = taken.len(), needs_restart = waiting.len(), "reloaded");
        log::set_level(config.log.level);
        self.config = config;
        self.known = Known::Whole;
        Outcome::Applied
    }

    fn halted(&mut self, halt: Halt) -> Outcome {
        match halt {
            Halt::Before(fault) => {
                tracing::error!(fault, "no reload");
                Outcome::Refused
            }
            Halt::Within(fault) => {
                self.known = Known::InPart;
                tracing::error!(
                    fault,
                    "the reload is incomplete: of what changed some may hold and some not; send SIGHUP again, which hands \
                     everything out anew"
                );
                Outcome::Incomplete
            }
        }
    }

    /// What to compare with: what is known to hold as a whole.
    fn before(&self) -> Option<&Config> {
        match self.known {
            Known::Whole => Some(&self.config),
            Known::InPart => None,
        }
    }

    /// All that may fail for an operator's reason. Nothing is changed by it.
    fn build(&self, config: &Config) -> Result<Built, String> {
        let setup = self.setups.load();
        let trust = match auth::differs(self.before(), config) {
            true => auth::trust(config, &setup.engine.outlook, None)?,
            false => None,
        };
        Ok(Built {
            capacity: Capacity::settle(&config.limits, setup.engine.reactors)?,
            revision: watch::revision((self.before(), config), &self.instance.0, &self.monitor)?,
            trust,
            policy: Policy::new(&config.limits, setup.engine.policy.auth, self.instance.clone()),
            secured: tls::secured(config.tls.identity.as_ref(), setup.tls.as_ref())?,
        })
    }

    fn hand_out(&self, config: &Config, built: Built) -> Result<(), Halt> {
        let Built { capacity, revision, trust, policy, secured } = built;
        let watched = self.reviser.revise(revision).map_err(|unrevised| match unrevised {
            Unrevised::Refused => {
                Halt::Before("the watch thread takes nothing, or has no thread for a probe".into())
            }
            Unrevised::Unanswered => Halt::Within("the watch thread does not answer"),
        })?;
        let mut renewals = Vec::new();
        if let Some(mut trust) = trust {
            if let Some(service) = &mut trust.service {
                let id = watched.iter().find(|(name, _)| **name == *AUTH).map(|(_, id)| *id);
                service.witness = id.map(|id| Witness::new(id, self.told.clone()));
            }
            renewals.push(AuthRenewal::Trust(Box::new(trust), auth::answers(self.before(), config)));
        }
        let (per_user, per_address, rate) = auth::bounds(config);
        renewals.push(AuthRenewal::Bounds(per_user, per_address, rate));
        for renewal in renewals {
            let sent = self.renewals.send_timeout(renewal, HAND_OUT_TIMEOUT);
            sent.map_err(|_| Halt::Within("the auth worker takes nothing"))?;
        }
        let setup = self.setups.load();
        setup.engine.vitals.bound(capacity.connections, capacity.memory_bytes);
        setup.engine.vitals.drain.revise(config.drain);
        let shared = (&setup.engine.vitals, &setup.engine.metrics);
        let (reactors, clock) = (setup.engine.reactors, setup.clock);
        let renewed = super::setup(config, reactors, clock, policy, &setup.engine.outlook, shared);
        self.setups.publish(renewed.with_tls(secured));
        for mailbox in self.mailboxes.iter() {
            if let Err(error) = mailbox.ring() {
                tracing::warn!(%error, "cannot wake a reactor; it sees the change with its next turn");
            }
        }
        Ok(())
    }
}
