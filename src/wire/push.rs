//! Server to client: replies, pushes and errors as JSON in complete text frames.
//!
//! Each encoder appends one frame and writes the members directly into the buffer. The keys have the order of
//! `docs/protocol.md`; a key without a known value is omitted.

mod error_code;
mod flags;
mod framing;
mod stream;
#[cfg(test)]
mod tests;

pub use error_code::{CommandError, ErrorCode, error};
pub use flags::flags;
pub use stream::{appended, cancel, stream_answered, stream_error, stream_of_error, stream_read};

use super::json;
use super::publication::{Change, Stored};
use super::short_text::ShortText;
use super::stream::BegunStream;
use crate::close::CloseReason;
use crate::id::{ChannelName, CommandId, Epoch, Offset};
use framing::{frame, push, reply};

/// The contents of `connected`.
#[derive(Debug)]
pub struct Connected<'a> {
    /// The connection's name, for support and logs.
    pub connection: &'a str,
    /// The name of this process.
    pub instance: &'a str,
    pub user: &'a str,
    /// The user's personal channel; `None` with auth off.
    pub personal: Option<&'a str>,
    /// The period of `beat`, and the silence after which the server pings.
    pub ping_ms: u32,
    /// The time online after which the client may reset its backoff.
    pub stable_ms: u32,
    pub limits: ReportedLimits,
    /// The token's expiry, if it has one; the client must send `refresh` before it.
    pub expires: Option<Expires>,
    /// The `status` object, encoded when the health snapshot changed.
    pub status: &'a str,
    /// The flags that are on; `None` if there are none to tell of.
    pub flags: Option<&'a [&'a str]>,
    /// One entry for each cursor of `connect`'s `recover`, in the same order.
    pub recovered: &'a [Recovered<'a>],
}

/// The expiry of a token.
#[derive(Clone, Copy, Debug)]
pub struct Expires {
    /// In Unix milliseconds, for people and logs.
    pub unix_ms: u64,
    /// In milliseconds from now, for clients, whose clocks may be far from the server's.
    pub in_ms: u64,
}

/// The limits that `connected` reports.
#[derive(Clone, Copy, Debug)]
pub struct ReportedLimits {
    pub frame_bytes: u32,
    pub publishes_per_s: u32,
    pub publishes_burst: u32,
    pub subscriptions: u32,
}

/// The start of a subscription: the contents of `subscribed` and of the entries of `recovered`.
#[derive(Clone, Copy, Debug)]
pub struct Recovered<'a> {
    pub channel: &'a ChannelName,
    /// The log's position; `None` if it could not be read (`unavailable`) or must not be (`forbidden`).
    pub log: Option<LogPosition>,
    /// The outcome of the client's cursor.
    pub outcome: RecoveryOutcome,
    /// The code of the refusal to use the roster as the cursor asked, if it was refused.
    pub roster: Option<&'a str>,
    /// The user's rights on the channel. `None` if it has all because auth is off, or none because it may not subscribe.
    pub rights: Option<RightsText>,
}

/// Names of rights as a list in JSON.
pub type RightsText = ShortText<80>;

/// The position of a channel's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    pub epoch: Epoch,
    /// The newest offset; where it would start if there is no such channel.
    pub head: Offset,
    /// The oldest retained offset; `head + 1` if none is retained.
    pub floor: Offset,
}

/// The outcome of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryOutcome {
    /// No recovery was requested, or `last` was; the key `recovered` is omitted.
    NotAsked,
    /// `"recovered":true`: the missed publications follow.
    Recovered,
    /// `"recovered":false,"because":…`
    Not(NotRecovered),
}

/// The reason why a recovery was not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRecovered {
    /// The client missed more publications than are replayed.
    TooFar,
    /// The missed publications are no longer retained.
    Expired,
    /// The log has another epoch, or the cursor is above its head.
    EpochChanged,
    /// The user may not subscribe to the channel.
    Forbidden,
    /// The log could not be read; subscribe again after `retry_ms` milliseconds.
    Unavailable { retry_ms: u32 },
}

/// The reason why the server ended a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionEnd {
    /// The token of a `refresh` does not grant `subscribe` on the channel.
    Forbidden,
}

/// The contents of `published`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedReply<'a> {
    pub channel: &'a ChannelName,
    pub key: Option<&'a str>,
    pub epoch: Epoch,
    /// The publication's offset, or that of the first one with the same key.
    pub offset: Offset,
    /// The time of its commit, or of that first one's, in Unix milliseconds.
    pub time_ms: u64,
    /// True exactly when an earlier attempt stored it.
    pub duplicate: bool,
    /// The stream that it began.
    pub stream: Option<BegunStream>,
    /// The begin of its answer, which was stored together with it.
    pub answer: Option<Offset>,
}

/// A head in a `beat`: a subscribed channel whose head moved since the last one.
pub type MovedHead<'a> = (&'a ChannelName, Offset);

/// Appends the reply to `connect`.
pub fn connected(out: &mut Vec<u8>, id: CommandId, connected: &Connected<'_>) {
    reply(out, id, "connected", |out| {
        json::text(out, "connection", connected.connection);
        json::text(out, "instance", connected.instance);
        json::text(out, "user", connected.user);
        if let Some(personal) = connected.personal {
            json::text(out, "personal", personal);
        }
        json::integer(out, "ping_ms", connected.ping_ms.into());
        json::integer(out, "stable_ms", connected.stable_ms.into());
        json::key(out, "limits");
        json::object(out, |out| reported_limits(out, &connected.limits));
        end_of_token(out, connected.expires);
        json::raw(out, "status", connected.status);
        flags::member(out, connected.flags);
        json::key(out, "recovered");
        out.push(b'[');
        for (place, entry) in connected.recovered.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            json::object(out, |out| beginning(out, entry));
        }
        out.push(b']');
    });
}

/// Appends the reply to `subscribe`.
pub fn subscribed(out: &mut Vec<u8>, id: CommandId, recovered: &Recovered<'_>) {
    reply(out, id, "subscribed", |out| beginning(out, recovered));
}

/// Appends the reply to `unsubscribe`.
pub fn unsubscribed(out: &mut Vec<u8>, id: CommandId, channel: &ChannelName) {
    reply(out, id, "unsubscribed", |out| json::text(out, "channel", channel.as_str()));
}

/// Appends the push that the server ended a subscription while the session continues.
pub fn subscription_ended(out: &mut Vec<u8>, channel: &ChannelName, because: SubscriptionEnd) {
    push(out, "unsubscribed", |out| {
        json::text(out, "channel", channel.as_str());
        json::text(out, "because", because.word());
    });
}

/// Appends the reply to `publish`.
pub fn published(out: &mut Vec<u8>, id: CommandId, published: &PublishedReply<'_>) {
    reply(out, id, "published", |out| published_members(out, published));
}

/// Appends the members of a stored publication. Both protocols use it, and a call would cost the hot path of one.
#[inline(always)]
pub fn published_members(out: &mut Vec<u8>, published: &PublishedReply<'_>) {
    json::text(out, "channel", published.channel.as_str());
    if let Some(key) = published.key {
        json::text(out, "key", key);
    }
    epoch(out, published.epoch);
    json::integer(out, "offset", published.offset.0);
    json::integer(out, "time", published.time_ms);
    json::truth(out, "duplicate", published.duplicate);
    if let Some(begun) = &published.stream {
        stream::begun(out, begun);
    }
    if let Some(answer) = published.answer {
        json::integer(out, "answer", answer.0);
    }
}

/// Appends the reply to `history`. `publications` are in ascending order, `{…},{…}`, as [`publication_body`] writes
/// them, separated by commas.
pub fn history(
    out: &mut Vec<u8>,
    id: CommandId,
    channel: &ChannelName,
    log: LogPosition,
    publications: &[u8],
) {
    reply(out, id, "history", |out| {
        json::text(out, "channel", channel.as_str());
        position(out, log);
        json::key(out, "publications");
        out.push(b'[');
        out.extend_from_slice(publications);
        out.push(b']');
    });
}

/// Appends the reply to `refresh`; `expires` is the new token's expiry.
pub fn refreshed(out: &mut Vec<u8>, id: CommandId, expires: Option<Expires>) {
    reply(out, id, "refreshed", |out| end_of_token(out, expires));
}

/// Appends the push for rights or an expiry that changed without a command: a repeated check of the token brought others.
pub fn rights_changed(out: &mut Vec<u8>, expires: Option<Expires>) {
    push(out, "refreshed", |out| end_of_token(out, expires));
}

/// Appends the push of one publication.
pub fn publication(out: &mut Vec<u8>, channel: &ChannelName, stored: &Stored<'_>) {
    frame(out, |out| {
        json::key(out, "publication");
        publication_body(out, channel, stored);
    });
}

/// Appends the object `{…}` of one publication without a frame, for a page of `history`. It equals the object of the
/// push, including `channel`, so that a client reads both in the same way.
pub fn publication_body(out: &mut Vec<u8>, channel: &ChannelName, stored: &Stored<'_>) {
    json::object(out, |out| {
        json::text(out, "channel", channel.as_str());
        json::integer(out, "offset", stored.offset.0);
        if let Some(key) = stored.key {
            json::text(out, "key", key);
        }
        json::text(out, "user", stored.user);
        json::integer(out, "time", stored.time_ms);
        match stored.change {
            Change::None => (),
            Change::Edits(original) => json::integer(out, "edits", original.0),
            Change::Deletes(original) => json::integer(out, "deletes", original.0),
        }
        if let Some(deletion) = stored.deleted_by {
            json::integer(out, "deleted_by", deletion.0);
        }
        if let Some(part) = stored.stream.word() {
            json::text(out, "stream", part);
        }
        json::raw(out, "data", stored.data);
    });
}

/// Appends the push of a signal; `data` is JSON as received.
pub fn signal(out: &mut Vec<u8>, channel: &ChannelName, user: &str, data: &str) {
    push(out, "signal", |out| {
        json::text(out, "channel", channel.as_str());
        json::text(out, "user", user);
        json::raw(out, "data", data);
    });
}

/// Appends `synced`, the end of a replay: the subscriber has everything up to `offset`.
pub fn synced(out: &mut Vec<u8>, channel: &ChannelName, offset: Offset) {
    push(out, "synced", |out| {
        json::text(out, "channel", channel.as_str());
        json::integer(out, "offset", offset.0);
    });
}

/// Appends a `status` push; `status` is the object, encoded when the health snapshot changed.
pub fn status(out: &mut Vec<u8>, status: &str) {
    frame(out, |out| json::raw(out, "status", status));
}

/// Appends a `beat` with the status revision and the heads that moved. No channel may occur twice in `heads`.
pub fn beat<'a>(out: &mut Vec<u8>, revision: u64, heads: impl Iterator<Item = MovedHead<'a>>) {
    push(out, "beat", |out| {
        json::integer(out, "revision", revision);
        json::key(out, "heads");
        json::object(out, |out| {
            for (channel, head) in heads {
                json::separate(out);
                json::string(out, channel.as_str());
                out.push(b':');
                json::digits(out, head.0);
            }
        });
    });
}

/// Appends a `lag`: the subscriber lacks `from` to `head`, and live publications continue after `head`.
pub fn lag(out: &mut Vec<u8>, channel: &ChannelName, from: Offset, head: Offset) {
    push(out, "lag", |out| {
        json::text(out, "channel", channel.as_str());
        json::integer(out, "from", from.0);
        json::integer(out, "head", head.0);
    });
}

/// Appends a `drain`: the client should move after `slot_ms`, before `deadline_ms`, and ask a load balancer for the instance `to`.
pub fn drain(out: &mut Vec<u8>, reason: &str, slot_ms: u32, deadline_ms: u32, to: Option<&str>) {
    push(out, "drain", |out| {
        json::text(out, "reason", reason);
        json::integer(out, "slot_ms", slot_ms.into());
        json::integer(out, "deadline_ms", deadline_ms.into());
        if let Some(to) = to {
            json::text(out, "to", to);
        }
    });
}

/// Appends a `bye`: the reason why the server closes, and when to return.
pub fn bye(out: &mut Vec<u8>, reason: &CloseReason) {
    push(out, "bye", |out| {
        json::integer(out, "code", reason.code().into());
        json::text(out, "reason", reason.word());
        if let Some(message) = reason.message() {
            json::text(out, "message", message);
        }
        if let Some(dependency) = reason.dependency() {
            json::text(out, "dependency", dependency);
        }
        if let Some(retry_ms) = reason.retry_ms() {
            json::integer(out, "retry_ms", retry_ms.into());
        }
        json::truth(out, "terminal", reason.terminal());
        if let Some(reference) = reason.reference() {
            json::text(out, "reference", reference);
        }
    });
}

fn end_of_token(out: &mut Vec<u8>, expires: Option<Expires>) {
    if let Some(Expires { unix_ms, in_ms }) = expires {
        json::integer(out, "expires", unix_ms);
        json::integer(out, "expires_in_ms", in_ms);
    }
}

fn reported_limits(out: &mut Vec<u8>, limits: &ReportedLimits) {
    json::integer(out, "frame_bytes", limits.frame_bytes.into());
    json::integer(out, "publishes_per_s", limits.publishes_per_s.into());
    json::integer(out, "publishes_burst", limits.publishes_burst.into());
    json::integer(out, "subscriptions", limits.subscriptions.into());
}

fn beginning(out: &mut Vec<u8>, recovered: &Recovered<'_>) {
    json::text(out, "channel", recovered.channel.as_str());
    if let Some(code) = recovered.roster {
        json::text(out, "presence_refused", code);
    }
    if let Some(log) = recovered.log {
        position(out, log);
    }
    if let Some(rights) = &recovered.rights {
        json::raw(out, "rights", rights.as_str());
    }
    match recovered.outcome {
        RecoveryOutcome::NotAsked => (),
        RecoveryOutcome::Recovered => json::truth(out, "recovered", true),
        RecoveryOutcome::Not(because) => {
            json::truth(out, "recovered", false);
            json::text(out, "because", because.word());
            if let NotRecovered::Unavailable { retry_ms } = because {
                json::integer(out, "retry_ms", retry_ms.into());
            }
        }
    }
}

impl NotRecovered {
    /// The value of `because`.
    pub const fn word(self) -> &'static str {
        match self {
            NotRecovered::TooFar => "too_far",
            NotRecovered::Expired => "expired",
            NotRecovered::EpochChanged => "epoch_changed",
            NotRecovered::Forbidden => "forbidden",
            NotRecovered::Unavailable { .. } => "unavailable",
        }
    }
}

impl SubscriptionEnd {
    /// The value of `because`.
    pub const fn word(self) -> &'static str {
        match self {
            SubscriptionEnd::Forbidden => "forbidden",
        }
    }
}

/// Appends the position of a log.
pub(in crate::wire) fn position(out: &mut Vec<u8>, log: LogPosition) {
    epoch(out, log.epoch);
    json::integer(out, "head", log.head.0);
    json::integer(out, "floor", log.floor.0);
}

/// Appends an epoch, which is base 36 and needs no escape.
fn epoch(out: &mut Vec<u8>, epoch: Epoch) {
    json::key(out, "epoch");
    let (digits, at) = epoch.digits();
    out.push(b'"');
    out.extend_from_slice(&digits[at..]);
    out.push(b'"');
}
