//! Why a command is refused, and the one place that turns a reason into a code and a sentence.

use super::policy::Policy;
use crate::id::CommandId;
use crate::wire::command::{Fault, Rejected};
use crate::wire::push::{self, CommandError, ErrorCode};

/// A reason to refuse a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// The frame is no command.
    Rejected(&'a Rejected),
    /// `connect` a second time.
    ConnectedAlready,
    /// No right on that channel; the word is the right.
    Forbidden(&'static str),
    /// `unsubscribe` or `signal` without a subscription.
    NotSubscribed,
    /// A subscription ended before it began.
    Abandoned,
    /// `limits.subscriptions` is reached.
    Subscriptions,
    /// `limits.publishes_per_s` is exceeded.
    PublishRate {
        /// When the next one is admitted.
        retry_ms: u32,
    },
    /// `limits.commands_per_s` is exceeded.
    CommandRate {
        /// When the next one is admitted.
        retry_ms: u32,
    },
    /// `limits.pending` is reached.
    Pending,
    /// Too many history pages wait for this socket.
    Pages,
    /// A queue of the process is full.
    Queue,
    /// `limits.channels` is reached.
    Channels,
    /// The key stands for other content.
    KeyConflict,
    /// The publication to edit or delete is not there.
    NotFound,
    /// It is somebody else's.
    NotAuthor,
    /// The store did not do it.
    Unavailable {
        /// When to try again.
        retry_ms: u32,
    },
    /// The store may have done it.
    Unconfirmed {
        /// When to try again.
        retry_ms: u32,
    },
    /// A token for `refresh` that does not do.
    BadToken(&'static str),
    /// A token for `refresh` that nobody can judge now.
    Unjudged {
        /// When to try again.
        retry_ms: u32,
    },
    /// `refresh` without auth.
    NoAuth,
}

/// When to try again after a bound of this process, in milliseconds: a queue drains in far less.
const BUSY_RETRY_MS: u32 = 500;

impl Refusal<'_> {
    /// The code the peer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Refusal::Rejected(rejected) => match rejected.fault {
                Fault::Malformed => ErrorCode::Malformed,
                Fault::UnknownCommand => ErrorCode::UnknownCommand,
                Fault::TooLarge => ErrorCode::TooLarge,
            },
            Refusal::ConnectedAlready => ErrorCode::Malformed,
            Refusal::Forbidden(_) | Refusal::NotAuthor => ErrorCode::Forbidden,
            Refusal::NotSubscribed | Refusal::Abandoned => ErrorCode::NotSubscribed,
            Refusal::Subscriptions => ErrorCode::TooLarge,
            Refusal::PublishRate { .. } | Refusal::CommandRate { .. } => ErrorCode::RateLimited,
            Refusal::Pending | Refusal::Pages | Refusal::Queue | Refusal::Channels => ErrorCode::Overloaded,
            Refusal::KeyConflict => ErrorCode::KeyConflict,
            Refusal::NotFound => ErrorCode::NotFound,
            Refusal::Unavailable { .. } | Refusal::Unjudged { .. } => ErrorCode::Unavailable,
            Refusal::Unconfirmed { .. } => ErrorCode::Unconfirmed,
            Refusal::BadToken(_) | Refusal::NoAuth => ErrorCode::Unauthorized,
        }
    }

    fn retry_ms(&self) -> Option<u32> {
        match self {
            Refusal::PublishRate { retry_ms }
            | Refusal::CommandRate { retry_ms }
            | Refusal::Unavailable { retry_ms }
            | Refusal::Unjudged { retry_ms }
            | Refusal::Unconfirmed { retry_ms } => Some(*retry_ms),
            Refusal::Pending | Refusal::Pages | Refusal::Queue | Refusal::Channels => Some(BUSY_RETRY_MS),
            Refusal::Rejected(_)
            | Refusal::ConnectedAlready
            | Refusal::Forbidden(_)
            | Refusal::NotSubscribed
            | Refusal::Abandoned
            | Refusal::Subscriptions
            | Refusal::KeyConflict
            | Refusal::NotFound
            | Refusal::NotAuthor
            | Refusal::BadToken(_)
            | Refusal::NoAuth => None,
        }
    }

    fn dependency(&self) -> Option<&'static str> {
        if matches!(self, Refusal::Unjudged { .. }) {
            return Some("auth");
        }
        matches!(self, Refusal::Unavailable { .. } | Refusal::Unconfirmed { .. }).then_some("store")
    }

    fn message(&self, policy: &Policy) -> String {
        let limits = &policy.limits;
        match self {
            Refusal::Rejected(rejected) => rejected.message.clone(),
            Refusal::ConnectedAlready => "connect was sent before; open another connection".into(),
            Refusal::Forbidden(right) => format!("the token does not grant {right} on this channel"),
            Refusal::NotSubscribed => "subscribe to the channel first".into(),
            Refusal::Abandoned => "the subscription was ended or begun anew before it was answered".into(),
            Refusal::Subscriptions => {
                format!(
                    "limits.subscriptions is {}; unsubscribe from another channel first",
                    limits.subscriptions
                )
            }
            Refusal::PublishRate { .. } => format!(
                "limits.publishes_per_s is {}, limits.publishes_burst {}; wait retry_ms",
                limits.publishes_per_s, limits.publishes_burst
            ),
            Refusal::CommandRate { .. } => format!(
                "limits.commands_per_s is {}, limits.commands_burst {}; wait retry_ms",
                limits.commands_per_s, limits.commands_burst
            ),
            Refusal::Pending => {
                format!("limits.pending is {}: wait for answers before sending more", limits.pending)
            }
            Refusal::Pages => "the pages asked for are not read; take them off the socket first".into(),
            Refusal::Queue => "the gateway has more work queued than it takes; nothing was stored".into(),
            Refusal::Channels => {
                format!("limits.channels is {}: no channel more is taken now", limits.channels)
            }
            Refusal::KeyConflict => {
                "key stands for a publication with other content; use a new key for new content".into()
            }
            Refusal::NotFound => {
                "edits or deletes names no publication that is an original, retained and not deleted".into()
            }
            Refusal::NotAuthor => {
                "the publication is somebody else's and the token does not grant moderate".into()
            }
            Refusal::Unavailable { .. } => "the store cannot do that now; nothing was stored".into(),
            Refusal::Unconfirmed { .. } => {
                "the store may have it or not; send the same key again to find out".into()
            }
            Refusal::Unjudged { .. } => {
                "the auth service does not answer, so the token was not judged; the session goes on".into()
            }
            Refusal::BadToken(text) => (*text).into(),
            Refusal::NoAuth => "auth is off here; there is no token to refresh".into(),
        }
    }

    /// Writes the `error` frame.
    pub fn write(&self, out: &mut Vec<u8>, id: Option<CommandId>, policy: &Policy) {
        let message = self.message(policy);
        let error = CommandError {
            code: self.code(),
            dependency: self.dependency(),
            retry_ms: self.retry_ms(),
            message: &message,
        };
        push::error(out, id, &error);
    }
}
