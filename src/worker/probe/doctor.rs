//! The looking half of `seawall doctor`: every dependency once, all at the same time.

use super::Probe;
use super::table::Row;
use crate::health::definition::Criticality;
use crate::health::finding::{Cause, Fault, Finding};
use std::time::Duration;

/// One dependency to look at.
#[derive(Debug)]
pub struct Patient {
    /// Its name in the configuration.
    pub name: String,
    /// What its failure means.
    pub criticality: Criticality,
    /// What looks.
    pub probe: Probe,
    /// How long it may take.
    pub timeout: Duration,
}

/// Looks at each on a thread of its own and returns when the slowest has its answer: by the longest timeout. The order is kept.
pub fn look_at_all(patients: Vec<Patient>) -> Vec<Row> {
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
                Row { name, kind, address, criticality, finding }
            })
            .collect()
    })
}

/// What is found when the look itself fails.
pub fn broken() -> Finding {
    let text = "the look itself failed: this is a fault of seawall";
    let cause = Cause::new(Fault::Internal, text, "Report it with what was printed above.");
    Finding { latency: Duration::ZERO, result: Err(cause) }
}
