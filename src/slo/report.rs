//! The answer to `GET /slo`: how well each objective is kept.

use super::budget_exclusion::BudgetExclusion;
use super::objective::Objective;
use super::part::SloPart;
use super::tier::Tier;
use crate::wire::stats::InstanceSigns;
use serde::{Serialize, Serializer};

/// The state of an objective or a part, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveState {
    /// Nothing was counted in the period.
    NoEvents,
    Kept,
    /// Less than a tenth of the budget is left.
    Low,
    /// A tier is over that is worth a ticket.
    Leaking,
    /// A tier is over that is worth a page.
    Burning,
    /// No budget is left.
    Spent,
}

/// The state of all objectives of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SloReport {
    /// The time of the last judgement, in Unix milliseconds; 0: none yet.
    pub judged: u64,
    /// The name of the instance that judged them.
    pub instance: String,
    /// The instances whose events these are.
    pub instances: usize,
    /// The minutes of this instance that the store lacks, or has not confirmed. The last one is among them until the next judgement.
    pub unshared_rows: usize,
    /// The seconds since this instance last counted an event of each part; since its start without one.
    #[serde(skip)]
    pub stale_s: Vec<(SloPart, u64)>,
    /// Faults of this instance that its counts do not show.
    #[serde(skip)]
    pub signs: InstanceSigns,
    /// False if counts could not be written to `slo.db`: they are lost with the process.
    pub stored: bool,
    /// The exclusions that keep events out now.
    pub exclusions: Vec<BudgetExclusion>,
    pub objectives: Vec<ObjectiveReport>,
}

/// An objective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectiveReport {
    pub name: &'static str,
    #[serde(flatten)]
    pub objective: Objective,
    /// Of its worst part.
    pub state: ObjectiveState,
    /// The part with the least budget.
    pub worst: Option<SloPart>,
    /// The share of the known time in which this gateway ran, in parts per million.
    pub measured_ppm: u32,
    /// True if less than a period is known: the budget is that of a whole period at the present rate of events.
    pub provisional: bool,
    pub parts: Vec<PartReport>,
}

/// A part of an objective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartReport {
    pub part: SloPart,
    /// The unit of `bad` and `allowed`.
    pub unit: &'static str,
    /// Events of the period; milliseconds in the part `session`.
    pub good: u64,
    pub bad: u64,
    pub excluded: u64,
    /// The bad events of the period, and the number that may be bad, in `unit`.
    pub spent: u64,
    pub allowed: u64,
    /// The share of good events, in parts per million; `None` without events.
    pub now_ppm: Option<u32>,
    /// The share of the budget that is left, in parts per million; negative if more than all is spent; `None` without events.
    pub budget_left_ppm: Option<i64>,
    /// The burn rates of the last hour and of the last 6 hours, in thousandths; `None` without events.
    pub burn_1h_milli: Option<u64>,
    pub burn_6h_milli: Option<u64>,
    /// The seconds until the budget is spent at the rate of the last 6 hours; `None` if it lasts.
    pub gone_s: Option<u64>,
    pub state: ObjectiveState,
    pub tiers: Vec<TierReport>,
}

/// A tier of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TierReport {
    #[serde(flatten)]
    pub tier: Tier,
    /// The share of bad events in each window, in parts per million; `None` without events.
    pub long_ppm: Option<u32>,
    pub short_ppm: Option<u32>,
    /// True exactly while the tier would notify.
    pub over: bool,
}

impl Serialize for SloPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl SloReport {
    /// The whole report as JSON.
    pub fn json(&self) -> String {
        with_line_end(serde_json::to_string(self).unwrap_or_default())
    }

    /// One objective as JSON; `None` if there is none of this name.
    pub fn json_of(&self, name: &str) -> Option<String> {
        let objectives: Vec<_> = self.objectives.iter().filter(|one| one.name == name).cloned().collect();
        let concerns = |it: &&BudgetExclusion| it.objective.as_deref().is_none_or(|own| own == name);
        let exclusions = self.exclusions.iter().filter(concerns).cloned().collect();
        let found = SloReport {
            exclusions,
            objectives,
            instance: self.instance.clone(),
            stale_s: Vec::new(),
            ..*self
        };
        (!found.objectives.is_empty()).then(|| found.json())
    }

    /// The names of the objectives.
    pub fn names(&self) -> Vec<&'static str> {
        self.objectives.iter().map(|objective| objective.name).collect()
    }
}

fn with_line_end(mut text: String) -> String {
    text.push('\n');
    text
}
