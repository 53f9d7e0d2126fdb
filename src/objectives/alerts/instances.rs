//! The health of all instances, as their own canaries see it. The leader knows them from the rows of the others.

use super::instance_readings::instance;
use crate::alert::incident::Incident;
use crate::alert::key::AlertKind;
use crate::alert::reading::AlertReading;
use crate::slo::instance_health::{InstanceHealth, InstanceVerdict};
use crate::slo::run_counts::AllCounts;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Instances that are watched.
const INSTANCES_MAX: usize = 1_000;
/// Slots of ten seconds without a round after which an instance is forgotten: its incident is over by then.
const SILENT_SLOTS: u32 = 60;

/// An instance, and its slots without a round.
type Watched = (InstanceHealth, u32);

/// The instances whose canaries had rounds.
#[derive(Debug, Default)]
pub(super) struct InstanceCanaries(BTreeMap<Arc<str>, Watched>);

impl InstanceCanaries {
    /// Adds ten seconds of each instance.
    pub(super) fn close_slot(&mut self, slots: &[(Arc<str>, AllCounts)]) {
        for (health, silent) in self.0.values_mut() {
            health.begin_slot();
            *silent += 1;
        }
        for (name, counts) in slots {
            let is_known = self.0.contains_key(name);
            if !is_known && (self.0.len() >= INSTANCES_MAX || !InstanceHealth::has_round(counts)) {
                continue;
            }
            let (health, silent) = self.0.entry(Arc::clone(name)).or_default();
            health.add(counts);
            if InstanceHealth::has_round(counts) {
                *silent = 0;
            }
        }
        self.0.retain(|_, (_, silent)| *silent < SILENT_SLOTS);
    }

    /// The readings of all, and of instances that are gone but have an open incident.
    pub(super) fn readings<'a>(&self, open: impl Iterator<Item = &'a Incident>) -> Vec<AlertReading> {
        let known = self.0.iter().map(|(name, (health, _))| instance(name, health.verdict()));
        let gone = open.filter(|it| it.key.kind == AlertKind::Instance && !self.0.contains_key(&it.key.name));
        let gone = gone.map(|it| instance(&it.key.name, InstanceVerdict::Well));
        known.chain(gone).collect()
    }
}
