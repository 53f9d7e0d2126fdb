//! The judge: whether a tier is over.

use super::guard::Guard;
use super::history::{PartHistory, WindowSums};
use super::objective::{Counting, Objective};
use super::tier::Tier;

/// With fewer groups of users each group is the service.
const GROUPS_MIN: u32 = 3;

/// True exactly if both windows reach the threshold, both counts are significant, and half of the threshold is reached in the long
/// window without the group of users that had most bad events.
pub fn is_over(history: &PartHistory, objective: &Objective, tier: &Tier) -> bool {
    let (long, short) = (history.window(tier.long_s), history.short_window(tier));
    let threshold = u64::from(tier.threshold_ppm);
    let burns = |sums: &WindowSums| reaches(history.counting, sums, sums.bad, threshold);
    burns(&short)
        && burns(&long)
        && Guard::Short.passes(short.bad, short.valid, objective.allowed_ppm)
        && Guard::Long.passes(long.bad, long.valid, objective.allowed_ppm)
        && is_shared(history, objective, tier, &long)
}

/// True exactly if both windows reach half of the threshold: enough to keep an incident, and not to begin one.
pub fn is_near(history: &PartHistory, tier: &Tier) -> bool {
    let half = u64::from(tier.threshold_ppm / 2);
    let reaches_half = |sums: &WindowSums| reaches(history.counting, sums, sums.bad, half);
    reaches_half(&history.short_window(tier)) && reaches_half(&history.window(tier.long_s))
}

/// False if most bad events come from one group of users.
fn is_shared(history: &PartHistory, objective: &Objective, tier: &Tier, long: &WindowSums) -> bool {
    let fullest = history.fullest_bucket(tier.long_s);
    if fullest.active < GROUPS_MIN {
        return true;
    }
    let others = long.bad.saturating_sub(fullest.bad);
    reaches(history.counting, long, others, u64::from(tier.threshold_ppm / 2))
        && Guard::Long.passes(others, long.valid, objective.allowed_ppm)
}

/// True exactly if `bad` of the window's bad events are at least this share of the window.
fn reaches(counting: Counting, sums: &WindowSums, bad: u64, threshold_ppm: u64) -> bool {
    let (found, all) = match counting {
        Counting::Events => (u128::from(bad) * 1_000_000, u128::from(sums.valid)),
        Counting::Looks => {
            let share = u128::from(sums.bad_looks_ppm) * u128::from(bad);
            (share.checked_div(u128::from(sums.bad)).unwrap_or(0), u128::from(sums.looks))
        }
    };
    bad > 0 && found >= u128::from(threshold_ppm) * all
}
