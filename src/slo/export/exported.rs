//! The parts of all formats: an objective with its tiers, the names of alerts, and how numbers are written.

use crate::slo::objective::{Objective, TICKETS_ONLY};
use crate::slo::tier::{Tier, Urgency};

/// The alert of a tier that pages.
pub(super) const BURNING: &str = "SeawallSloBurning";
/// The alert of a tier that makes a ticket.
pub(super) const LEAKING: &str = "SeawallSloLeaking";
/// The alert of a spent budget.
pub(super) const SPENT: &str = "SeawallSloBudgetSpent";
/// The alert of a budget of which less than a tenth is left.
pub(super) const LOW: &str = "SeawallSloBudgetLow";
/// The alert of a gateway that does not judge its objectives.
pub(super) const SILENT: &str = "SeawallSloSilent";
pub(super) const CANARY: &str = "SeawallCanarySilent";
pub(super) const CLOCK: &str = "SeawallClockSkewed";

/// An objective with its tiers.
pub(super) struct ExportedObjective {
    pub(super) name: &'static str,
    pub(super) objective: Objective,
    pub(super) tiers: Vec<Tier>,
}

impl ExportedObjective {
    /// The urgency that the notice of a tier has.
    pub(super) fn urgency(&self, tier: &Tier) -> Urgency {
        if TICKETS_ONLY.contains(&self.name) { Urgency::Ticket } else { tier.urgency }
    }

    /// The share of bad events that is allowed, as a decimal number.
    pub(super) fn allowed(&self) -> String {
        share(self.objective.allowed_ppm)
    }
}

/// Parts per million as a decimal number, without zeros at the end.
pub(super) fn share(ppm: u32) -> String {
    let text = format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A duration as PromQL writes it: `2m30s`.
pub(super) fn promql_duration(seconds: u32) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let (mut rest, mut text) = (seconds, String::new());
    for (unit, word) in units {
        if rest >= unit {
            text += &format!("{}{word}", rest / unit);
            rest %= unit;
        }
    }
    text
}
