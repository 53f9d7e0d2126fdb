//! The `error` frame: the reason why a command was refused.

/// The refusal of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError<'a> {
    pub code: ErrorCode,
    /// The dependency that caused the error, if any.
    pub dependency: Option<&'a str>,
    /// When to retry, for `rate_limited` and the last four codes.
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
}

impl ErrorCode {
    /// All of them, in the order of [`ErrorCode::index`].
    pub const ALL: [ErrorCode; 13] = [
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
        }
    }
}
