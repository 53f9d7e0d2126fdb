//! The probing half of `seawall doctor`: every dependency once, all at the same time.

use super::table::DiagnosisRow;
use crate::health::definition::{Criticality, DependencyKind};
use crate::job::probing::{Probing, broken};
use std::time::Duration;

/// One dependency to probe.
#[derive(Debug)]
pub struct Patient {
    /// Its name in the configuration.
    pub name: String,
    pub kind: DependencyKind,
    /// The address without secrets.
    pub address: String,
    /// The effect of its failure.
    pub criticality: Criticality,
    pub probe: Box<dyn Probing>,
    /// The timeout of its look.
    pub timeout: Duration,
}

/// Looks at each on a thread of its own and returns when the slowest has answered: by the longest timeout. Keeps the order.
pub fn look_at_all(patients: Vec<Patient>) -> Vec<DiagnosisRow> {
    std::thread::scope(|scope| {
        let looking: Vec<_> = patients
            .into_iter()
            .map(|Patient { name, kind, address, criticality, mut probe, timeout }| {
                (scope.spawn(move || probe.look(timeout)), name, kind, address, criticality)
            })
            .collect();
        looking
            .into_iter()
            .map(|(look, name, kind, address, criticality)| {
                let finding = look.join().unwrap_or_else(|_| broken());
                let (latency, found) = (Some(finding.latency), finding.result.into());
                DiagnosisRow { name, kind: kind.as_str().into(), address, criticality, latency, found }
            })
            .collect()
    })
}
