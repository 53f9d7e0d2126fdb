//! This instance among all that share the store.

use crate::job::bus::Bus;
use crate::job::registry::{OwnSigns, RegistrySender};
use std::sync::Arc;

/// One of the instances that share a store.
#[derive(Clone, Debug)]
pub struct ClusterMember {
    /// Carries what was committed to the others; `None` without a bus.
    pub bus: Option<Bus>,
    /// The content of its row.
    pub signs: Arc<OwnSigns>,
    /// Where the rows of the others are reported.
    pub registry: RegistrySender,
}
