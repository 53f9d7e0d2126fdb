//! The `error` frame: the reason why a command was refused.

use super::framing::frame;
use crate::id::CommandId;
use crate::wire::json;

/// The refusal of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError<'a> {
    pub code: ErrorCode,
    /// The dependency that caused the error, if any.
    pub dependency: Option<&'a str>,
    /// When to retry, for `rate_limited` and the codes from `unavailable` to `unconfirmed`.
    pub retry_ms: Option<u32>,
    /// A sentence that names the field, the bound and what to do.
    pub message: &'a str,
}

/// The error codes of `docs/protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is its own name in snake case, explained in docs/protocol.md")]
pub enum ErrorCode {
    Malformed,
    UnknownCommand,
    Unauthorized,
    Forbidden,
    NotSubscribed,
    TooLarge,
    RateLimited,
    NotFound,
    KeyConflict,
    Unavailable,
    Overloaded,
    Draining,
    Unconfirmed,
    Stale,
    Gap,
    Diverged,
    Ended,
}

impl ErrorCode {
    /// All of them, in the order of [`ErrorCode::index`].
    pub const ALL: [ErrorCode; 17] = [
        ErrorCode::Malformed,
        ErrorCode::UnknownCommand,
        ErrorCode::Unauthorized,
        ErrorCode::Forbidden,
        ErrorCode::NotSubscribed,
        ErrorCode::TooLarge,
        ErrorCode::RateLimited,
        ErrorCode::NotFound,
        ErrorCode::KeyConflict,
        ErrorCode::Unavailable,
        ErrorCode::Overloaded,
        ErrorCode::Draining,
        ErrorCode::Unconfirmed,
        ErrorCode::Stale,
        ErrorCode::Gap,
        ErrorCode::Diverged,
        ErrorCode::Ended,
    ];

    /// The index in [`ErrorCode::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The code in the `error` frame.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::Malformed => "malformed",
            ErrorCode::UnknownCommand => "unknown_command",
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::NotSubscribed => "not_subscribed",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::NotFound => "not_found",
            ErrorCode::KeyConflict => "key_conflict",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Overloaded => "overloaded",
            ErrorCode::Draining => "draining",
            ErrorCode::Unconfirmed => "unconfirmed",
            ErrorCode::Stale => "stale",
            ErrorCode::Gap => "gap",
            ErrorCode::Diverged => "diverged",
            ErrorCode::Ended => "ended",
        }
    }
}

/// Appends an `error`; without `id` if none could be read.
pub fn error(out: &mut Vec<u8>, id: Option<CommandId>, error: &CommandError<'_>) {
    frame(out, |out| {
        if let Some(id) = id {
            json::integer(out, "id", id.0);
        }
        json::key(out, "error");
        json::object(out, |out| {
            json::text(out, "code", error.code.as_str());
            error_rest(out, error);
        });
    });
}

/// Appends the members of an `error` after those of its code.
pub(super) fn error_rest(out: &mut Vec<u8>, error: &CommandError<'_>) {
    if let Some(dependency) = error.dependency {
        json::text(out, "dependency", dependency);
    }
    if let Some(retry_ms) = error.retry_ms {
        json::integer(out, "retry_ms", retry_ms.into());
    }
    json::text(out, "message", error.message);
}
