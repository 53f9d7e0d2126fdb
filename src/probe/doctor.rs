//! The probing half of `seawall doctor`: every dependency once, all at the same time.

use super::Probe;
use super::table::DiagnosisRow;
use crate::health::definition::Criticality;
use crate::job::probing::broken;
use std::time::Duration;

/// One dependency to probe.
#[derive(Debug)]
pub struct Patient {
    /// Its name in the configuration.
    pub name: String,
    /// The effect of its failure.
    pub criticality: Criticality,
    pub probe: Probe,
    /// The timeout of its look.
    pub timeout: Duration,
}

/// Looks at each on a thread of its own and returns when the slowest has answered: by the longest timeout. Keeps the order.
pub fn look_at_all(patients: Vec<Patient>) -> Vec<DiagnosisRow> {
    std::thread::scope(|scope| {
        let looking: Vec<_> = patients
            .into_iter()
            .map(|mut patient| {
                let (name, kind) = (patient.name.clone(), patient.probe.target().kind());
                let (address, criticality) = (patient.probe.target().address(), patient.criticality);
                let look = scope.spawn(move || patient.probe.look(patient.timeout));
                (look, name, kind, address, criticality)
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
