//! Orders from a session to its reactor, to be carried out in order.

use super::life::ClientText;
use super::outcome::{AppendChange, CancelAuthority, Creation, Occasion};
use crate::client_error::Reporter;
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::hub::SubscriptionId;
use crate::id::{ChannelName, CommandId, Key, PresenceState, UserName};
use crate::roster::{Departure, PageWish, Shown};
use crate::wire::command::{HistoryRange, ReportedError, WatchDetail};
use crate::wire::stream::{Generation, Piece, Position, StreamEnd, StreamId, StreamOptions};
use std::sync::Arc;

/// One order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Commit a publication, and answer with [`super::Session::appended`].
    Append(Box<AppendEffect>),
    /// Read a page of a log, and answer with [`super::Session::history_read`].
    History {
        id: CommandId,
        channel: ChannelName,
        range: HistoryRange,
        /// The largest number of publications.
        limit: u32,
        /// The time at which the command arrived.
        asked: Moment,
    },
    /// Check a token, and answer with [`super::Session::token_checked`].
    CheckToken {
        token: Box<str>,
        occasion: Occasion,
        id: CommandId,
        /// The time at which the command arrived.
        asked: Moment,
    },
    /// Check the token of an open session again, and answer with [`super::Session::rechecked`].
    Recheck { token: Arc<str>, user: UserName },
    /// Send this frame to the channel's live subscribers on every reactor.
    Signal { channel: ChannelName, frame: Arc<[u8]> },
    /// Tell the rosters, or read one.
    Roster(Box<RosterEffect>),
    /// Pass a command to the owner of a stream, or read the stream. If the command has an id, answer with
    /// [`super::Session::stream_answered`] or [`super::Session::stream_read`].
    Stream(Box<StreamEffect>),
    /// Group errors of the client's application, and answer with [`super::Session::report_taken`].
    Report(Box<ReportEffect>),
    /// Start catching up, now that the reply is written.
    Replay(SubscriptionId),
    /// Count a reply to a command that arrived at `asked` and was answered without a request of its own.
    Replied { asked: Moment },
    /// Count a command that found no answer in time.
    ReplyLate,
    /// Release this connection from its user's count.
    ReleaseUser(UserName),
    /// Report that this setting refused a command.
    OverLimit(&'static str),
    /// Send the reason, and close.
    Close(CloseReason),
    /// The same, for a reason that the auth worker has reported.
    Deny(CloseReason),
}

/// An event on a roster, or a read of one.
#[derive(Debug, PartialEq, Eq)]
pub enum RosterEffect {
    /// The connection with this name is present, in this state.
    Present { channel: ChannelName, connection: u64, shown: Arc<Shown>, state: Option<PresenceState> },
    /// It is not present any more.
    Absent { channel: ChannelName, connection: u64, user: UserName, departure: Departure },
    /// It watches the roster.
    Watch { channel: ChannelName, detail: WatchDetail },
    /// It does not watch the roster any more.
    Unwatch { channel: ChannelName, detail: WatchDetail },
    /// Read a page, and answer with [`super::Session::presence_read`].
    Page {
        id: CommandId,
        wish: PageWish,
        /// The time at which the command arrived.
        asked: Moment,
    },
}

/// A command about a stream.
#[derive(Debug, PartialEq)]
pub struct StreamEffect {
    /// `None` only for an append.
    pub id: Option<CommandId>,
    pub stream: StreamId,
    /// The user that sent it.
    pub user: UserName,
    pub command: StreamCommand,
    /// The time at which the command arrived.
    pub asked: Moment,
}

/// The kinds of commands about a stream.
#[derive(Debug, PartialEq)]
pub enum StreamCommand {
    /// Add a piece. Without a generation it is for the newest, and without a position it comes after what there is.
    Append { generation: Option<Generation>, at: Option<Position>, piece: Piece },
    /// Begin the next generation.
    Restart,
    /// End it, with this JSON in place of its text.
    End { generation: Option<Generation>, at: Option<Position>, end: StreamEnd, data: Option<Box<str>> },
    /// Have it ended.
    Cancel { authority: CancelAuthority },
    /// Read it, from the place that the client has.
    Read { known: Option<(Generation, Position)> },
}

/// Errors of a client's application to count.
#[derive(Debug, PartialEq)]
pub struct ReportEffect {
    pub id: CommandId,
    pub reporter: Reporter,
    pub client: ClientText,
    pub errors: Vec<ReportedError<'static>>,
    /// Groups that the client left out.
    pub dropped: u32,
    /// The time at which the command arrived.
    pub asked: Moment,
}

/// A publication to commit.
#[derive(Debug, PartialEq)]
pub struct AppendEffect {
    pub id: CommandId,
    pub channel: ChannelName,
    pub user: UserName,
    pub key: Option<Key>,
    pub change: AppendChange,
    pub creation: Creation,
    /// JSON, byte for byte as received.
    pub data: Box<str>,
    /// The stream that an original begins.
    pub stream: Option<Box<StreamOptions>>,
    /// The claims of the author's token that routes forward, as a JSON object.
    pub claims: Option<Arc<str>>,
    /// The time at which the command arrived; the deadline of its reply is counted from it.
    pub asked: Moment,
}
