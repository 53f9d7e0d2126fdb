//! The decisions within one attempt to send a publication, by the outcomes of the orders about its answer.
//!
//! `None` for an outcome means that the store did not say what became of the order. The order may have been carried out.
//!
//! An order that found no room, or came while an end was being stored that then was not, is refused as overloaded. That says nothing of
//! the answer, so the order is [repeated](is_repeated).

use crate::wire::stream::{Generation, StreamFault, StreamOutcome};
use std::time::Duration;

/// The part of a lease that is left for the connection to the backend.
const CONNECT_RESERVE: Duration = Duration::from_secs(5);

/// The next step of an attempt that may repeat a request, after the answer was to begin another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatStep {
    /// The request is sent with this generation, which an earlier run of the backend does not have.
    Send(Generation),
    /// The answer has ended, or ends. The next claim skips the question, unless it may still be answered.
    Release,
    /// Nothing is sent, because an earlier run might write into the same generation.
    Again,
}

/// The next step after a backend took a question whose answer is to say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenStep {
    /// The response is read.
    Read,
    /// The answer takes no more, and the backend has the question all the same.
    Skip,
    /// It is not known if the store has it, so the question is sent again.
    Again,
}

/// The next step of a publication that is given up, after its answer was to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadStep {
    /// It becomes a dead letter: no reader waits for its answer.
    Bury,
    /// It is not known if the answer has ended.
    Again,
}

/// True if a question of this time is not sent any more. Times are in Unix milliseconds.
pub fn is_given_up(question_ms: u64, give_up: Duration, now_ms: u64) -> bool {
    let give_up_ms = u64::try_from(give_up.as_millis()).unwrap_or(u64::MAX);
    question_ms.saturating_add(give_up_ms) <= now_ms
}

/// True while the lease of a claim lasts, this long after the claim was asked for, which is before its lease began. After that another
/// process may have given the publication up, or be further: nothing is sent (R2).
pub fn is_held(since_asked: Duration, lease: Duration) -> bool {
    since_asked < lease.saturating_sub(CONNECT_RESERVE)
}

/// True if an order with this outcome is to be given again.
pub fn is_repeated(outcome: Option<&StreamOutcome>) -> bool {
    match outcome {
        None
        | Some(
            StreamOutcome::Unavailable { .. }
            | StreamOutcome::Unconfirmed { .. }
            | StreamOutcome::Refused(StreamFault::Overloaded { .. } | StreamFault::ChannelFull { .. }),
        ) => true,
        Some(
            StreamOutcome::Refused(
                StreamFault::Stale { .. }
                | StreamFault::Gap { .. }
                | StreamFault::Diverged { .. }
                | StreamFault::AlreadyEnded { .. }
                | StreamFault::TooLarge
                | StreamFault::NotFound
                | StreamFault::NotAuthor
                | StreamFault::NoGeneration,
            )
            | StreamOutcome::Appended { .. }
            | StreamOutcome::Restarted { .. }
            | StreamOutcome::Ended { .. }
            | StreamOutcome::Cancelling
            | StreamOutcome::Processing { .. },
        ) => false,
    }
}

/// Decides by the outcome of a restart.
pub fn before_repeat(restarted: Option<&StreamOutcome>) -> RepeatStep {
    match restarted {
        Some(StreamOutcome::Restarted { generation, .. }) => RepeatStep::Send(*generation),
        Some(
            StreamOutcome::Refused(StreamFault::AlreadyEnded { .. } | StreamFault::NotFound)
            | StreamOutcome::Ended { .. }
            | StreamOutcome::Cancelling,
        ) => RepeatStep::Release,
        Some(
            StreamOutcome::Refused(_)
            | StreamOutcome::Appended { .. }
            | StreamOutcome::Processing { .. }
            | StreamOutcome::Unavailable { .. }
            | StreamOutcome::Unconfirmed { .. },
        )
        | None => RepeatStep::Again,
    }
}

/// Decides by the outcome of the order that makes an answer `processing`.
pub fn after_taken(processing: Option<&StreamOutcome>) -> TakenStep {
    if is_repeated(processing) {
        return TakenStep::Again;
    }
    let is_open = matches!(processing, Some(StreamOutcome::Processing { .. }));
    if is_open { TakenStep::Read } else { TakenStep::Skip }
}

/// Decides by the outcome of the order that fails an answer.
pub fn after_failed(failed: Option<&StreamOutcome>) -> DeadStep {
    if is_repeated(failed) { DeadStep::Again } else { DeadStep::Bury }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Offset;
    use crate::wire::stream::{Position, StreamEnd};

    const UNKNOWN: [Option<StreamOutcome>; 4] = [
        None,
        Some(StreamOutcome::Refused(StreamFault::Overloaded { retry_ms: 1 })),
        Some(StreamOutcome::Unavailable { retry_ms: 1 }),
        Some(StreamOutcome::Unconfirmed { retry_ms: 1 }),
    ];

    fn ended() -> StreamOutcome {
        let (end, edit) = (StreamEnd::Cancelled, Offset(7));
        StreamOutcome::Refused(StreamFault::AlreadyEnded { end, edit })
    }

    #[test]
    fn nothing_is_sent_when_the_lease_may_be_over() {
        let lease = Duration::from_secs(30);
        let held: Vec<u64> =
            (0..60).filter(|seconds| is_held(Duration::from_secs(*seconds), lease)).collect();
        assert_eq!(held, (0..25).collect::<Vec<_>>());
    }

    #[test]
    fn order_that_may_not_be_done_neither_sends_nor_settles() {
        for outcome in UNKNOWN {
            assert!(is_repeated(outcome.as_ref()));
            assert_eq!(before_repeat(outcome.as_ref()), RepeatStep::Again);
            assert_eq!(after_taken(outcome.as_ref()), TakenStep::Again);
            assert_eq!(after_failed(outcome.as_ref()), DeadStep::Again);
        }
    }

    #[test]
    fn repeat_is_sent_with_the_generation_that_began_and_not_for_an_answer_that_ended() {
        let restarted = StreamOutcome::Restarted { generation: Generation(3), next: Position::ZERO };
        assert_eq!(before_repeat(Some(&restarted)), RepeatStep::Send(Generation(3)));
        assert_eq!(before_repeat(Some(&ended())), RepeatStep::Release);
        let refused = StreamOutcome::Refused(StreamFault::TooLarge);
        assert_eq!(before_repeat(Some(&refused)), RepeatStep::Again);
    }

    #[test]
    fn answer_that_ended_is_not_read_and_needs_no_other_end() {
        assert_eq!(after_taken(Some(&ended())), TakenStep::Skip);
        let processing = StreamOutcome::Processing { generation: Generation::FIRST };
        assert_eq!(after_taken(Some(&processing)), TakenStep::Read);
        assert_eq!(after_failed(Some(&ended())), DeadStep::Bury);
        assert!(!is_repeated(Some(&ended())) && !is_repeated(Some(&processing)));
    }

    #[test]
    fn question_is_given_up_from_its_time_on() {
        let is_given_up = |now_ms| is_given_up(1_000, Duration::from_millis(500), now_ms);
        assert!(!is_given_up(1_499) && is_given_up(1_500));
        assert!(!super::is_given_up(u64::MAX - 1, Duration::MAX, u64::MAX - 1));
    }
}
