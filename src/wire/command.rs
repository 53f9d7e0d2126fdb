//! Client to server: one text frame becomes one [`Command`], or a clear refusal.
//!
//! [`parse`] passes over the text once. What it keeps are slices of it: `data` is never looked into, and on
//! the way of a `publish` only the channel's name and the key are copied.

mod arguments;
mod parse;
#[cfg(test)]
mod tests;

pub use parse::{Bounds, CLIENT_BYTES_MAX, HISTORY_LIMIT_DEFAULT, TOKEN_BYTES_MAX, parse};

use crate::id::{ChannelName, CommandId, Epoch, Key, Offset};
use std::borrow::Cow;

/// One command as it arrived.
#[derive(Debug, PartialEq)]
pub struct Request<'a> {
    /// Where the reply goes; `None` is allowed for `signal` alone.
    pub id: Option<CommandId>,
    /// What is asked.
    pub command: Command<'a>,
}

/// What a client may ask.
#[derive(Debug, PartialEq)]
pub enum Command<'a> {
    /// Opens the session.
    Connect(Connect<'a>),
    /// Brings a fresh token before the old one expires.
    Refresh {
        /// The new token.
        token: Cow<'a, str>,
    },
    /// Asks for a channel's publications from now on, and for what was missed.
    Subscribe {
        /// The channel.
        channel: ChannelName,
        /// Where to begin.
        from: From,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// The channel.
        channel: ChannelName,
    },
    /// Appends to a channel's log.
    Publish(Publish<'a>),
    /// Reads a page of a channel's log.
    History {
        /// The channel.
        channel: ChannelName,
        /// Which way, from where.
        range: Range,
        /// Already clamped to 1–300.
        limit: u32,
    },
    /// Tells the channel's subscribers something that is not worth keeping.
    Signal {
        /// The channel.
        channel: ChannelName,
        /// JSON as received, byte for byte.
        data: &'a str,
    },
}

/// The arguments of `connect`.
#[derive(Debug, Default, PartialEq)]
pub struct Connect<'a> {
    /// The token, unless the upgrade carried one.
    pub token: Option<Cow<'a, str>>,
    /// The client's own name and version, for logs; at most 64 bytes are kept.
    pub client: Option<Cow<'a, str>>,
    /// Subscriptions to restore, at most `limits.subscriptions`.
    pub recover: Vec<Cursor>,
}

/// A client's position in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The channel.
    pub channel: ChannelName,
    /// `None` when the text can be no epoch of ours: the answer is then `epoch_changed`.
    pub epoch: Option<Epoch>,
    /// The last publication the client has.
    pub offset: Offset,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the next publication.
    Now,
    /// After what the client has (`recover`).
    After {
        /// As in [`Cursor::epoch`].
        epoch: Option<Epoch>,
        /// The last publication the client has.
        offset: Offset,
    },
    /// With the last few (`last`), already clamped to 1–300.
    Last(u32),
}

/// Which part of a log `history` reads. Pages are ascending either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The newest ones below this offset; without `before` and `after`, below the greatest integer.
    Before(Offset),
    /// The oldest ones above this offset.
    After(Offset),
}

/// The arguments of `publish`.
#[derive(Debug, PartialEq)]
pub struct Publish<'a> {
    /// The channel.
    pub channel: ChannelName,
    /// The idempotency key.
    pub key: Option<Key>,
    /// What is published.
    pub content: Content<'a>,
}

/// What a publication is, and the JSON it carries, byte for byte as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A new publication.
    Original(&'a str),
    /// Replaces an earlier one.
    Edit(Offset, &'a str),
    /// Erases an earlier one; what it carries itself is usually `null`.
    Delete(Offset, &'a str),
}

/// Why a frame is no command, as the peer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The id, where one could be read.
    pub id: Option<CommandId>,
    /// Which error.
    pub fault: Fault,
    /// A sentence that names the field, the bound and what to do.
    pub message: String,
}

/// The error codes parsing can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `malformed`
    Malformed,
    /// `unknown_command`
    UnknownCommand,
    /// `too_large`
    TooLarge,
}
