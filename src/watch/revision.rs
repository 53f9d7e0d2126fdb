//! A change of what is watched.

use crate::health::board::DependencyId;
use crate::health::definition::Definition;
use crate::health::snapshot::AdmissionMode;
use crate::job::probing::Probing;
use std::sync::Arc;

/// The dependencies to watch after a reload.
#[derive(Debug)]
pub struct Revision {
    /// All dependencies, in the order of the configuration.
    pub dependencies: Vec<Revised>,
    /// The admission mode; `None` leaves it, because an operator may have set it meanwhile.
    pub mode: Option<AdmissionMode>,
}

#[derive(Debug)]
pub struct Revised {
    /// How it is judged and reported.
    pub definition: Definition,
    /// Its new probe; `None` keeps the previous one.
    pub probe: Option<Box<dyn Probing>>,
}

/// The reason why a revision has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrevised {
    /// The queue was full, the process ends, or a probe's thread could not be started: nothing has changed.
    Refused,
    /// The watch thread did not reply within a second: it may still apply the change.
    Unanswered,
}

/// The watched dependencies by name.
pub type Watched = Vec<(Arc<str>, DependencyId)>;
