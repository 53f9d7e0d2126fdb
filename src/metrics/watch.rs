//! What is counted of the dependencies. The watch worker writes; a scrape reads.

use crate::health::dependency::State;
use crate::health::snapshot::Level;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One line a dependency, and how it stands as a whole.
#[derive(Debug, Default)]
pub struct WatchCounters {
    /// In the order of the configuration.
    pub dependencies: Vec<DependencyCells>,
    /// Revision of the snapshot.
    pub revision: AtomicU64,
    /// 0 `ok`, 1 `degraded`, 2 `down`.
    pub level: AtomicU64,
}

/// What is counted of one dependency.
#[derive(Debug)]
pub struct DependencyCells {
    /// Its name.
    pub name: Arc<str>,
    /// 1 while it is not down.
    pub up: AtomicU64,
    /// Looks at it.
    pub probes: AtomicU64,
    /// Looks that found a fault.
    pub probe_failures: AtomicU64,
    /// Changes of its state.
    pub changes: AtomicU64,
}

impl WatchCounters {
    /// For these dependencies.
    pub fn new(names: impl Iterator<Item = Arc<str>>) -> WatchCounters {
        let cells = |name| DependencyCells {
            name,
            up: AtomicU64::new(1),
            probes: AtomicU64::default(),
            probe_failures: AtomicU64::default(),
            changes: AtomicU64::default(),
        };
        WatchCounters { dependencies: names.map(cells).collect(), ..WatchCounters::default() }
    }

    /// The cells of this dependency.
    pub fn of(&self, name: &str) -> Option<&DependencyCells> {
        self.dependencies.iter().find(|cells| *cells.name == *name)
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
}

impl DependencyCells {
    /// Takes a new state.
    pub fn became(&self, state: State) {
        self.up.store(u64::from(state != State::Down), Ordering::Relaxed);
    }
}
