//! Publications on their way to live subscribers: how soon each reaches the outbox of its subscriber.
//!
//! The time of a commit is the store's, in milliseconds of its clock. A clock that is a little ahead of ours makes no delivery bad; one
//! that is far ahead says nothing about the time that a delivery took.

use super::part::{BadCause, Exclusion, SloOutcome};

/// A delivery that comes later is bad in `latency`, in milliseconds.
pub const SOON_MS: u64 = 2_000;
/// A delivery that comes later is bad in `delivery`, in milliseconds.
pub const DELIVERED_MS: u64 = 30_000;
/// The store's clock may be ahead of ours by this, in milliseconds.
pub const AHEAD_MS_MAX: u64 = 500;

/// The time from a commit to now, in milliseconds; `None` if the clocks do not tell.
pub fn age_ms(committed_ms: u64, now_ms: u64) -> Option<u64> {
    (committed_ms <= now_ms.saturating_add(AHEAD_MS_MAX)).then(|| now_ms.saturating_sub(committed_ms))
}

/// The outcome of a delivery within a bound.
pub fn outcome(age_ms: Option<u64>, within_ms: u64) -> SloOutcome {
    match age_ms {
        None => SloOutcome::Excluded(Exclusion::Clock),
        Some(age_ms) if age_ms <= within_ms => SloOutcome::Good,
        Some(_) => SloOutcome::Bad(BadCause::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_is_late_after_its_bound_and_excluded_if_its_commit_is_in_the_future() {
        let outcome = |committed_ms, within_ms| outcome(age_ms(committed_ms, 100_000), within_ms);
        let clock = SloOutcome::Excluded(Exclusion::Clock);
        for (committed_ms, of_delivery, of_latency) in [
            (98_000, SloOutcome::Good, SloOutcome::Good),
            (97_999, SloOutcome::Good, SloOutcome::Bad(BadCause::Late)),
            (70_000, SloOutcome::Good, SloOutcome::Bad(BadCause::Late)),
            (69_999, SloOutcome::Bad(BadCause::Late), SloOutcome::Bad(BadCause::Late)),
            (100_500, SloOutcome::Good, SloOutcome::Good),
            (100_501, clock, clock),
            (u64::MAX, clock, clock),
        ] {
            assert_eq!(outcome(committed_ms, DELIVERED_MS), of_delivery, "{committed_ms}");
            assert_eq!(outcome(committed_ms, SOON_MS), of_latency, "{committed_ms}");
        }
    }
}
