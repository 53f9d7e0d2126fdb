//! Ends of sessions: whether their clients could know why.

use super::part::{BadCause, Exclusion, SloOutcome};
use crate::close::CloseReason;

/// The debt of the end of a session that was `connected` to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndingRule {
    /// The client ended it, so nothing is owed and nothing is counted.
    ByClient,
    /// A reason that the socket must take before the connection is given up.
    OwesReason,
    /// No word could reach the client.
    Unreachable,
}

/// The rule for a session that the gateway ends.
pub const fn rule(reason: &CloseReason) -> EndingRule {
    match reason {
        CloseReason::Answered(_) => EndingRule::ByClient,
        CloseReason::NoSignOfLife | CloseReason::WriteStalled => EndingRule::Unreachable,
        CloseReason::ProtocolError(_)
        | CloseReason::InvalidUtf8
        | CloseReason::TooBig(_)
        | CloseReason::Unavailable { .. }
        | CloseReason::Restart { .. }
        | CloseReason::OverCapacity { .. }
        | CloseReason::ConnectTimeout
        | CloseReason::MessageTimeout
        | CloseReason::RateLimited { .. }
        | CloseReason::TooEarly { .. }
        | CloseReason::Disconnected { .. }
        | CloseReason::Misuse(_)
        | CloseReason::Unauthenticated(_)
        | CloseReason::Blocked { .. }
        | CloseReason::Forbidden(_)
        | CloseReason::UnsupportedVersion
        | CloseReason::OriginForbidden(_)
        | CloseReason::HostForbidden => EndingRule::OwesReason,
    }
}

/// How a connection ended to which a reason was owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonFate {
    /// The socket took it.
    Sent,
    /// The connection broke, or its peer reads nothing.
    PeerGone,
    /// The gateway gave the connection up before.
    GivenUp,
}

impl ReasonFate {
    pub const fn outcome(self) -> SloOutcome {
        match self {
            ReasonFate::Sent => SloOutcome::Good,
            ReasonFate::PeerGone => SloOutcome::Excluded(Exclusion::PeerGone),
            ReasonFate::GivenUp => SloOutcome::Bad(BadCause::Unexplained),
        }
    }
}
