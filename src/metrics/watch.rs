//! Values of the dependencies and of the gateway itself. The watch worker writes them.

use super::duration::DurationHistogram;
use crate::health::breaker::{BreakerPosition, Forced};
use crate::health::capacity::Depth;
use crate::health::definition::{DependencyKind, Use};
use crate::health::dependency::{Dependency, State};
use crate::health::snapshot::{AdmissionMode, Level};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One entry for each dependency, the overall state, and the gateway itself.
#[derive(Debug, Default)]
pub struct WatchCounters {
    dependencies: ArcSwap<Vec<Arc<DependencyCells>>>,
    pub own: OwnCells,
    /// The revision of the snapshot.
    pub revision: AtomicU64,
    /// 0 `ok`, 1 `degraded`, 2 `down`.
    pub level: AtomicU64,
    /// 1 while admission is enforced.
    pub enforced: AtomicU64,
}

/// The values of one dependency.
#[derive(Debug)]
pub struct DependencyCells {
    pub name: Arc<str>,
    /// The kind of the dependency. It decides which breakers exist.
    kind: DependencyKind,
    pub probes: AtomicU64,
    /// Probes that found a fault.
    pub probe_failures: AtomicU64,
    pub changes: AtomicU64,
    /// The state, as an index into [`STATES`].
    pub state: AtomicU64,
    /// The breaker positions by use: 0 closed, 1 half open, 2 open.
    pub breakers: Vec<(Use, AtomicU64)>,
    /// 0 not forced, 1 forced closed, 2 forced open.
    pub forced: AtomicU64,
    pub probe_durations: DurationHistogram,
    /// The time of the last success in Unix milliseconds; 0 if never.
    pub last_success_unix_ms: AtomicU64,
}

/// The states, in the order that [`DependencyCells::state`] uses.
pub const STATES: [State; 4] = [State::Unknown, State::Ok, State::Degraded, State::Down];
/// The queues to the workers, in the order of [`OwnCells::queues`].
pub const QUEUES: [&str; 6] = ["append", "read", "auth", "bus_publications", "bus_signals", "presence"];

/// The gateway's own values at its last measurement.
#[derive(Debug, Default)]
pub struct OwnCells {
    /// 1 while a check fails.
    pub down: AtomicU64,
    /// 1 while a check warns.
    pub warns: AtomicU64,
    pub changes: AtomicU64,
    /// The jobs waiting in each queue, and its bound. A bound of 0 means that the queue does not exist.
    pub queues: [[AtomicU64; 2]; QUEUES.len()],
    /// The longest turn of each reactor in the last 10 s, in microseconds.
    pub turns_us: Vec<AtomicU64>,
    /// Batches waiting in each reactor's live lane.
    pub lanes: Vec<AtomicU64>,
}

impl WatchCounters {
    /// Creates the cells of these dependencies and of `reactors` reactors.
    pub fn new<'a>(
        dependencies: impl Iterator<Item = &'a Dependency>,
        reactors: usize,
        mode: AdmissionMode,
    ) -> WatchCounters {
        let zeros = || (0..reactors).map(|_| AtomicU64::default()).collect();
        let counters = WatchCounters {
            dependencies: ArcSwap::from_pointee(
                dependencies.map(DependencyCells::new).map(Arc::new).collect(),
            ),
            own: OwnCells { turns_us: zeros(), lanes: zeros(), ..OwnCells::default() },
            revision: AtomicU64::default(),
            level: AtomicU64::default(),
            enforced: AtomicU64::default(),
        };
        counters.admission(mode);
        counters
    }

    /// The dependencies, in the order of the configuration.
    pub fn dependencies(&self) -> Arc<Vec<Arc<DependencyCells>>> {
        self.dependencies.load_full()
    }

    pub fn of(&self, name: &str) -> Option<Arc<DependencyCells>> {
        self.dependencies.load().iter().find(|cells| *cells.name == *name).cloned()
    }

    /// Replaces the set of dependencies. Dependencies that stay keep their totals.
    pub fn revise<'a>(&self, dependencies: impl Iterator<Item = &'a Dependency>) {
        let cells = |dependency: &Dependency| {
            let kept = self
                .of(&dependency.definition().name)
                .filter(|cells| cells.kind == dependency.definition().kind);
            kept.unwrap_or_else(|| Arc::new(DependencyCells::new(dependency)))
        };
        self.dependencies.store(Arc::new(dependencies.map(cells).collect()));
    }

    /// Records the level and the revision of a new snapshot.
    pub fn record_snapshot(&self, level: Level, revision: u64) {
        let level = match level {
            Level::Ok => 0,
            Level::Degraded => 1,
            Level::Down => 2,
        };
        self.level.store(level, Ordering::Relaxed);
        self.revision.store(revision, Ordering::Relaxed);
    }

    /// Records the admission mode.
    pub fn admission(&self, mode: AdmissionMode) {
        self.enforced.store(u64::from(mode == AdmissionMode::Enforce), Ordering::Relaxed);
    }
}

impl DependencyCells {
    fn new(dependency: &Dependency) -> DependencyCells {
        let cells = DependencyCells {
            name: Arc::clone(&dependency.definition().name),
            kind: dependency.definition().kind,
            probes: AtomicU64::default(),
            probe_failures: AtomicU64::default(),
            changes: AtomicU64::default(),
            state: AtomicU64::default(),
            breakers: dependency.breakers().map(|(of, _)| (of, AtomicU64::default())).collect(),
            forced: AtomicU64::default(),
            probe_durations: DurationHistogram::default(),
            last_success_unix_ms: AtomicU64::default(),
        };
        cells.show(dependency);
        cells
    }

    /// Records the state of the dependency.
    pub fn show(&self, dependency: &Dependency) {
        let state = STATES.iter().position(|state| *state == dependency.state()).unwrap_or(0);
        self.state.store(state as u64, Ordering::Relaxed);
        for ((_, cell), (_, position)) in self.breakers.iter().zip(dependency.breakers()) {
            let position = match position {
                BreakerPosition::Closed => 0,
                BreakerPosition::HalfOpen => 1,
                BreakerPosition::Open => 2,
            };
            cell.store(position, Ordering::Relaxed);
        }
        let forced = match dependency.forced().map(|order| order.to) {
            None => 0,
            Some(Forced::Closed) => 1,
            Some(Forced::Open) => 2,
        };
        self.forced.store(forced, Ordering::Relaxed);
        let last = dependency.last_success_unix_ms().unwrap_or(0);
        self.last_success_unix_ms.store(last, Ordering::Relaxed);
    }
}

impl OwnCells {
    /// Records the state of the gateway.
    pub fn became(&self, own: &Dependency) {
        self.down.store(u64::from(own.state() == State::Down), Ordering::Relaxed);
        self.warns.store(u64::from(own.warning().is_some()), Ordering::Relaxed);
    }

    /// Records the longest turn of each reactor, the existing queues, and the lane of each reactor.
    pub fn show(&self, turns: &[Duration], queues: impl Iterator<Item = Depth> + Clone, lanes: &[Depth]) {
        for (cell, turn) in self.turns_us.iter().zip(turns) {
            cell.store(micros(*turn), Ordering::Relaxed);
        }
        for (cell, lane) in self.lanes.iter().zip(lanes) {
            cell.store(lane.waiting, Ordering::Relaxed);
        }
        for ([waiting, places], name) in self.queues.iter().zip(QUEUES) {
            if let Some(depth) = queues.clone().find(|depth| depth.name == name) {
                waiting.store(depth.waiting, Ordering::Relaxed);
                places.store(depth.bound, Ordering::Relaxed);
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
