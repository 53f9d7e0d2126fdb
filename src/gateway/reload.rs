//! SIGHUP: reads the sources again and applies what a running process can change.
//!
//! First, everything is read, checked and built. If that fails, every fault is logged and nothing has changed. Then the new
//! configuration is handed to each thread: the reactors find a new [`ShellSetup`] in their next turn, the watch and the auth worker
//! get a message. A thread that hangs may interrupt this. Then the log says that the reload is incomplete, and because the
//! state of the threads is unknown, the next reload hands out everything. A draining process rejects reloads, because they could
//! undo its drain.
//!
//! [`ShellSetup`]: crate::reactor::ShellSetup

use super::auth::AuthLinks;
use super::capacity::ProcessBounds;
use super::config::Config;
use super::config::reload::{Reload, SettingChange, reread};
use super::config::show::settings;
use super::config::sources::ConfigSources;
use super::setup::{Fixed, setup as new_setup};
use super::systemd::Notifier;
use super::threads::ReloadLinks;
use super::{alerts, api, auth, presence, tls, watch};
use crate::api::ApiPolicy;
use crate::auth::trust::TrustEdition;
use crate::flag::Flags;
use crate::health::board::DependencyId;
use crate::health::finding::Evidence;
use crate::id::InstanceName;
use crate::introspect::service::AUTH;
use crate::introspect::{AuthRenewal, EarlierAnswers, TokenTrust};
use crate::job::wake::wake;
use crate::job::{EvidenceSender, Mailbox};
use crate::log;
use crate::metrics::reload::ReloadOutcome;
use crate::reactor::Setups;
use crate::session::Policy;
use crate::watch::{Reviser, Revision, Unrevised};
use crossbeam_channel::Sender;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for a thread to take its part of the configuration.
const HAND_OUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Registers SIGHUP. This comes before anything slow, because an unregistered SIGHUP ends the process.
pub(super) fn signals() -> Result<Signals, String> {
    Signals::new([signal_hook::consts::SIGHUP]).map_err(|error| format!("cannot register SIGHUP: {error}"))
}

/// The sources of the configuration, and the threads that take it.
pub(super) struct Reloader {
    pub(super) sources: ConfigSources,
    /// The current configuration. Threads may differ from it unless `handover` is complete.
    pub(super) config: Config,
    pub(super) handover: Handover,
    /// Read by the reactors.
    pub(super) setups: Setups,
    pub(super) mailboxes: Arc<[Mailbox]>,
    /// Changes the watch.
    pub(super) reviser: Reviser,
    /// For the reporter of a new auth service.
    pub(super) evidence: Sender<(DependencyId, Evidence)>,
    /// The state that probes share with workers.
    pub(super) shared: watch::ProbeShares,
    pub(super) threads: ReloadLinks,
    pub(super) instance: InstanceName,
    /// Reports reloads to the supervisor.
    pub(super) notifier: Notifier,
}

/// The flags of a configuration.
pub(super) fn flags(config: &Config) -> Flags {
    Flags::new(config.flags.iter().map(|each| each.flag.clone()).collect())
}

/// How far the current configuration has reached the threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handover {
    /// Every thread has its part.
    Complete,
    /// Some threads have their part of a later configuration, or may still take it.
    Incomplete,
}

/// The reason that a configuration was not handed out.
enum Halt {
    /// No thread took its part.
    Before(String),
    /// A thread took its part, or may still take it.
    Within(&'static str),
}

/// Everything that is built from a configuration before it is handed out.
struct Built {
    bounds: ProcessBounds,
    revision: Revision,
    trust: Option<TokenTrust>,
    policy: Policy,
    secured: Option<Arc<rustls::ServerConfig>>,
    api: ApiPolicy,
}

impl Reloader {
    /// Starts the thread `reload`.
    pub(super) fn start(mut self, mut signals: Signals) -> io::Result<()> {
        let body = move || {
            for _ in signals.forever() {
                self.notifier.reloading();
                let outcome = self.reload();
                if (outcome, self.handover) == (ReloadOutcome::Refused, Handover::Incomplete) {
                    tracing::warn!(
                        hint = "the next successful reload completes it",
                        "earlier reload still incomplete"
                    );
                }
                let setup = self.setups.load();
                setup.engine.metrics.reloads.ended(outcome, setup.clock.read().unix_ms);
                self.notifier.ready();
            }
        };
        std::thread::Builder::new().name("reload".into()).spawn(body).map(|_| ())
    }

    fn reload(&mut self) -> ReloadOutcome {
        if self.setups.load().engine.vitals.stopping() {
            tracing::warn!(reason = "the process is draining", "reload rejected");
            return ReloadOutcome::Refused;
        }
        let Reload { config, taken, waiting } = match reread(&self.sources, &self.config) {
            Ok(reload) => reload,
            Err(error) => {
                for problem in &error.problems {
                    tracing::error!(%problem, "reload rejected; configuration unchanged");
                }
                return ReloadOutcome::Refused;
            }
        };
        for SettingChange { key, from, to } in &waiting {
            tracing::warn!(key, current = from, wanted = to, "setting change needs a restart");
        }
        if taken.is_empty() && self.handover == Handover::Complete {
            // A switch of an operator lasts until here.
            let setup = self.setups.load();
            setup.engine.vitals.flags.revise(&flags(&config));
            setup.engine.metrics.relay.resume();
            // Lines of the file may have moved.
            setup.engine.vitals.settings.publish(settings(&config));
            self.mailboxes.iter().for_each(wake);
            tracing::info!(needs_restart = waiting.len(), "reload found no changes");
            return ReloadOutcome::Unchanged;
        }
        let built = self.build(&config).map_err(Halt::Before);
        if let Err(halt) = built.and_then(|built| self.hand_out(&config, built)) {
            return self.halted(halt);
        }
        if self.handover == Handover::Incomplete {
            tracing::info!("earlier incomplete reload completed");
        }
        // This reload is logged at the more verbose of both levels.
        let quieter = config.log.level < self.config.log.level;
        if !quieter {
            log::set_level(config.log.level);
        }
        for SettingChange { key, from, to } in &taken {
            tracing::info!(key, change = %format_args!("{from} -> {to}"), "setting changed");
        }
        if taken.iter().any(|change| change.key.starts_with("tls.")) {
            let setup = self.setups.load();
            tls::announce(&config.tls, &setup.engine.metrics, setup.clock.read().unix_ms / 1_000);
        }
        for warning in &config.warnings {
            tracing::warn!(%warning, "setting accepted with a warning");
        }
        tracing::info!(changed = taken.len(), needs_restart = waiting.len(), "reloaded");
        log::set_level(config.log.level);
        self.config = config;
        self.handover = Handover::Complete;
        ReloadOutcome::Applied
    }

    fn halted(&mut self, halt: Halt) -> ReloadOutcome {
        match halt {
            Halt::Before(fault) => {
                tracing::error!(fault, "reload rejected; configuration unchanged");
                ReloadOutcome::Refused
            }
            Halt::Within(fault) => {
                self.handover = Handover::Incomplete;
                tracing::error!(
                    fault,
                    risk = "some changes may have applied and others not",
                    hint = "send SIGHUP again to apply everything",
                    "reload incomplete"
                );
                ReloadOutcome::Incomplete
            }
        }
    }

    /// The configuration to compare with; `None` if the threads may differ from it.
    fn before(&self) -> Option<&Config> {
        match self.handover {
            Handover::Complete => Some(&self.config),
            Handover::Incomplete => None,
        }
    }

    /// Builds everything that a configuration mistake can make fail, without changing anything.
    fn build(&self, config: &Config) -> Result<Built, String> {
        let setup = self.setups.load();
        let policy = &setup.engine.policy;
        let current = policy.trust.as_ref().map_or_else(TrustEdition::default, |rules| rules.edition);
        let (trust, edition) = match auth::differs(self.before(), config) {
            true => {
                let next = TrustEdition(current.0 + 1);
                let links = AuthLinks {
                    outlook: Arc::clone(&setup.engine.outlook),
                    evidence: None,
                    known_token: Arc::clone(&self.shared.known_token),
                    issuer_keys: Arc::clone(&self.shared.issuer_keys),
                };
                (auth::trust(config, links, next)?, next)
            }
            false => (None, current),
        };
        let secured = tls::secured(config.tls.identity.as_ref(), setup.tls.as_ref())?;
        Ok(Built {
            bounds: ProcessBounds::settle(&config.limits, setup.engine.reactors)?,
            revision: watch::revision(self.before(), config, &self.instance.0, &self.shared)?,
            trust,
            policy: auth::policy(config, policy.auth, self.instance.clone(), edition)
                .with_canary(policy.canary.clone()),
            api: api::policy(config, secured.as_ref(), &self.shared.issuer_keys)?,
            secured,
        })
    }

    fn hand_out(&self, config: &Config, built: Built) -> Result<(), Halt> {
        let Built { bounds, revision, trust, policy, secured, api } = built;
        let watched = self.reviser.revise(revision).map_err(|unrevised| match unrevised {
            Unrevised::Refused => {
                Halt::Before("the watch thread does not take it, or cannot start a thread for a probe".into())
            }
            Unrevised::Unanswered => Halt::Within("the watch thread does not answer"),
        })?;
        let mut renewals = Vec::new();
        if let Some(mut trust) = trust {
            if let Some(service) = &mut trust.service {
                let id = watched.iter().find(|(name, _)| **name == *AUTH).map(|(_, id)| *id);
                service.evidence = id.map(|id| EvidenceSender::new(id, self.evidence.clone()));
            }
            let answers = auth::answers(self.before(), config);
            match answers {
                EarlierAnswers::Keep => {}
                EarlierAnswers::Forget => self.shared.known_token.forget(),
            }
            renewals.push(AuthRenewal::Trust(Box::new(trust), answers));
        }
        let (per_user, per_address, rate) = auth::bounds(config);
        renewals.push(AuthRenewal::Bounds(per_user, per_address, rate));
        for renewal in renewals {
            let sent = self.threads.renewals.send_timeout(renewal, HAND_OUT_TIMEOUT);
            sent.map_err(|_| Halt::Within("the auth worker does not take it"))?;
        }
        if let Some(running) = &self.threads.api {
            running.revise(api);
        }
        self.threads.presence.revise(presence::rules(config));
        let plan = alerts::plan(config);
        if **self.threads.alerts.load() != plan {
            self.threads.alerts.store(Arc::new(plan));
        }
        let setup = self.setups.load();
        self.threads.relay.revise(config, &setup.engine.metrics.relay, &watched, &self.evidence);
        setup.engine.vitals.flags.revise(&flags(config));
        setup.engine.vitals.settings.publish(settings(config));
        setup.engine.vitals.bound(bounds.connections, bounds.memory_bytes);
        setup.engine.vitals.drain.revise(config.drain);
        setup.engine.vitals.rebalance.revise(config.cluster);
        let fixed = Fixed {
            reactors: setup.engine.reactors,
            clock: setup.clock,
            outlook: &setup.engine.outlook,
            vitals: &setup.engine.vitals,
            metrics: &setup.engine.metrics,
        };
        self.setups.publish(new_setup(config, &fixed, policy, secured));
        self.mailboxes.iter().for_each(wake);
        Ok(())
    }
}
