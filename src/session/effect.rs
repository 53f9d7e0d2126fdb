//! Orders from a session to its reactor, to be carried out in order.

use super::outcome::{AppendChange, Creation, Occasion};
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::hub::SubscriptionId;
use crate::id::{ChannelName, CommandId, Key, UserName};
use crate::wire::command::HistoryRange;
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
    /// Start catching up, now that the reply is written.
    Replay(SubscriptionId),
    /// Release this connection from its user's count.
    ReleaseUser(UserName),
    /// Report that this setting refused a command.
    OverLimit(&'static str),
    /// Send the reason, and close.
    Close(CloseReason),
    /// The same, for a reason that the auth worker has reported.
    Deny(CloseReason),
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
    /// The time at which the command arrived; the deadline of its reply is counted from it.
    pub asked: Moment,
}
