//! Service level objectives: how many bad events are allowed, and how soon an alert notifies when they are too many.
//!
//! An [`Objective`] allows a share of bad events over a period; that is its *budget*. The *burn rate* is the share of bad events
//! over the allowed share: at 1 a period spends exactly its budget. A [`Tier`] is two windows and a burn rate; it is over while both
//! windows burn at least that fast (multi-window, multi-burn-rate alerts: Google, "The Site Reliability Workbook", chapter 5).
//! [`judge`] adds two conditions, so that few events and single clients are no reason for a notice: bad events must be more than chance explains
//! ([`guard`]), and the tier must hold without the group of users that has most of them.
//!
//! A [`SloPart`] is a stream of events of an objective. [`attempt`], [`ending`] and [`messages`] decide what each event counts as.
//!
//! Counts are integers, ratios are parts per million, and comparisons multiply crosswise, so that all instances have the same
//! result. [`simulate`] draws traffic and asks the same judge; only there are numbers rounded.

pub mod answers;
pub mod attempt;
pub mod budget_exclusion;
pub mod burn;
pub mod calendar;
pub mod canary;
pub mod canary_round;
pub mod counts_row;
pub mod deployment;
pub mod ending;
pub mod exclusion;
pub mod export;
pub mod fan_out;
pub mod guard;
pub mod history;
pub mod import;
pub mod instance_health;
pub mod instance_watch;
pub mod judge;
pub mod messages;
pub mod minute_row;
pub mod objective;
pub mod part;
pub mod report;
pub mod returns;
pub mod run_counts;
pub mod scoreboard;
pub mod simulate;
pub mod small_row;
pub mod store_clock;
#[cfg(test)]
mod tests;
pub mod tier;
pub mod timeline;
pub mod trend;
pub mod weekly;
pub mod weekly_rows;
pub mod weekly_text;

pub use history::{PartHistory, SlotCounts};
pub use objective::{Counting, Objective};
pub use part::{BadCause, Exclusion, SloOutcome, SloPart};
pub use tier::{Tier, Urgency};
