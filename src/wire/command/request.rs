//! The commands of a client, as parsed: slices of the received text where possible.

use super::previous::Previous;
use super::report::ClientReport;
use super::stream::{AppendPiece, EndStream};
use crate::id::{ChannelName, CommandId, Epoch, Key, Offset, PresenceState, UserName};
use crate::wire::stream::{Generation, KnownStream, Position, StreamOptions};
use std::borrow::Cow;

/// One command with its id.
#[derive(Debug, PartialEq)]
pub struct CommandFrame<'a> {
    /// Repeated in the reply; `None` only for `signal` and `append`.
    pub id: Option<CommandId>,
    pub command: Command<'a>,
}

/// The command of a frame.
#[derive(Debug, PartialEq)]
pub enum Command<'a> {
    Connect(Connect<'a>),
    /// Replaces the token before it expires.
    Refresh {
        token: Cow<'a, str>,
    },
    /// Subscribes to a channel from a start in its log.
    Subscribe(Subscribe),
    Unsubscribe {
        channel: ChannelName,
    },
    /// Appends to a channel's log.
    Publish(Publish<'a>),
    /// Reads a page of a channel's log.
    History {
        channel: ChannelName,
        range: HistoryRange,
        /// Already clamped to 1–300.
        limit: u32,
    },
    /// Sends data to the channel's live subscribers without storing it.
    Signal {
        channel: ChannelName,
        /// JSON as received, byte for byte.
        data: &'a str,
    },
    /// Enters the roster of a channel, or changes the state there.
    Present {
        channel: ChannelName,
        state: Option<PresenceState>,
    },
    /// Leaves the roster of a channel.
    Absent {
        channel: ChannelName,
    },
    /// Reads a page of the roster of a channel.
    Presence {
        channel: ChannelName,
        after: Option<UserName>,
        /// Already clamped to 1–100.
        limit: u32,
    },
    /// Reports errors of the client's application.
    Report(Box<ClientReport<'a>>),
    /// Adds a piece to a stream.
    Append(Box<AppendPiece>),
    /// Empties a stream: its next generation begins.
    Restart {
        channel: ChannelName,
        /// The begin of the stream.
        offset: Offset,
    },
    /// Ends a stream.
    End(EndStream<'a>),
    /// Asks for the end of a stream.
    CancelStream {
        channel: ChannelName,
        /// The begin of the stream.
        offset: Offset,
    },
    /// Reads an open stream.
    ReadStream {
        channel: ChannelName,
        /// The begin of the stream.
        offset: Offset,
        /// The generation that the client has, and the end of its text.
        known: Option<(Generation, Position)>,
    },
}

/// The arguments of `subscribe`.
#[derive(Debug, PartialEq)]
pub struct Subscribe {
    pub channel: ChannelName,
    pub from: StartAt,
    /// As in [`Cursor::streams`]. They count only if the log is recovered.
    pub streams: Box<[KnownStream]>,
    pub roster: RosterUse,
}

/// The use of a channel's roster that comes with a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterUse {
    pub present: Entrance,
    /// `None`: the roster is not watched.
    pub watch: Option<WatchDetail>,
}

/// A connection's place on a roster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Entrance {
    #[default]
    Outside,
    /// It is, in this state.
    Inside(Option<PresenceState>),
}

/// How much of a roster a connection watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchDetail {
    /// The members.
    Members,
    /// The numbers alone.
    Count,
}

/// The arguments of `connect`.
#[derive(Debug, Default, PartialEq)]
pub struct Connect<'a> {
    /// The token; that of the upgrade request takes precedence.
    pub token: Option<Cow<'a, str>>,
    /// The client's name and version, for logs; at most 64 bytes are kept.
    pub client: Option<Cow<'a, str>>,
    /// Subscriptions to restore, at most `limits.subscriptions`.
    pub recover: Vec<Cursor>,
    /// The client's last connection, if it had one and describes it well.
    pub previous: Option<Box<Previous>>,
}

/// A client's position in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub channel: ChannelName,
    /// `None` if the text is not a valid epoch; the answer is then `epoch_changed`.
    pub epoch: Option<Epoch>,
    /// The last publication the client has.
    pub offset: Offset,
    /// The parts of open streams that it has.
    pub streams: Box<[KnownStream]>,
    pub roster: RosterUse,
}

/// The start of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The next publication.
    Now,
    /// The publication after the client's last one (`recover`).
    After {
        /// As in [`Cursor::epoch`].
        epoch: Option<Epoch>,
        /// The last publication the client has.
        offset: Offset,
    },
    /// The last publications (`last`), as many as this number, already clamped to 1–300.
    Last(u32),
}

/// The part of a log that `history` reads. Pages are ascending in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest publications below this offset; without `before` and `after`, below the largest integer.
    Before(Offset),
    /// The oldest publications above this offset.
    After(Offset),
}

/// The arguments of `publish`.
#[derive(Debug, PartialEq)]
pub struct Publish<'a> {
    pub channel: ChannelName,
    pub key: Option<Key>,
    pub content: Content<'a>,
    /// The stream that an original begins.
    pub stream: Option<Box<StreamOptions>>,
}

/// The kind of a publication, and its JSON, byte for byte as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    Original(&'a str),
    /// Replaces an earlier publication.
    Edit(Offset, &'a str),
    /// Erases an earlier publication; its own data is usually `null`.
    Delete(Offset, &'a str),
}

impl<'a> Content<'a> {
    /// The data that is stored, as JSON.
    pub fn data(&self) -> &'a str {
        match self {
            Content::Original(data) | Content::Edit(_, data) | Content::Delete(_, data) => data,
        }
    }
}
