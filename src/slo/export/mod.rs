//! Objectives as files for other programs: Prometheus, Alertmanager and Grafana, and the formats of Sloth and OpenSLO.
//!
//! Everything comes from the [`Objective`]s and [`tiers`] that the judge uses. Neither Prometheus nor these formats can express all of
//! it: attempts count one by one there, because a rule cannot count each ten seconds once; the group of users with most bad events is
//! not left out; and an alert ends five minutes after its tier, not by the evidence that an incident needs.

mod alertmanager;
mod exported;
mod grafana;
mod openslo;
mod prometheus;
mod sloth;
#[cfg(test)]
mod tests;

pub(in crate::slo) use openslo::{OBJECTIVE_LABEL, OFF_ANNOTATION};

use super::objective::Objective;
use super::tier::{TierFault, tiers};
use exported::ExportedObjective;

/// A format that objectives are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Recording rules and alerts.
    Prometheus,
    /// Routes and inhibitions.
    Alertmanager,
    /// A dashboard.
    Grafana,
    /// Recording rules with the names of Sloth, for its dashboards.
    Sloth,
    /// Objectives and policies of OpenSLO v1.
    OpenSlo,
}

impl ExportFormat {
    /// All formats, in declaration order.
    pub const ALL: [ExportFormat; 5] = [
        ExportFormat::Prometheus,
        ExportFormat::Alertmanager,
        ExportFormat::Grafana,
        ExportFormat::Sloth,
        ExportFormat::OpenSlo,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            ExportFormat::Prometheus => "prometheus",
            ExportFormat::Alertmanager => "alertmanager",
            ExportFormat::Grafana => "grafana",
            ExportFormat::Sloth => "sloth",
            ExportFormat::OpenSlo => "openslo",
        }
    }

    /// The format of this name.
    pub fn of(name: &str) -> Option<ExportFormat> {
        ExportFormat::ALL.into_iter().find(|format| format.as_str() == name)
    }
}

/// The text of the objectives in a format.
///
/// # Errors
///
/// An objective with a tier that it could never reach.
pub fn export(
    format: ExportFormat,
    objectives: &[(&'static str, Objective)],
) -> Result<String, (&'static str, TierFault)> {
    let exported = objectives.iter().map(|(name, objective)| {
        let tiers = tiers(objective).map_err(|fault| (*name, fault))?;
        Ok(ExportedObjective { name, objective: *objective, tiers })
    });
    let exported = exported.collect::<Result<Vec<_>, _>>()?;
    Ok(match format {
        ExportFormat::Prometheus => prometheus::rules(&exported),
        ExportFormat::Alertmanager => alertmanager::configuration(),
        ExportFormat::Grafana => grafana::dashboard(&exported),
        ExportFormat::Sloth => sloth::rules(&exported),
        ExportFormat::OpenSlo => openslo::documents(&exported),
    })
}
