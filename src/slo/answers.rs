//! Answers of backends: how they end, and how soon they begin.
//!
//! An answer has one event when it ends, and one when its first piece is stored. If it ends without a piece, that is the second event,
//! because a person who gives up after a minute has waited for a minute.

use super::part::{BadCause, Exclusion, SloOutcome};
use crate::wire::stream::{EndCause, StreamEnd};
use std::time::Duration;

/// The outcome of an answer that has ended. A user who cancels has what the user wanted.
pub fn ended(end: StreamEnd, cause: Option<EndCause>) -> SloOutcome {
    match (end, cause) {
        (StreamEnd::Completed | StreamEnd::Cancelled, _) => SloOutcome::Good,
        (StreamEnd::Failed, Some(EndCause::NotDelivered)) => SloOutcome::Bad(BadCause::NotDelivered),
        (StreamEnd::Failed, _) => SloOutcome::Bad(BadCause::Failed),
        (StreamEnd::Interrupted, _) => SloOutcome::Bad(BadCause::Interrupted),
        (StreamEnd::Replaced | StreamEnd::Deleted, _) => SloOutcome::Excluded(Exclusion::Client),
    }
}

/// The outcome of a first piece that is stored after this time.
pub fn heard(waited: Duration, within: Duration) -> SloOutcome {
    if waited <= within { SloOutcome::Good } else { SloOutcome::Bad(BadCause::Late) }
}

/// The outcome of an answer that ends without a piece after this time.
pub fn unheard(waited: Duration, within: Duration) -> SloOutcome {
    match heard(waited, within) {
        SloOutcome::Good => SloOutcome::Excluded(Exclusion::Left),
        late => late,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::SloPart;

    #[test]
    fn answer_is_good_if_its_users_have_what_they_wanted() {
        use EndCause::{Damaged, Idle, Life, NotDelivered, ProducerLost, Refused};
        let bad = |cause, of: &[(StreamEnd, Option<EndCause>)]| {
            for (end, by) in of {
                assert_eq!(ended(*end, *by), SloOutcome::Bad(cause), "{end:?} {by:?}");
            }
        };
        assert_eq!(ended(StreamEnd::Completed, None), SloOutcome::Good);
        assert_eq!(ended(StreamEnd::Cancelled, None), SloOutcome::Good);
        let failed = [None, Some(Refused), Some(Damaged)].map(|cause| (StreamEnd::Failed, cause));
        bad(BadCause::Failed, &failed);
        bad(BadCause::NotDelivered, &[(StreamEnd::Failed, Some(NotDelivered))]);
        let lost = [ProducerLost, Idle, Life].map(|cause| (StreamEnd::Interrupted, Some(cause)));
        bad(BadCause::Interrupted, &lost);
        for end in [StreamEnd::Replaced, StreamEnd::Deleted] {
            assert_eq!(ended(end, None), SloOutcome::Excluded(Exclusion::Client), "{end:?}");
        }
    }

    #[test]
    fn wait_is_late_above_its_bound_and_counts_without_a_piece_only_if_late() {
        let (ms, within) = (Duration::from_millis, Duration::from_secs(10));
        assert_eq!(
            (heard(within, within), unheard(within, within)),
            (SloOutcome::Good, SloOutcome::Excluded(Exclusion::Left))
        );
        let late = SloOutcome::Bad(BadCause::Late);
        assert_eq!((heard(ms(10_001), within), unheard(ms(10_001), within)), (late, late));
    }

    #[test]
    fn parts_name_every_outcome() {
        for end in StreamEnd::ALL {
            for cause in [None, Some(EndCause::NotDelivered)] {
                match ended(end, cause) {
                    SloOutcome::Good => {}
                    SloOutcome::Bad(cause) => assert!(SloPart::Answer.causes().contains(&cause)),
                    SloOutcome::Excluded(reason) => assert!(SloPart::Answer.exclusions().contains(&reason)),
                }
            }
        }
        assert_eq!(
            (SloPart::Piece.causes(), SloPart::Piece.exclusions()),
            (&[BadCause::Late][..], &[Exclusion::Left][..])
        );
    }
}
