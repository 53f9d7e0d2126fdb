//! The problems of commands: the codes and texts that clients get for the same errors.

use crate::session::StreamRefusal;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::api::streamed::BodyFault;
use crate::wire::command::{CommandFault, Rejected};
use crate::wire::stream::{StreamFault, StreamId};

/// When to send a command again whose outcome is not known, in milliseconds.
pub(super) const LATE_RETRY_MS: u32 = 1_000;

/// The fault of a body.
pub(super) fn of_body(fault: BodyFault) -> ApiProblem {
    let code = match fault {
        BodyFault::ChunkSize | BodyFault::ChunkEnd | BodyFault::Trailers => ProblemCode::Malformed,
        BodyFault::LineTooLong => ProblemCode::TooLarge,
    };
    ApiProblem::lasting(code, fault.detail())
}

/// The fault of a line.
pub(super) fn of_line(rejected: Rejected) -> ApiProblem {
    let code = match rejected.fault {
        CommandFault::Malformed => ProblemCode::Malformed,
        CommandFault::UnknownCommand => ProblemCode::UnknownCommand,
        CommandFault::TooLarge => ProblemCode::TooLarge,
    };
    ApiProblem::lasting(code, rejected.message)
}

/// The refusal of a command about a stream.
pub(super) fn of_stream(refusal: StreamRefusal, id: &StreamId) -> ApiProblem {
    let detail = match refusal {
        StreamRefusal::Fault(StreamFault::NotAuthor) => {
            "the stream is another user's; name that user in user, with a key that has as_user = true"
        }
        StreamRefusal::Off | StreamRefusal::Fault(_) | StreamRefusal::Unconfirmed { .. } => refusal.message(),
    };
    let fault = match refusal {
        StreamRefusal::Fault(fault) => Some(fault),
        StreamRefusal::Off | StreamRefusal::Unconfirmed { .. } => None,
    };
    let problem = ApiProblem::lasting(ProblemCode::of(refusal.code()), detail);
    let (retry_ms, dependency) = (refusal.retry_ms(), refusal.dependency());
    ApiProblem { retry_ms, dependency, ..problem }.of_stream(id.clone(), fault)
}
