//! The interface of the registry thread: its events, the content of this instance's row, and what the registry knows of the
//! cluster.

use super::users::{UserLookup, UserTally};
pub use crate::cluster::instance::{Goodbye, InstanceRow, Leads};
use crate::cluster::own_users::UserCount;
use crate::cluster::report::ClusterReport;
use crate::limits::REGISTRY_EVENTS;
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// An event for the registry.
#[derive(Clone, Debug)]
pub enum RegistryEvent {
    /// The rows of the instances were read, or could not be.
    Rows(RowsReading),
    /// Users whose connections changed.
    Users(Vec<UserCount>),
    /// All users of this instance: a user that is missing is gone.
    AllUsers(Vec<UserCount>),
    /// Where users are connected.
    LookUp(UserLookup),
    /// The number of users that are connected to any instance.
    Tally(Sender<UserTally>),
}

/// One call of the store for the rows of the instances.
#[derive(Clone, Debug)]
pub struct RowsReading {
    /// The beginning of the call.
    pub asked: Instant,
    /// `None`: it failed.
    pub rows: Option<Vec<InstanceRow>>,
}

/// The content of this instance's row, shared by the threads that know it.
#[derive(Debug)]
pub struct OwnSigns {
    /// This process.
    pub origin: u64,
    /// Its name, for people.
    pub name: Arc<str>,
    /// The count of its incarnation. The registry writes it.
    pub count: AtomicU32,
    /// The number of the last order that it has carried out. The thread that carries them out writes it.
    pub done: AtomicU64,
    is_hurried: AtomicBool,
}

impl OwnSigns {
    /// Those of a process that begins.
    pub fn new(origin: u64, name: Arc<str>) -> OwnSigns {
        let (count, done) = (AtomicU32::new(1), AtomicU64::new(0));
        OwnSigns { origin, name, count, done, is_hurried: AtomicBool::new(false) }
    }

    /// Asks for a reading of the rows that begins now.
    pub fn hurry(&self) {
        self.is_hurried.store(true, Ordering::Relaxed);
    }

    /// True if a reading should begin now. Call it when one begins.
    pub fn take_hurry(&self) -> bool {
        self.is_hurried.swap(false, Ordering::Relaxed)
    }
}

/// The sender of events. Cloned freely.
#[derive(Clone)]
pub struct RegistrySender(Sender<RegistryEvent>);

impl RegistrySender {
    /// The two ends of the queue.
    pub fn pair() -> (RegistrySender, Receiver<RegistryEvent>) {
        let (sender, receiver) = bounded(REGISTRY_EVENTS);
        (RegistrySender(sender), receiver)
    }

    /// Sends a reading, unless the queue is full.
    pub fn rows(&self, reading: RowsReading) {
        let _ = self.0.try_send(RegistryEvent::Rows(reading));
    }

    /// True if an event probably fits.
    pub fn has_room(&self) -> bool {
        !self.0.is_full()
    }

    /// Reports users whose connections changed; they are returned if the queue is full.
    pub fn users(&self, counts: Vec<UserCount>) -> Result<(), Vec<UserCount>> {
        match self.0.try_send(RegistryEvent::Users(counts)) {
            Err(TrySendError::Full(RegistryEvent::Users(counts))) => Err(counts),
            // The registry has ended.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Reports all users. False: the queue is full.
    pub fn all_users(&self, counts: Vec<UserCount>) -> bool {
        !matches!(self.0.try_send(RegistryEvent::AllUsers(counts)), Err(TrySendError::Full(_)))
    }

    /// Asks. False: the queue is full, or the registry has ended.
    pub(super) fn ask(&self, question: RegistryEvent) -> bool {
        self.0.try_send(question).is_ok()
    }
}

impl fmt::Debug for RegistrySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistrySender")
    }
}

/// The registry's knowledge of the cluster; replaced at least once a second.
#[derive(Debug, Default)]
pub struct ClusterBoard(ArcSwap<ClusterReport>);

impl ClusterBoard {
    pub fn report(&self) -> Arc<ClusterReport> {
        self.0.load_full()
    }

    /// Only the registry may call it.
    pub fn publish(&self, report: ClusterReport) {
        self.0.store(Arc::new(report));
    }
}
