//! What a session asks of its reactor. Imperative: each names a thing to do, in order.

use super::outcome::{AppendChange, Occasion};
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::hub::SubscriptionId;
use crate::id::{ChannelName, CommandId, Key, UserName};
use crate::wire::command::Range;
use std::sync::Arc;

/// One thing to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Commit a publication, and answer with [`super::Session::appended`].
    Append(Box<AppendEffect>),
    /// Read a page of a log, and answer with [`super::Session::history_read`].
    History {
        /// Whom to answer.
        id: CommandId,
        /// The channel.
        channel: ChannelName,
        /// Which part.
        range: Range,
        /// Publications at most.
        limit: u32,
        /// When the command came.
        asked: Moment,
    },
    /// Check a token, and answer with [`super::Session::token_checked`].
    CheckToken {
        /// The token.
        token: Box<str>,
        /// Whether it opens the session or goes on with it.
        occasion: Occasion,
        /// The command it came with.
        id: CommandId,
        /// When the command came.
        asked: Moment,
    },
    /// Send this frame to the channel's subscribers on every reactor.
    Signal {
        /// The channel.
        channel: ChannelName,
        /// The frame.
        frame: Arc<[u8]>,
    },
    /// The reply is written: begin to catch up.
    Replay(SubscriptionId),
    /// A counted user's connection ends.
    Leave(UserName),
    /// Say why, and close.
    Close(CloseReason),
}

/// What is to be committed.
#[derive(Debug, PartialEq)]
pub struct AppendEffect {
    /// Whom to answer.
    pub id: CommandId,
    /// The channel.
    pub channel: ChannelName,
    /// The author.
    pub user: UserName,
    /// The idempotency key.
    pub key: Option<Key>,
    /// What it does.
    pub change: AppendChange,
    /// JSON, byte for byte as received.
    pub data: Box<str>,
    /// When the command came: its answer is due from then.
    pub asked: Moment,
}
