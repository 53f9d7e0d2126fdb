//! What is counted of the dependencies and of the gateway itself. The watch worker writes; a scrape reads.

use crate::health::breaker::{Forced, Position};
use crate::health::capacity::Depth;
use crate::health::definition::{Kind, Use};
use crate::health::dependency::{Dependency, State};
use crate::health::snapshot::{AdmissionMode, Level};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One line a dependency, how they stand as a whole, and the gateway itself.
#[derive(Debug, Default)]
pub struct WatchCounters {
    dependencies: ArcSwap<Vec<Arc<DependencyCells>>>,
    /// The gateway itself.
    pub own: OwnCells,
    /// Revision of the snapshot.
    pub revision: AtomicU64,
    /// 0 `ok`, 1 `degraded`, 2 `down`.
    pub level: AtomicU64,
    /// 1 while verdicts are carried out.
    pub enforced: AtomicU64,
}

/// What is counted of one dependency.
#[derive(Debug)]
pub struct DependencyCells {
    /// Its name.
    pub name: Arc<str>,
    /// What speaks there, which says what breakers it has.
    kind: Kind,
    /// Looks at it.
    pub probes: AtomicU64,
    /// Looks that found a fault.
    pub probe_failures: AtomicU64,
    /// Changes of its state.
    pub changes: AtomicU64,
    /// Its state, by its place in [`STATES`].
    pub state: AtomicU64,
    /// Its breakers, by their use: 0 closed, 1 half open, 2 open.
    pub breakers: Vec<(Use, AtomicU64)>,
    /// 0: not held; 1: held closed; 2: held open.
    pub forced: AtomicU64,
    /// How long its looks take, microseconds: half of them, and 99 of 100; 0 before the first.
    pub probe_us: [AtomicU64; 2],
    /// When it last did what it was asked, Unix milliseconds; 0: never.
    pub last_success_unix_ms: AtomicU64,
}

/// States, in the order that [`DependencyCells::state`] counts.
pub const STATES: [State; 4] = [State::Unknown, State::Ok, State::Degraded, State::Down];
/// Queues to the workers, in the order of [`OwnCells::queues`].
pub const QUEUES: [&str; 5] = ["append", "read", "auth", "bus_publications", "bus_signals"];

/// What the gateway found of itself when it last looked.
#[derive(Debug, Default)]
pub struct OwnCells {
    /// 1 while something of it fails.
    pub down: AtomicU64,
    /// 1 while something of it warns.
    pub warns: AtomicU64,
    /// Changes of its state.
    pub changes: AtomicU64,
    /// What waits in each queue, and its bound; a bound of 0: there is no such queue.
    pub queues: [[AtomicU64; 2]; QUEUES.len()],
    /// The longest turn of each reactor in the last 10 s, microseconds.
    pub turns_us: Vec<AtomicU64>,
    /// Batches that wait in each reactor's lane of publications.
    pub lanes: Vec<AtomicU64>,
}

impl WatchCounters {
    /// For these dependencies and so many reactors.
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

    /// In the order of the configuration.
    pub fn dependencies(&self) -> Arc<Vec<Arc<DependencyCells>>> {
        self.dependencies.load_full()
    }

    /// The cells of this dependency.
    pub fn of(&self, name: &str) -> Option<Arc<DependencyCells>> {
        self.dependencies.load().iter().find(|cells| *cells.name == *name).cloned()
    }

    /// These are the dependencies from here on; the totals of those that stay go on.
    pub fn revise<'a>(&self, dependencies: impl Iterator<Item = &'a Dependency>) {
        let cells = |dependency: &Dependency| {
            let kept = self
                .of(&dependency.definition().name)
                .filter(|cells| cells.kind == dependency.definition().kind);
            kept.unwrap_or_else(|| Arc::new(DependencyCells::new(dependency)))
        };
        self.dependencies.store(Arc::new(dependencies.map(cells).collect()));
    }

    /// Takes the level and the revision of a new snapshot.
    pub fn stands(&self, level: Level, revision: u64) {
        let level = match level {
            Level::Ok => 0,
            Level::Degraded => 1,
            Level::Down => 2,
        };
        self.level.store(level, Ordering::Relaxed);
        self.revision.store(revision, Ordering::Relaxed);
    }

    /// Takes whether verdicts are carried out.
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
            probe_us: Default::default(),
            last_success_unix_ms: AtomicU64::default(),
        };
        cells.show(dependency);
        cells
    }

    /// Takes how it stands.
    pub fn show(&self, dependency: &Dependency) {
        let state = STATES.iter().position(|state| *state == dependency.state()).unwrap_or(0);
        self.state.store(state as u64, Ordering::Relaxed);
        for ((_, cell), (_, position)) in self.breakers.iter().zip(dependency.breakers()) {
            let position = match position {
                Position::Closed => 0,
                Position::HalfOpen => 1,
                Position::Open => 2,
            };
            cell.store(position, Ordering::Relaxed);
        }
        let forced = match dependency.forced().map(|order| order.to) {
            None => 0,
            Some(Forced::Closed) => 1,
            Some(Forced::Open) => 2,
        };
        self.forced.store(forced, Ordering::Relaxed);
        for (cell, percent) in self.probe_us.iter().zip([50, 99]) {
            cell.store(dependency.latency().percentile(percent).map_or(0, micros), Ordering::Relaxed);
        }
        let last = dependency.last_success_unix_ms().unwrap_or(0);
        self.last_success_unix_ms.store(last, Ordering::Relaxed);
    }
}

impl OwnCells {
    /// Takes how the gateway stands.
    pub fn became(&self, own: &Dependency) {
        self.down.store(u64::from(own.state() == State::Down), Ordering::Relaxed);
        self.warns.store(u64::from(own.warning().is_some()), Ordering::Relaxed);
    }

    /// Takes the longest turn of each reactor, the queues that are, and the lane of each reactor.
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
