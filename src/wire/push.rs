//! Server to client: replies, pushes and errors as JSON in complete text frames.

use crate::close::CloseReason;
use crate::id::{ChannelName, CommandId, Epoch, Offset};

/// What `connected` says.
#[derive(Debug)]
pub struct Connected<'a> {
    /// This connection, for support and logs.
    pub connection: &'a str,
    /// This process.
    pub instance: &'a str,
    /// Whom the token names.
    pub user: &'a str,
    /// Period of `beat`, and the silence after which the server pings.
    pub ping_ms: u32,
    /// Time online after which the client may reset its backoff.
    pub stable_ms: u32,
    /// The bounds a client can meet.
    pub limits: ToldLimits,
    /// When the token expires, Unix milliseconds: `refresh` before then.
    pub expires: Option<u64>,
    /// The `status` object, encoded when the health snapshot changed.
    pub status: &'a str,
    /// One entry a cursor of `connect`'s `recover`, in its order.
    pub recovered: &'a [Recovered<'a>],
}

/// The limits told in `connected`.
#[derive(Clone, Copy, Debug)]
pub struct ToldLimits {
    /// `limits.frame_bytes`
    pub frame_bytes: u32,
    /// `limits.publishes_per_s`
    pub publishes_per_s: u32,
    /// `limits.publishes_burst`
    pub publishes_burst: u32,
    /// `limits.subscriptions`
    pub subscriptions: u32,
}

/// How a subscription begins; `subscribed`, and the entries of `recovered`.
#[derive(Clone, Copy, Debug)]
pub struct Recovered<'a> {
    /// The channel.
    pub channel: &'a ChannelName,
    /// The log's position; absent when it could not be read (`unavailable`) or may not be (`forbidden`).
    pub log: Option<LogPosition>,
    /// What became of the client's cursor.
    pub outcome: Recovery,
}

/// Where a channel's log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The identity of the log.
    pub epoch: Epoch,
    /// The newest offset, 0 when there never was one.
    pub head: Offset,
    /// The oldest offset that is retained; head + 1 when none is, 1 for a log that never had one.
    pub floor: Offset,
}

/// What became of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// None was asked for, or `last` was: the key `recovered` is left out.
    NotAsked,
    /// `"recovered":true`: what was missed follows.
    Recovered,
    /// `"recovered":false,"because":…`
    Not(Because),
}

/// Why a recovery was not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// More was missed than is replayed.
    TooFar,
    /// What was missed is no longer retained.
    Expired,
    /// The log is another one.
    EpochChanged,
    /// No right to subscribe.
    Forbidden,
    /// The log could not be read; subscribe again after this many milliseconds.
    Unavailable {
        /// `retry_ms`
        retry_ms: u32,
    },
}

/// What `published` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedReply<'a> {
    /// The channel.
    pub channel: &'a ChannelName,
    /// The key it was published with.
    pub key: Option<&'a str>,
    /// The identity of the log.
    pub epoch: Epoch,
    /// Its place, or the place of the first one under the same key.
    pub offset: Offset,
    /// When it, or the first one, was committed.
    pub time_ms: u64,
    /// Whether it was stored by an earlier attempt.
    pub duplicate: bool,
}

/// A command that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError<'a> {
    /// Which error.
    pub code: ErrorCode,
    /// The dependency at fault, if one is.
    pub dependency: Option<&'a str>,
    /// When to try again, for `rate_limited` and the last four codes.
    pub retry_ms: Option<u32>,
    /// A sentence that names the field, the bound and what to do.
    pub message: &'a str,
}

/// Error codes of `docs/protocol.md`.
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

/// A `beat`: the heads of subscribed channels that moved since the last one.
pub type MovedHead<'a> = (&'a ChannelName, Offset);

// Encoders, one a kind of frame. Each appends one complete text frame to `out`:
//   connected(out, id, &Connected)            subscribed(out, id, &Recovered)
//   unsubscribed(out, id, &ChannelName)       published(out, id, &PublishedReply)
//   history(out, id, &ChannelName, LogPosition, publications: &[u8])   publications: `{…},{…}` ready made
//   refreshed(out, id, expires: Option<u64>)  error(out, Option<CommandId>, &CommandError)
//   publication(out, &ChannelName, &Stored)   signal(out, &ChannelName, user, data)
//   synced(out, &ChannelName, Offset)         status(out, status: &str)
//   beat(out, revision, heads iterator)       lag(out, &ChannelName, from, head)
//   drain(out, reason, slot_ms, deadline_ms)  bye(out, &CloseReason)
// and without a frame: publication_body(out, &ChannelName, &Stored) for pages of history.

/// Appends a publication as a complete text frame.
pub fn publication(out: &mut Vec<u8>, channel: &ChannelName, stored: &crate::wire::publication::Stored<'_>) {
    use crate::wire::server_frame::{Kind, write_with};
    write_with(out, Kind::Text, |out| {
        out.extend_from_slice(b"{\"publication\":");
        publication_body(out, channel, stored);
        out.push(b'}');
    });
}

/// Appends a publication as a JSON object.
pub fn publication_body(
    out: &mut Vec<u8>,
    channel: &ChannelName,
    stored: &crate::wire::publication::Stored<'_>,
) {
    use crate::wire::publication::Change;
    use std::io::Write as _;
    let _ = write!(out, "{{\"channel\":\"{channel}\",\"offset\":{}", stored.offset);
    if let Some(key) = stored.key {
        let _ = write!(out, ",\"key\":{}", serde_json::Value::from(key));
    }
    let _ = write!(out, ",\"user\":{},\"time\":{}", serde_json::Value::from(stored.user), stored.time_ms);
    match stored.change {
        Change::None => {}
        Change::Edits(target) => drop(write!(out, ",\"edits\":{target}")),
        Change::Deletes(target) => drop(write!(out, ",\"deletes\":{target}")),
    }
    if let Some(by) = stored.deleted_by {
        let _ = write!(out, ",\"deleted_by\":{by}");
    }
    let _ = write!(out, ",\"data\":{}}}", stored.data);
}
