//! Reasons to refuse a command, and the one place that turns each into a code and a message.

use super::meters::ExceededRate;
use super::policy::{Policy, PresencePolicy};
use super::stream_refusal::StreamRefusal;
use crate::id::CommandId;
use crate::wire::command::{CommandFault, Rejected};
use crate::wire::push::{self, CommandError, ErrorCode};
use crate::wire::stream::StreamId;

/// A reason to refuse a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// The message is not a valid command.
    Rejected(&'a Rejected),
    /// A second `connect`.
    ConnectedAlready,
    /// The named right on the channel is missing.
    Forbidden(&'static str),
    /// `unsubscribe` or `signal` without a subscription.
    NotSubscribed,
    /// The subscription ended before it was answered.
    Abandoned,
    /// `limits.subscriptions` is reached.
    Subscriptions,
    /// The user has a quarter of `limits.channels` subscriptions.
    UserSubscriptions,
    /// A rate of the user or the connection is exceeded.
    Rate { rate: ExceededRate, retry_ms: u32 },
    /// `limits.signal_bytes` is exceeded.
    SignalBytes,
    /// `limits.pending` is reached.
    Pending,
    /// The requested history pages would not fit in the outbox.
    Pages,
    /// A queue of the process is full.
    Queue,
    /// The reactor follows `limits.channels` channels.
    Channels,
    /// The store holds `limits.channels` channels.
    StoredChannels,
    /// `limits.edits` is reached.
    Edits,
    /// The key belongs to a publication with other content.
    KeyConflict,
    /// The publication to edit or delete does not exist.
    NotFound,
    /// The publication is another user's.
    NotAuthor,
    /// The store's disk is nearly full.
    NoRoom { retry_ms: u32 },
    /// The store did not perform the command.
    Unavailable { retry_ms: u32 },
    /// The store may have performed the command.
    Unconfirmed { retry_ms: u32 },
    /// The token of `refresh` was denied, for this reason.
    BadToken(&'static str),
    /// The token of `refresh` could not be checked.
    Unchecked { retry_ms: u32 },
    /// The token of `refresh` cannot be accepted yet, for this reason.
    TooEarly { text: &'static str, retry_ms: u32 },
    /// `refresh` while auth is off.
    NoAuth,
    /// `presence.enabled` is off.
    PresenceOff,
    /// `presence.channels` is reached.
    Rosters,
    /// All connections of the user together have the most rosters.
    UserRosters,
    /// The rosters did not answer.
    PresenceSilent { retry_ms: u32 },
    /// A reason that only commands about streams have.
    Stream(StreamRefusal),
}

/// When to retry after a bound of this process was reached, in milliseconds: a queue drains in far less.
const BUSY_RETRY_MS: u32 = 500;
/// When to retry after a bound of all connections of the user was reached, in milliseconds: another of them has to make room first,
/// and this one cannot see that.
const USER_RETRY_MS: u32 = 15_000;

const UNAVAILABLE: &str = "the store is unavailable; nothing was stored; retry after retry_ms";
const PRESENCE_OFF: &str = "presence.enabled is false here; do without presence, or ask the operator";
const PRESENCE_SILENT: &str = "the rosters do not answer; the session continues; retry after retry_ms";
const QUEUE_FULL: &str = "a queue of the gateway is full; nothing was stored; retry after retry_ms";
const NO_ROOM: &str =
    "the disk of the store is nearly full (store.free_bytes_min); nothing was stored; retry after retry_ms";

impl Refusal<'_> {
    /// The setting whose bound the client reached, if that is the reason.
    pub(super) fn bound(&self) -> Option<&'static str> {
        match self {
            Refusal::Rate { rate, .. } => Some(rate.setting()),
            Refusal::Subscriptions => Some("limits.subscriptions"),
            Refusal::UserSubscriptions | Refusal::Channels | Refusal::StoredChannels => {
                Some("limits.channels")
            }
            Refusal::Pending => Some("limits.pending"),
            Refusal::Pages => Some("limits.outbox_bytes_hard"),
            Refusal::Edits => Some("limits.edits"),
            Refusal::SignalBytes => Some("limits.signal_bytes"),
            Refusal::Rosters | Refusal::UserRosters => Some("presence.channels"),
            Refusal::Rejected(_)
            | Refusal::ConnectedAlready
            | Refusal::Forbidden(_)
            | Refusal::NotSubscribed
            | Refusal::Abandoned
            | Refusal::Queue
            | Refusal::KeyConflict
            | Refusal::NotFound
            | Refusal::NotAuthor
            | Refusal::NoRoom { .. }
            | Refusal::Unavailable { .. }
            | Refusal::Unconfirmed { .. }
            | Refusal::BadToken(_)
            | Refusal::Unchecked { .. }
            | Refusal::TooEarly { .. }
            | Refusal::NoAuth
            | Refusal::PresenceOff
            | Refusal::PresenceSilent { .. }
            | Refusal::Stream(_) => None,
        }
    }

    /// The `code` of the `error` frame.
    pub fn code(&self) -> ErrorCode {
        match self {
            Refusal::Rejected(rejected) => match rejected.fault {
                CommandFault::Malformed => ErrorCode::Malformed,
                CommandFault::UnknownCommand => ErrorCode::UnknownCommand,
                CommandFault::TooLarge => ErrorCode::TooLarge,
            },
            Refusal::ConnectedAlready => ErrorCode::Malformed,
            Refusal::Forbidden(_) | Refusal::NotAuthor | Refusal::PresenceOff => ErrorCode::Forbidden,
            Refusal::NotSubscribed | Refusal::Abandoned => ErrorCode::NotSubscribed,
            Refusal::Subscriptions
            | Refusal::UserSubscriptions
            | Refusal::Rosters
            | Refusal::UserRosters
            | Refusal::Edits
            | Refusal::SignalBytes => ErrorCode::TooLarge,
            Refusal::Rate { .. } => ErrorCode::RateLimited,
            Refusal::Pending
            | Refusal::Pages
            | Refusal::Queue
            | Refusal::Channels
            | Refusal::StoredChannels => ErrorCode::Overloaded,
            Refusal::KeyConflict => ErrorCode::KeyConflict,
            Refusal::NotFound => ErrorCode::NotFound,
            Refusal::Unavailable { .. }
            | Refusal::NoRoom { .. }
            | Refusal::Unchecked { .. }
            | Refusal::PresenceSilent { .. }
            | Refusal::TooEarly { .. } => ErrorCode::Unavailable,
            Refusal::Unconfirmed { .. } => ErrorCode::Unconfirmed,
            Refusal::Stream(refusal) => refusal.code(),
            Refusal::BadToken(_) | Refusal::NoAuth => ErrorCode::Unauthorized,
        }
    }

    fn retry_ms(&self) -> Option<u32> {
        match self {
            Refusal::Rate { retry_ms, .. }
            | Refusal::Unavailable { retry_ms }
            | Refusal::NoRoom { retry_ms }
            | Refusal::Unchecked { retry_ms }
            | Refusal::PresenceSilent { retry_ms }
            | Refusal::TooEarly { retry_ms, .. }
            | Refusal::Unconfirmed { retry_ms } => Some(*retry_ms),
            Refusal::Pending | Refusal::Pages | Refusal::Queue | Refusal::Channels => Some(BUSY_RETRY_MS),
            Refusal::UserSubscriptions | Refusal::UserRosters => Some(USER_RETRY_MS),
            Refusal::Rejected(_)
            | Refusal::ConnectedAlready
            | Refusal::Forbidden(_)
            | Refusal::NotSubscribed
            | Refusal::Abandoned
            | Refusal::Subscriptions
            // Room comes when channels become empty, which no time can be given for.
            | Refusal::StoredChannels
            | Refusal::Edits
            | Refusal::SignalBytes
            | Refusal::KeyConflict
            | Refusal::NotFound
            | Refusal::NotAuthor
            | Refusal::BadToken(_)
            | Refusal::PresenceOff
            | Refusal::Rosters
            | Refusal::NoAuth => None,
            Refusal::Stream(refusal) => refusal.retry_ms(),
        }
    }

    fn dependency(&self) -> Option<&'static str> {
        match self {
            Refusal::Unchecked { .. } => Some("auth"),
            Refusal::Unavailable { .. } | Refusal::NoRoom { .. } | Refusal::Unconfirmed { .. } => {
                Some("store")
            }
            Refusal::Stream(refusal) => refusal.dependency(),
            Refusal::Rejected(_)
            | Refusal::ConnectedAlready
            | Refusal::Forbidden(_)
            | Refusal::NotSubscribed
            | Refusal::Abandoned
            | Refusal::Subscriptions
            | Refusal::UserSubscriptions
            | Refusal::Edits
            | Refusal::Rate { .. }
            | Refusal::SignalBytes
            | Refusal::Pending
            | Refusal::Pages
            | Refusal::Queue
            | Refusal::Channels
            | Refusal::StoredChannels
            | Refusal::KeyConflict
            | Refusal::NotFound
            | Refusal::NotAuthor
            | Refusal::BadToken(_)
            | Refusal::TooEarly { .. }
            | Refusal::PresenceOff
            | Refusal::Rosters
            | Refusal::UserRosters
            | Refusal::PresenceSilent { .. }
            | Refusal::NoAuth => None,
        }
    }

    fn message(&self, policy: &Policy) -> String {
        let limits = &policy.limits;
        match self {
            Refusal::Rejected(rejected) => rejected.message.clone(),
            Refusal::ConnectedAlready => {
                "connect was already accepted here; open another connection to connect again".into()
            }
            Refusal::Forbidden(right) => {
                format!("the token does not grant {right} on this channel; use a token that does")
            }
            Refusal::NotSubscribed => "not subscribed to the channel; send subscribe first".into(),
            Refusal::Abandoned => {
                "the subscription ended before it was answered; subscribe again if you need it".into()
            }
            Refusal::Subscriptions => format!(
                "limits.subscriptions is {}, and all are in use; unsubscribe from another channel first",
                limits.subscriptions
            ),
            Refusal::UserSubscriptions => format!(
                "all your connections together may have {} subscriptions, a quarter of limits.channels; unsubscribe from another channel first",
                limits.subscriptions_per_user()
            ),
            Refusal::Rate { rate, .. } => rate_message(*rate, policy),
            Refusal::SignalBytes => {
                format!("limits.signal_bytes is {}; send shorter data, or publish it", limits.signal_bytes)
            }
            Refusal::Pending => {
                format!("limits.pending is {}; wait for replies before sending more commands", limits.pending)
            }
            Refusal::Pages => format!(
                "limits.outbox_bytes_hard is {}; read the requested pages before requesting more",
                limits.outbox_bytes_hard
            ),
            Refusal::Queue => QUEUE_FULL.into(),
            Refusal::Channels => format!(
                "limits.channels is {}, and as many have subscribers here; retry after retry_ms",
                limits.channels
            ),
            Refusal::StoredChannels => format!(
                "limits.channels is {}, and all are in use; use an existing channel, or ask the operator for room",
                limits.channels
            ),
            Refusal::Edits => format!(
                "limits.edits is {}, and the publication has that many edits; publish a new one",
                limits.edits
            ),
            Refusal::KeyConflict => {
                "key belongs to a publication with other content; use a new key for new content".into()
            }
            Refusal::NotFound => {
                "edits or deletes must name an original that is retained and not deleted".into()
            }
            Refusal::NotAuthor => {
                "the publication is another user's; the token does not grant moderate here".into()
            }
            Refusal::Unavailable { .. } => UNAVAILABLE.into(),
            Refusal::NoRoom { .. } => NO_ROOM.into(),
            Refusal::Unconfirmed { .. } => {
                "the publication may or may not be stored; send it again with the same key to find out".into()
            }
            Refusal::Unchecked { .. } => {
                "the auth service does not answer; the session continues; retry after retry_ms".into()
            }
            Refusal::BadToken(text) | Refusal::TooEarly { text, .. } => (*text).into(),
            Refusal::PresenceOff => PRESENCE_OFF.into(),
            Refusal::PresenceSilent { .. } => PRESENCE_SILENT.into(),
            Refusal::Rosters => rosters_message(policy),
            Refusal::UserRosters => user_rosters_message(policy),
            Refusal::Stream(refusal) => refusal.message().into(),
            Refusal::NoAuth => "auth is off, so there is no token to refresh; do not send refresh".into(),
        }
    }

    fn error<'a>(&self, message: &'a str) -> CommandError<'a> {
        CommandError { code: self.code(), dependency: self.dependency(), retry_ms: self.retry_ms(), message }
    }

    /// Writes the `error` frame of a command about a stream, which names the stream.
    pub fn write_of_stream(
        &self,
        out: &mut Vec<u8>,
        id: Option<CommandId>,
        stream: &StreamId,
        policy: &Policy,
    ) {
        let message = self.message(policy);
        let error = self.error(&message);
        let fault = match self {
            Refusal::Stream(StreamRefusal::Fault(fault)) => Some(fault),
            _ => None,
        };
        push::stream_error(out, id, stream, fault, &error);
    }

    /// Writes the `error` frame.
    pub fn write(&self, out: &mut Vec<u8>, id: Option<CommandId>, policy: &Policy) {
        let message = self.message(policy);
        let error = self.error(&message);
        push::error(out, id, &error);
    }
}

fn rosters_message(policy: &Policy) -> String {
    format!(
        "presence.channels is {}, and this connection is on or watches that many rosters; leave another first",
        policy.presence.channels
    )
}

fn user_rosters_message(policy: &Policy) -> String {
    let PresencePolicy { channels, .. } = policy.presence;
    format!(
        "all your connections together may be on or watch {} rosters, eight times presence.channels ({channels}); leave another first",
        policy.presence.channels_of_user()
    )
}

fn rate_message(rate: ExceededRate, policy: &Policy) -> String {
    let (setting, limits) = (rate.setting(), &policy.limits);
    match rate {
        ExceededRate::Publishes => format!(
            "{setting} is {}, limits.publishes_burst {}; wait retry_ms before the next publish",
            limits.publishes_per_s, limits.publishes_burst
        ),
        ExceededRate::PublishBytes => format!(
            "{setting} is {} for all your connections together; wait retry_ms before the next publish",
            limits.publish_bytes_per_s
        ),
        ExceededRate::Commands => format!(
            "{setting} is {}, limits.commands_burst {}; wait retry_ms before the next command",
            limits.commands_per_s, limits.commands_burst
        ),
        ExceededRate::Refreshes => format!(
            "{setting} is {} for all your connections together; wait retry_ms before the next refresh",
            limits.refreshes_per_minute
        ),
        ExceededRate::Signals => format!(
            "{setting} is {}, limits.signals_burst {}; wait retry_ms before the next signal",
            limits.signals_per_s, limits.signals_burst
        ),
        ExceededRate::ReadBytes => format!(
            "{setting} is {} for all your connections together; wait retry_ms before the next history or subscribe",
            limits.read_bytes_per_s
        ),
        ExceededRate::Channels => format!(
            "{setting} is {} new channels an hour; use an existing channel or wait retry_ms",
            limits.channels_per_user()
        ),
        ExceededRate::StreamAppends => {
            format!("{setting} is {}; wait retry_ms, then continue the stream", limits.stream_appends_per_s)
        }
        ExceededRate::StreamBytes => {
            format!("{setting} is {}; wait retry_ms, then continue the stream", limits.stream_bytes_per_s)
        }
        ExceededRate::Rosters => format!(
            "{setting} is {} for all your connections together; wait retry_ms before the next use of a roster",
            policy.presence.commands_per_s
        ),
        ExceededRate::RostersOfAddress => format!(
            "{setting} is {}, and the clients at your address used up a few times that; wait retry_ms before the next use of a roster",
            policy.presence.commands_per_s
        ),
    }
}
