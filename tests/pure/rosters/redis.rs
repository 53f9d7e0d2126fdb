//! The Redis of the model.

use seawall::id::Incarnation;
use std::collections::BTreeMap;

/// A lease: its renewals, and whether everything of the incarnation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModelLease {
    pub(super) renewals: u64,
    pub(super) is_complete: bool,
}

/// The data of the server.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelRedis {
    pub(super) leases: BTreeMap<Incarnation, ModelLease>,
    /// The number of the last flush of each incarnation.
    pub(super) flushes: BTreeMap<Incarnation, u64>,
    pub(super) fields: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl ModelRedis {
    pub(super) fn write(&mut self, remove: &[Vec<u8>], set: &[(Vec<u8>, Vec<u8>)]) {
        for name in remove {
            self.fields.remove(name);
        }
        self.fields.extend(set.iter().cloned());
    }
}
