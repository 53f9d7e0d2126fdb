//! Objectives: the share of events that may be bad over a period.

use serde::Serialize;
use std::fmt;

/// The way in which the events of an objective are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Each event counts once.
    Events,
    /// Each ten seconds with an event count once, by their share of bad events. For attempts to connect: the retries of those
    /// that were cut off would otherwise spend the budget of a month within minutes.
    Looks,
}

/// An objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Objective {
    /// The bad events that are allowed, in parts per million: 1 to 500,000.
    pub allowed_ppm: u32,
    /// The period of the budget in days: 1 to 90.
    pub period_days: u32,
    #[serde(skip)]
    pub counting: Counting,
}

impl Objective {
    pub const ALLOWED_PPM_MAX: u32 = 500_000;
    pub const PERIOD_DAYS_MAX: u32 = 90;

    /// Reads `99.9 % over 7 d`; the blanks and the word may be left out. `None` if it is no such text, or out of bounds.
    pub fn parse(text: &str) -> Option<Objective> {
        let (ratio, period) = text.split_once('%')?;
        let period = period.trim();
        let period = period.strip_prefix("over").unwrap_or(period).trim();
        let period_days = period.strip_suffix('d')?.trim().parse().ok()?;
        let fits = (1..=Objective::PERIOD_DAYS_MAX).contains(&period_days);
        let allowed_ppm = allowed_ppm(ratio.trim())?;
        fits.then_some(Objective { allowed_ppm, period_days, counting: Counting::Events })
    }
}

/// Objectives for a chat service, by name.
pub const USUAL: [(&str, Objective); 4] = [
    ("connection", Objective { allowed_ppm: 5_000, period_days: 30, counting: Counting::Looks }),
    ("delivery", Objective { allowed_ppm: 1_000, period_days: 7, counting: Counting::Events }),
    ("latency", Objective { allowed_ppm: 50_000, period_days: 1, counting: Counting::Events }),
    ("health", Objective { allowed_ppm: 500, period_days: 30, counting: Counting::Events }),
];

/// The objective that a gateway keeps in addition: sessions do not end without a reason.
pub const EXPLAINED: (&str, Objective) =
    ("explained", Objective { allowed_ppm: 1_000, period_days: 30, counting: Counting::Events });

/// The other one: clients are connected again soon after they lost their connection.
pub const RECOVERY: (&str, Objective) =
    ("recovery", Objective { allowed_ppm: 10_000, period_days: 7, counting: Counting::Events });

/// The objectives of a gateway with a relay that has answers: they end as its users want, and they begin soon.
pub const OF_ANSWERS: [(&str, Objective); 2] = [
    ("answers", Objective { allowed_ppm: 10_000, period_days: 7, counting: Counting::Events }),
    ("promptness", Objective { allowed_ppm: 50_000, period_days: 1, counting: Counting::Events }),
];

/// Objectives that make tickets at most: the events of the first are over when they are counted, those of the second rest on the
/// words of clients, and a slow backend is not repaired at night.
pub const TICKETS_ONLY: [&str; 3] = [EXPLAINED.0, RECOVERY.0, OF_ANSWERS[1].0];

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let good = 1_000_000_u32.saturating_sub(self.allowed_ppm);
        let text = format!("{}.{:04}", good / 10_000, good % 10_000);
        let ratio = text.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{ratio} % over {} d", self.period_days)
    }
}

/// The bad events that a ratio in percent allows, in parts per million. `None` if it is no number from 50 to 99.9999 with at most
/// four decimals.
pub fn allowed_ppm(percent: &str) -> Option<u32> {
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || whole.len() > 3 || decimals.len() > 4 {
        return None;
    }
    let good: u32 = format!("{whole}{decimals:0<4}").parse().ok()?;
    1_000_000_u32.checked_sub(good).filter(|ppm| (1..=Objective::ALLOWED_PPM_MAX).contains(ppm))
}
