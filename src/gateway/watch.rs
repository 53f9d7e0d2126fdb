//! Builds the watch from the configuration: a board, a probe for each dependency, and the published snapshot.

use super::auth::AuthLinks;
use super::config::Config;
use super::config::dependency::DependencyConfig;
use crate::clock::Now;
use crate::health::board::{Board, DependencyId};
use crate::health::definition::Gate;
use crate::health::finding::Evidence;
use crate::health::report::dependencies::{ReportAudience, all};
use crate::introspect::service::AUTH;
use crate::job::delivery::Monitor;
use crate::job::issuer_keys::IssuerKeys;
use crate::job::known_token::KnownToken;
use crate::job::probing::Probing;
use crate::job::{EvidenceSender, Outlook};
use crate::limits::EVIDENCE_QUEUE;
use crate::metrics::watch::WatchCounters;
use crate::net::target::{Expect, Target};
use crate::probe::Probe;
use crate::probe::doctor::{Patient, look_at_all};
use crate::probe::table::DiagnosisRow;
use crate::store::postgres::{StoreProbe, Unmigrated};
use crate::watch::{self, OwnSources, Revised, Revision};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io;
use std::sync::Arc;

/// The store's name among the dependencies.
pub(super) const STORE: &str = "store";
/// The bus's name among the dependencies.
pub(super) const BUS: &str = "bus";

/// The watch before its threads start.
pub(super) struct PreparedWatch {
    board: Board,
    own: Board,
    probes: Vec<Box<dyn Probing>>,
    outlook: Arc<Outlook>,
    counters: Arc<WatchCounters>,
    evidence_in: Sender<(DependencyId, Evidence)>,
    evidence: Receiver<(DependencyId, Evidence)>,
    shared: ProbeShares,
}

/// The state that probes and workers share.
#[derive(Clone, Debug, Default)]
pub(super) struct ProbeShares {
    /// The state of the bus's delivery.
    pub(super) monitor: Arc<Monitor>,
    /// The last token that the auth service called active.
    pub(super) known_token: Arc<KnownToken>,
    /// The key set that the auth worker fetches.
    pub(super) issuer_keys: Arc<IssuerKeys>,
}

impl PreparedWatch {
    /// Prepares the watch of all configured dependencies, including the store and the bus. Opens no connection.
    pub(super) fn new(
        config: &Config,
        instance: &str,
        reactors: usize,
        now: Now,
    ) -> Result<PreparedWatch, String> {
        let definitions = config.dependencies.iter().map(|each| each.definition.clone()).collect();
        let board = Board::new(definitions, config.health.admission, now);
        let own = watch::own_board(now);
        let shared = ProbeShares::default();
        let probe = |each: &DependencyConfig| watching(config, each, instance, &shared);
        let probes = config.dependencies.iter().map(probe).collect::<Result<_, _>>()?;
        let outlook =
            Outlook::new(Arc::clone(board.snapshot()), all(&board, &own, now, ReportAudience::Public));
        let counters = Arc::new(WatchCounters::new(board.dependencies(), reactors, board.mode()));
        counters.record_snapshot(board.snapshot().level, board.snapshot().revision);
        let (evidence_in, evidence) = bounded(EVIDENCE_QUEUE);
        Ok(PreparedWatch {
            board,
            own,
            probes,
            outlook: Arc::new(outlook),
            counters,
            evidence_in,
            evidence,
            shared,
        })
    }

    pub(super) fn outlook(&self) -> &Arc<Outlook> {
        &self.outlook
    }

    pub(super) fn counters(&self) -> &Arc<WatchCounters> {
        &self.counters
    }

    /// The state that its probes share with workers.
    pub(super) fn shared(&self) -> &ProbeShares {
        &self.shared
    }

    /// Sends evidence about dependencies; a reload makes new reporters with it.
    pub(super) fn evidence(&self) -> Sender<(DependencyId, Evidence)> {
        self.evidence_in.clone()
    }

    /// Reports what workers observe of the dependency of this name; `None` if there is no such dependency.
    pub(super) fn reporter(&self, name: &str) -> Option<EvidenceSender> {
        self.board.id(name).map(|id| EvidenceSender::new(id, self.evidence_in.clone()))
    }

    /// The links between it and the threads of the auth service.
    pub(super) fn auth_links(&self) -> AuthLinks {
        AuthLinks {
            outlook: Arc::clone(&self.outlook),
            evidence: self.reporter(AUTH),
            known_token: Arc::clone(&self.shared.known_token),
            issuer_keys: Arc::clone(&self.shared.issuer_keys),
        }
    }

    /// Starts the threads.
    pub(super) fn start(
        self,
        clock: impl Fn() -> Now + Send + 'static,
        sources: OwnSources,
    ) -> io::Result<watch::RunningWatch> {
        let PreparedWatch { board, own, probes, outlook, counters: _, evidence_in: _, evidence, shared: _ } =
            self;
        watch::WatchSetup { board, probes, own, sources, evidence, clock, outlook }.start()
    }
}

/// The change of the watch from `old` to `new`. A probe whose target is unchanged continues; if `old` is unknown, every probe
/// is replaced.
pub(super) fn revision(
    old: Option<&Config>,
    new: &Config,
    instance: &str,
    shared: &ProbeShares,
) -> Result<Revision, String> {
    let place = |of: &DependencyConfig| {
        (of.definition.kind, of.definition.gate, of.target.clone(), of.expected.clone())
    };
    let revised = |each: &DependencyConfig| {
        let is_there = old.is_some_and(|old| {
            let before = old.dependencies.iter().find(|it| it.definition.name == each.definition.name);
            let target_differs =
                each.definition.gate == Gate::Judgement && super::auth::target_differs(old, new);
            before.is_some_and(|it| place(it) == place(each)) && !target_differs
        });
        let probe = (!is_there).then(|| watching(new, each, instance, shared)).transpose()?;
        Ok(Revised { definition: each.definition.clone(), probe })
    };
    let dependencies = new.dependencies.iter().map(revised).collect::<Result<_, String>>()?;
    let before = old.map(|old| old.health.admission);
    let mode = (before != Some(new.health.admission)).then_some(new.health.admission);
    Ok(Revision { dependencies, mode })
}

fn watching(
    config: &Config,
    dependency: &DependencyConfig,
    instance: &str,
    shared: &ProbeShares,
) -> Result<Box<dyn Probing>, String> {
    match &*dependency.definition.name {
        STORE => store_probe(config, instance, Unmigrated::Fails),
        BUS => {
            let probe = probe(config, dependency, instance)?;
            Ok(Box::new(probe.with_delivery(Arc::clone(&shared.monitor))))
        }
        _ => {
            let probe = probe(config, dependency, instance)?;
            Ok(Box::new(match dependency.definition.gate {
                Gate::Judgement => probe.with_known_token(Arc::clone(&shared.known_token)),
                Gate::Handshake => probe,
            }))
        }
    }
}

/// Probes every dependency once.
pub(super) fn doctor(config: &Config, instance: &str) -> Result<Vec<DiagnosisRow>, String> {
    let patient = |each: &DependencyConfig| {
        let definition = &each.definition;
        let (probe, address): (Box<dyn Probing>, String) = match &*definition.name {
            STORE => {
                let address = each.parsed.as_ref().map(Target::address).unwrap_or_default();
                (store_probe(config, instance, Unmigrated::Warns)?, address)
            }
            _ => {
                let probe = probe(config, each, instance)?;
                let address = probe.target().address();
                (Box::new(probe), address)
            }
        };
        Ok(Patient {
            name: definition.name.to_string(),
            kind: definition.kind,
            address,
            criticality: definition.criticality,
            probe,
            timeout: definition.timeout,
        })
    };
    let patients = config.dependencies.iter().map(patient).collect::<Result<_, String>>()?;
    Ok(look_at_all(patients))
}

fn probe(config: &Config, dependency: &DependencyConfig, instance: &str) -> Result<Probe, String> {
    let definition = &dependency.definition;
    if definition.gate == Gate::Judgement {
        let target = super::auth::target(config)?.with_source(config.server.source_address);
        return Ok(Probe::new(target, instance));
    }
    let Some(target) = dependency.parsed.clone() else {
        return Err(format!("dependency {} has no address", definition.name));
    };
    let expected = &dependency.expected;
    let target = if expected.status.is_some() || expected.field.is_some() {
        target.with_expect(Expect { status: expected.status, field: expected.field.clone() })
    } else {
        Ok(target)
    };
    let target =
        target.map_err(|fault| format!("dependency {} ({}): {fault}", definition.name, dependency.origin))?;
    let probe = Probe::new(target.with_source(config.server.source_address), instance);
    Ok(match &*definition.name {
        BUS => probe.with_bus(config.bus.prefix()),
        _ => probe,
    })
}

/// The probe of the store in PostgreSQL.
fn store_probe(config: &Config, instance: &str, unmigrated: Unmigrated) -> Result<Box<dyn Probing>, String> {
    let Some(url) = config.store.postgres() else { return Err("store.url is not set".into()) };
    StoreProbe::new(url.whole(), config.server.source_address, instance, unmigrated)
        .map(|probe| Box::new(probe) as Box<dyn Probing>)
        .map_err(|error| format!("store.url: {error}"))
}
