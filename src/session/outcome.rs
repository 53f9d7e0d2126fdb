//! The workers' answers to a session: the types that both sides of `job` share.

use crate::auth::account::{Account, ChannelShare};
use crate::auth::permission::Permissions;
use crate::auth::token::TokenFault;
use crate::auth::trust::{TokenOrigin, TrustEdition};
use crate::health::outage::Reference;
use crate::id::{Epoch, Offset, OrderId, TokenStamp, UserName};
use crate::wire::stream::{BegunStream, StreamFault};
use std::sync::Arc;

/// The kind of change that an append makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendChange {
    /// Adds a publication.
    Original,
    /// Replaces an earlier one.
    Edit(Offset, Authority),
    /// Erases an earlier one.
    Delete(Offset, Authority),
}

/// The publications that the user may edit or delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The user's own publications.
    Author,
    /// The publications of all users: the `moderate` right.
    Moderator,
}

/// The rights on the channel of a user who cancels a stream. Without any, the user may cancel a stream that it began or that is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAuthority {
    /// The `moderate` right: the streams of all users.
    Moderator,
    /// A right with which the user may learn of a stream that has ended.
    Reader,
    /// None: the user learns nothing of a stream that is not open.
    Outsider,
}

/// The command that brought a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// `connect`.
    Connect,
    /// `refresh` by this user; a token of another user is refused.
    Refresh(UserName),
    /// The token of an open session of this user is checked again.
    Recheck(UserName),
}

/// The rights that a valid token grants.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `sub`
    pub user: UserName,
    /// `channels`
    pub permissions: Arc<Permissions>,
    /// The time after which the token is no longer accepted: `exp` plus the leeway, in Unix milliseconds.
    pub expires_unix_ms: Option<u64>,
    /// The publishes per second that the token claims; 0: none.
    pub publishes_per_s: u32,
    /// The claim `info`, as JSON.
    pub info: Option<Arc<str>>,
    /// The claims that routes forward, as a JSON object.
    pub forwarded: Option<Arc<str>>,
    /// `connect` includes the connection in its user's count; `refresh` does not.
    pub counted: Counted,
    /// The meters of the user, shared with the user's other connections; `None` for `anonymous`.
    pub account: Option<Arc<Account>>,
    /// The origin of the rights; `None`: they have none that could be lost.
    pub origin: Option<TokenOrigin>,
    /// The token, if it is to be checked again.
    pub token: Option<Arc<str>>,
    /// The trust that the token was judged by.
    pub edition: TrustEdition,
    /// The facts by which the token can be revoked.
    pub stamp: TokenStamp,
    /// The last order that was known when the token was judged.
    pub as_of: OrderId,
}

impl Identity {
    /// A user with these rights and without an expiry, an account or anything else that a token may bring.
    pub fn new(user: UserName, permissions: Arc<Permissions>) -> Identity {
        Identity {
            user,
            permissions,
            expires_unix_ms: None,
            publishes_per_s: 0,
            info: None,
            forwarded: None,
            counted: Counted::No,
            account: None,
            origin: None,
            token: None,
            edition: TrustEdition::default(),
            stamp: TokenStamp::default(),
            as_of: OrderId::default(),
        }
    }
}

/// The connection's part in its user's count, which the auth worker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The connection is included and must be released exactly once.
    Yes,
    /// The connection is not included.
    No,
}

/// The reference if a token could not be checked although no outage was recorded; a log line has the same reference.
pub const UNANSWERED: &str = "auth-call";

/// The reason why a token was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The token is invalid.
    Token(TokenFault),
    /// `refresh` with a token of another user.
    OtherUser,
    /// The user is blocked; return after `retry_ms` milliseconds, or not, if the block has no end.
    Blocked { retry_ms: Option<u32> },
    /// The store has not been read since the start, so the blocked users are not known.
    NotReady,
    /// `limits.connections_per_user` is reached.
    TooManyOfUser,
    /// The auth service does not answer, so the token was not checked.
    Unchecked {
        /// When to retry, in milliseconds.
        retry_ms: u32,
        /// The outage, if it is known.
        reference: Option<Reference>,
    },
    /// No key at hand is the token's, and newer keys may be fetched in `retry_ms` milliseconds.
    KeysTooNew { retry_ms: u32 },
    /// `auth.waiting` is reached.
    TooManyWaiting,
    /// More tokens are to be checked than the auth worker keeps.
    QueueFull,
}

/// The reason why a handshake from an address was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressDenied {
    /// `limits.connections_per_address` is reached.
    TooMany,
    /// `limits.handshakes_per_s` is exceeded; retry after `retry_ms` milliseconds.
    TooFast { retry_ms: u32 },
}

/// The result of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The identity of the log.
    pub epoch: Epoch,
    /// Its offset, or that of the earlier append with the same key.
    pub offset: Offset,
    /// The time of its commit, or of that earlier one, in Unix milliseconds.
    pub time_ms: u64,
    pub attempt: Attempt,
    /// The stream that it began.
    pub stream: Option<BegunStream>,
    /// The begin of the answer that was stored together with it.
    pub answer: Option<Offset>,
}

/// Says which append stored the publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// This one.
    First,
    /// An earlier one with the same key.
    Repeat,
}

/// The permission to create the channel of an append, if it does not exist.
#[derive(Clone, Debug, PartialEq)]
pub enum Creation {
    /// Without a bound of the user: auth is off.
    Free,
    /// Counted against the user's share.
    Shared(ChannelShare),
    /// The token grants no `create`.
    Denied,
}

/// The reason why an append failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The key belongs to a publication with other content.
    KeyConflict,
    /// The publication to edit or delete is not retained, not an original, or already deleted.
    NotFound,
    /// The publication is another user's, and the user lacks the `moderate` right.
    NotAuthor,
    /// `limits.channels` is reached and the channel is new.
    TooManyChannels,
    /// `limits.channels_per_user` is reached and the channel is new; retry after `retry_ms` milliseconds.
    ChannelShareUsed { retry_ms: u32 },
    /// The channel is new, and the token grants no `create`.
    MayNotCreate,
    /// `limits.edits` is reached for the publication to edit.
    TooManyEdits,
    /// The publication would begin a stream, and there is no room for one, or the store keeps none.
    Stream(StreamFault),
    /// The store refuses publications because its disk is nearly full; retry after `retry_ms` milliseconds.
    NoRoom { retry_ms: u32 },
    /// The publication was certainly not stored; retry after `retry_ms` milliseconds.
    Unavailable { retry_ms: u32 },
    /// The outcome of the commit is unknown; another append with the same key finds out.
    Unconfirmed { retry_ms: u32 },
}

/// The log could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// When to retry, in milliseconds.
    pub retry_ms: u32,
}
