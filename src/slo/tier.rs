//! Tiers: windows and burn rates at which an objective notifies.
//!
//! A longer period does not make the windows longer in proportion: windows depend on how fast operators act, and short ones hold
//! too few events to judge. The share of the budget that is spent before a notice depends on the period instead. Five percent of
//! the budget at burn rate 1 last 8 hours of a week, and ten percent last 2 hours of a day.

use super::objective::Objective;
use serde::Serialize;

/// The urgency of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// A person is called at once.
    Page,
    /// A person looks at it during the day.
    Ticket,
}

/// Two windows, and the share of bad events that both must reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tier {
    pub name: &'static str,
    pub urgency: Urgency,
    /// The length of the long window, in seconds.
    pub long_s: u32,
    /// The length of the short window, in seconds. It ends the tier soon after the errors ended.
    pub short_s: u32,
    /// The share of bad events, in parts per million.
    pub threshold_ppm: u32,
}

/// A tier that an objective cannot have, because even a failure of nearly everything would not reach its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierFault {
    pub name: &'static str,
    /// The threshold that it would have, in parts per million.
    pub threshold_ppm: u64,
}

/// The highest threshold of a tier, in parts per million.
pub const THRESHOLD_PPM_MAX: u32 = 800_000;

/// Half of everything fails: plainly down, whatever the objective.
const OUTAGE: Tier =
    Tier { name: "outage", urgency: Urgency::Page, long_s: 180, short_s: 60, threshold_ppm: 500_000 };

/// A tier before its objective is known: it notifies when the long window has spent this share of the budget.
struct TierRule {
    name: &'static str,
    urgency: Urgency,
    long_s: u32,
    short_s: u32,
    share_ppm: u32,
}

const fn rule(name: &'static str, urgency: Urgency, long_s: u32, short_s: u32, share_ppm: u32) -> TierRule {
    TierRule { name, urgency, long_s, short_s, share_ppm }
}

const MINUTE: u32 = 60;
const HOUR: u32 = 3_600;
const DAY: u32 = 86_400;

/// For periods of 14 days and more.
const MONTH: [TierRule; 4] = [
    rule("fast", Urgency::Page, HOUR, 5 * MINUTE, 20_000),
    rule("slow", Urgency::Page, 6 * HOUR, 30 * MINUTE, 50_000),
    rule("ticket", Urgency::Ticket, DAY, 2 * HOUR, 100_000),
    rule("leak", Urgency::Ticket, 3 * DAY, 6 * HOUR, 100_000),
];
/// For periods of 2 to 13 days.
const WEEK: [TierRule; 4] = [
    rule("fast", Urgency::Page, 30 * MINUTE, 150, 50_000),
    rule("slow", Urgency::Page, 3 * HOUR, 15 * MINUTE, 100_000),
    rule("ticket", Urgency::Ticket, 12 * HOUR, HOUR, 150_000),
    rule("leak", Urgency::Ticket, DAY, 2 * HOUR, 142_857),
];
/// For a period of one day.
const ONE_DAY: [TierRule; 3] = [
    rule("fast", Urgency::Page, 30 * MINUTE, 150, 100_000),
    rule("slow", Urgency::Page, 2 * HOUR, 10 * MINUTE, 250_000),
    rule("ticket", Urgency::Ticket, 6 * HOUR, 30 * MINUTE, 250_000),
];

/// The tiers of an objective, pages first.
///
/// # Errors
///
/// A tier whose threshold would be [`THRESHOLD_PPM_MAX`] or more.
pub fn tiers(objective: &Objective) -> Result<Vec<Tier>, TierFault> {
    let rules: &[TierRule] = match objective.period_days {
        ..=1 => &ONE_DAY,
        2..=13 => &WEEK,
        14.. => &MONTH,
    };
    let mut tiers = vec![OUTAGE];
    for rule in rules {
        let threshold_ppm = threshold_ppm(rule, objective);
        let fits = u32::try_from(threshold_ppm).ok().filter(|ppm| *ppm < THRESHOLD_PPM_MAX);
        let threshold_ppm = fits.ok_or(TierFault { name: rule.name, threshold_ppm })?;
        let TierRule { name, urgency, long_s, short_s, share_ppm: _ } = *rule;
        tiers.push(Tier { name, urgency, long_s, short_s, threshold_ppm });
    }
    Ok(tiers)
}

/// The share of bad events over the long window that spends the rule's share of the budget, rounded.
fn threshold_ppm(rule: &TierRule, objective: &Objective) -> u64 {
    let spent = u64::from(rule.share_ppm) * u64::from(objective.period_days) * u64::from(DAY);
    let unit = u64::from(rule.long_s) * 1_000_000;
    (spent * u64::from(objective.allowed_ppm) + unit / 2) / unit
}

impl Tier {
    /// The burn rate of the threshold, in thousandths.
    pub fn burn_milli(&self, objective: &Objective) -> u64 {
        let allowed = u64::from(objective.allowed_ppm.max(1));
        (u64::from(self.threshold_ppm) * 1_000 + allowed / 2) / allowed
    }
}
