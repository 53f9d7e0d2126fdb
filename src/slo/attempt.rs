//! Attempts to connect: one outcome for each, whatever happens.
//!
//! An attempt begins when the head of a well-formed upgrade of `/ws` is complete. Its time is the gateway's alone: the wait for the
//! client's `connect` is left out, because a slow network is not the gateway's fault.

use super::part::{BadCause, Exclusion, SloOutcome};
use crate::close::CloseReason;
use std::time::Duration;

/// An attempt that is `connected` later than this is bad.
pub const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
/// A client that must wait longer than this before it returns, in milliseconds, found no room.
pub const DEFERRED_MS_MAX: u32 = 5_000;
/// The longest wait that one refusal counts with, in milliseconds.
pub const WAIT_MS_MAX: u32 = 15_000;
/// The setting that an upgrade over the rate of admissions exceeds.
pub const ADMISSIONS: &str = "limits.admissions_per_s";
/// The bound of a user, not of the gateway.
const USER_BOUND: &str = "limits.connections_per_user";
/// The dependency that judges tokens.
const AUTH: &str = "auth";

/// The side whose turn it is in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedSide {
    /// The client has to send `connect`.
    Client,
    /// The gateway has to answer.
    Gateway,
}

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// An operator or a supervisor asked for it.
    Requested,
    /// It failed.
    Failed,
}

/// The outcome of an attempt that became `connected` after `took`.
pub fn connected(took: Duration) -> SloOutcome {
    if took <= CONNECTED_WITHIN { SloOutcome::Good } else { SloOutcome::Bad(BadCause::Late) }
}

/// The outcome if the client left, or its connection broke.
pub fn left(awaited: AwaitedSide, took: Duration) -> SloOutcome {
    match awaited {
        AwaitedSide::Gateway if took > CONNECTED_WITHIN => SloOutcome::Bad(BadCause::Late),
        AwaitedSide::Client | AwaitedSide::Gateway => SloOutcome::Excluded(Exclusion::Left),
    }
}

/// The outcome for a client that is given a time to return, in milliseconds, because handshakes are admitted at a bounded rate.
fn deferred(retry_ms: u32) -> SloOutcome {
    if retry_ms <= DEFERRED_MS_MAX {
        SloOutcome::Excluded(Exclusion::Deferred)
    } else {
        SloOutcome::Bad(BadCause::Capacity)
    }
}

/// The outcome if the gateway ends the connection before it was `connected`.
pub fn closed(reason: &CloseReason, awaited: AwaitedSide, took: Duration, stop: StopCause) -> SloOutcome {
    match reason {
        CloseReason::Answered(_) => left(awaited, took),
        CloseReason::Unavailable { dependency, .. } if dependency == AUTH => {
            SloOutcome::Bad(BadCause::Unjudged)
        }
        CloseReason::Unavailable { .. } => SloOutcome::Bad(BadCause::Unavailable),
        CloseReason::Restart { .. } => match stop {
            StopCause::Requested => SloOutcome::Excluded(Exclusion::Drain),
            StopCause::Failed => SloOutcome::Bad(BadCause::Fault),
        },
        CloseReason::OverCapacity { bound, .. } if *bound == USER_BOUND => {
            SloOutcome::Excluded(Exclusion::ClientLimit)
        }
        CloseReason::OverCapacity { bound, retry_ms } if *bound == ADMISSIONS => deferred(*retry_ms),
        // It had its time to send `connect`, and gives way to others.
        CloseReason::OverCapacity { .. } if awaited == AwaitedSide::Client => {
            SloOutcome::Excluded(Exclusion::Client)
        }
        CloseReason::OverCapacity { .. } => SloOutcome::Bad(BadCause::Capacity),
        CloseReason::RateLimited { .. } => SloOutcome::Excluded(Exclusion::ClientLimit),
        CloseReason::ProtocolError(_)
        | CloseReason::InvalidUtf8
        | CloseReason::TooBig(_)
        | CloseReason::ConnectTimeout
        | CloseReason::NoSignOfLife
        | CloseReason::MessageTimeout
        | CloseReason::WriteStalled
        | CloseReason::TooEarly { .. }
        | CloseReason::Disconnected { .. }
        | CloseReason::Misuse(_)
        | CloseReason::Unauthenticated(_)
        | CloseReason::Blocked { .. }
        | CloseReason::Forbidden(_)
        | CloseReason::UnsupportedVersion
        | CloseReason::OriginForbidden(_)
        | CloseReason::HostForbidden => SloOutcome::Excluded(Exclusion::Client),
    }
}

/// The outcome of the wait that a refused client was given, in the part `session`; `None` if the refusal is the client's own doing.
pub fn wait(outcome: SloOutcome) -> Option<SloOutcome> {
    match outcome {
        SloOutcome::Bad(_) | SloOutcome::Excluded(Exclusion::Drain) => Some(outcome),
        SloOutcome::Excluded(Exclusion::Deferred) => Some(SloOutcome::Bad(BadCause::Capacity)),
        SloOutcome::Good
        | SloOutcome::Excluded(
            Exclusion::Client
            | Exclusion::ClientLimit
            | Exclusion::Left
            | Exclusion::PeerGone
            | Exclusion::SlowReader
            | Exclusion::Clock,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::Comeback;
    use std::sync::Arc;

    const SOON: Duration = Duration::from_millis(40);
    const LATE: Duration = Duration::from_millis(2_001);

    fn unavailable(dependency: &str) -> CloseReason {
        CloseReason::Unavailable {
            dependency: dependency.into(),
            retry_ms: 1_000,
            reference: "k3f9x2".into(),
            message: "".into(),
        }
    }

    #[test]
    fn gateway_answers_for_its_own_time_and_room() {
        assert_eq!(connected(CONNECTED_WITHIN), SloOutcome::Good);
        assert_eq!(connected(LATE), SloOutcome::Bad(BadCause::Late));
        let at = |reason: &CloseReason, stop| closed(reason, AwaitedSide::Gateway, SOON, stop);
        let full = CloseReason::OverCapacity { bound: "limits.connections", retry_ms: 1 };
        let restart = CloseReason::Restart { retry_ms: 1 };
        let deferred =
            |retry_ms| at(&CloseReason::OverCapacity { bound: ADMISSIONS, retry_ms }, StopCause::Requested);
        assert_eq!(deferred(DEFERRED_MS_MAX), SloOutcome::Excluded(Exclusion::Deferred));
        assert_eq!(deferred(DEFERRED_MS_MAX + 1), SloOutcome::Bad(BadCause::Capacity));
        let cases = [
            (at(&unavailable("store"), StopCause::Requested), BadCause::Unavailable),
            (at(&unavailable("auth"), StopCause::Requested), BadCause::Unjudged),
            (at(&full, StopCause::Requested), BadCause::Capacity),
            (at(&restart, StopCause::Failed), BadCause::Fault),
        ];
        for (outcome, cause) in cases {
            assert_eq!(outcome, SloOutcome::Bad(cause));
        }
        assert_eq!(at(&restart, StopCause::Requested), SloOutcome::Excluded(Exclusion::Drain));
    }

    #[test]
    fn client_that_leaves_counts_only_after_the_gateway_was_late() {
        for reason in [None, Some(CloseReason::Answered(1001))] {
            let outcome = |awaited, took| match &reason {
                None => left(awaited, took),
                Some(reason) => closed(reason, awaited, took, StopCause::Requested),
            };
            assert_eq!(outcome(AwaitedSide::Gateway, SOON), SloOutcome::Excluded(Exclusion::Left));
            assert_eq!(outcome(AwaitedSide::Gateway, LATE), SloOutcome::Bad(BadCause::Late));
            assert_eq!(outcome(AwaitedSide::Client, LATE), SloOutcome::Excluded(Exclusion::Left));
        }
    }

    #[test]
    fn client_that_misbehaves_or_uses_up_its_own_bound_is_excluded() {
        let message = Arc::from("");
        for reason in [
            CloseReason::Unauthenticated("the token expired"),
            CloseReason::ConnectTimeout,
            CloseReason::Disconnected { message, comeback: Comeback::Unwanted },
            CloseReason::HostForbidden,
        ] {
            let outcome = closed(&reason, AwaitedSide::Gateway, LATE, StopCause::Requested);
            assert_eq!(outcome, SloOutcome::Excluded(Exclusion::Client), "{reason:?}");
        }
        let own = CloseReason::OverCapacity { bound: USER_BOUND, retry_ms: 1 };
        let outcome = closed(&own, AwaitedSide::Gateway, SOON, StopCause::Requested);
        assert_eq!(outcome, SloOutcome::Excluded(Exclusion::ClientLimit));
        // A connection that says nothing gives way to others.
        let displaced = CloseReason::OverCapacity { bound: "limits.connections", retry_ms: 1 };
        let outcome = closed(&displaced, AwaitedSide::Client, SOON, StopCause::Requested);
        assert_eq!(outcome, SloOutcome::Excluded(Exclusion::Client));
    }

    #[test]
    fn wait_of_a_refused_client_is_the_gateways_unless_the_refusal_is_the_clients() {
        let unavailable = SloOutcome::Bad(BadCause::Unavailable);
        assert_eq!(wait(unavailable), Some(unavailable));
        assert_eq!(
            wait(SloOutcome::Excluded(Exclusion::Deferred)),
            Some(SloOutcome::Bad(BadCause::Capacity))
        );
        let drain = SloOutcome::Excluded(Exclusion::Drain);
        assert_eq!(wait(drain), Some(drain));
        for outcome in [SloOutcome::Good, SloOutcome::Excluded(Exclusion::Client)] {
            assert_eq!(wait(outcome), None);
        }
    }
}
