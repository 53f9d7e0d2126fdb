//! One exclusion: a time whose events do not count, and its bounds.

use super::calendar::{QUARTER_MS, QUARTERS_PER_DAY};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest reason, in bytes.
pub const WHY_BYTES_MAX: usize = 200;
const DAY_MS: u64 = QUARTERS_PER_DAY * QUARTER_MS;
/// The longest exclusion, in milliseconds.
const LENGTH_MS_MAX: u64 = DAY_MS;
/// An exclusion begins at most this long after it is added, or before, in milliseconds.
const AHEAD_MS_MAX: u64 = 30 * DAY_MS;
const BACK_MS_MAX: u64 = 35 * DAY_MS;

/// A time whose events do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetExclusion {
    /// 1, 2, 3 … of the data folder, or of the store that instances share.
    pub number: u64,
    /// `None`: of all objectives.
    pub objective: Option<String>,
    /// Whole quarters of an hour, in Unix milliseconds.
    pub from_ms: u64,
    pub until_ms: u64,
    /// For the readers of reports.
    pub why: String,
    /// The address that it was added from, and the time, in Unix milliseconds.
    pub by: String,
    pub at_ms: u64,
}

/// Why an exclusion is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusionFault {
    NoQuarters,
    Backwards,
    TooLong,
    TooFarAhead,
    TooFarBack,
    NoReason,
    TooMany,
}

impl fmt::Display for ExclusionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExclusionFault::NoQuarters => {
                "from and until must be whole quarters of an hour, like 02:00 and 02:15: counts are kept by quarter"
            }
            ExclusionFault::Backwards => "until must be later than from",
            ExclusionFault::TooLong => "an exclusion has at most 24 hours: add one for each day",
            ExclusionFault::TooFarAhead => "from must be within the next 30 days: add the exclusion later",
            ExclusionFault::TooFarBack => "from must be within the last 35 days: older weeks were reported",
            ExclusionFault::NoReason => "why must be text of 1 to 200 bytes: reports print it",
            ExclusionFault::TooMany => "there are 100 exclusions of the last 100 days and later: remove one first",
        })
    }
}

impl BudgetExclusion {
    pub(super) fn covers(&self, objective: &str, quarter_ms: u64) -> bool {
        (self.from_ms..self.until_ms).contains(&quarter_ms)
            && self.objective.as_deref().is_none_or(|own| own == objective)
    }

    pub(super) fn check(&self) -> Result<(), ExclusionFault> {
        let BudgetExclusion { from_ms, until_ms, at_ms, .. } = *self;
        let is_reason =
            (1..=WHY_BYTES_MAX).contains(&self.why.len()) && !self.why.chars().any(char::is_control);
        let checks = [
            (
                from_ms.is_multiple_of(QUARTER_MS) && until_ms.is_multiple_of(QUARTER_MS),
                ExclusionFault::NoQuarters,
            ),
            (until_ms > from_ms, ExclusionFault::Backwards),
            (until_ms <= from_ms.saturating_add(LENGTH_MS_MAX), ExclusionFault::TooLong),
            (from_ms <= at_ms.saturating_add(AHEAD_MS_MAX), ExclusionFault::TooFarAhead),
            (from_ms.saturating_add(BACK_MS_MAX) >= at_ms, ExclusionFault::TooFarBack),
            (is_reason, ExclusionFault::NoReason),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, fault)| Err(fault))
    }
}
