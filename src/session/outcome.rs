//! What the workers' answers mean to a session: the vocabulary that both sides of `job` share.

use crate::auth::permission::Permissions;
use crate::auth::token::TokenFault;
use crate::health::outage::Reference;
use crate::id::{Epoch, Offset, UserName};
use std::sync::Arc;

/// What an append does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendChange {
    /// Adds a publication.
    Original,
    /// Replaces an earlier one.
    Edit(Offset, Authority),
    /// Erases an earlier one.
    Delete(Offset, Authority),
}

/// Whose publications may be edited or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Only one's own.
    Author,
    /// Anybody's: the `moderate` right.
    Moderator,
}

/// When a token is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// With `connect`.
    Connect,
    /// With `refresh`, by this user: a token of another user is refused.
    Refresh(UserName),
}

/// What a good token grants.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `sub`
    pub user: UserName,
    /// `channels`
    pub permissions: Arc<Permissions>,
    /// From here on the token is no longer accepted: `exp` plus the leeway, Unix milliseconds.
    pub expires_unix_ms: Option<u64>,
    /// Whether this check entered the user into the census: `connect` does, `refresh` does not.
    pub counted: Counted,
}

/// Whether the auth worker counts somebody, and is to be told of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Once more with this; to be counted off once.
    Yes,
    /// Not with this.
    No,
}

/// The reference where a token could not be judged and no outage was seen: the log has a line with it.
pub const UNANSWERED: &str = "auth-call";

/// Why a token did not open a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The token itself.
    Token(TokenFault),
    /// `refresh` with a token of somebody else.
    OtherUser,
    /// `limits.connections_per_user` is reached.
    TooManyOfUser,
    /// The auth service would have to be asked, and does not answer: it says nothing of the token.
    Unjudged {
        /// When to come back.
        retry_ms: u32,
        /// The outage, where it is known.
        reference: Option<Reference>,
    },
    /// `auth.waiting` is reached.
    TooManyWaiting,
}

/// Why an address was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressDenied {
    /// `limits.connections_per_address` is reached.
    TooMany,
    /// `limits.handshakes_per_s` is exceeded; come back after this many milliseconds.
    TooFast {
        /// `retry_ms`
        retry_ms: u32,
    },
}

/// What an append became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The identity of the log.
    pub epoch: Epoch,
    /// Its place, or that of the first one under the same key.
    pub offset: Offset,
    /// When it, or the first one, was committed, Unix milliseconds.
    pub time_ms: u64,
    /// Whether this attempt stored it.
    pub attempt: Attempt,
}

/// Whether an append stored anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It did.
    First,
    /// An earlier one did, under the same key.
    Repeat,
}

/// Why an append stored nothing, or perhaps nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The key stands for other content.
    KeyConflict,
    /// The publication to edit or delete is not retained, is no original, or is deleted.
    NotFound,
    /// It is somebody else's, and there is no `moderate` right.
    NotAuthor,
    /// `limits.channels` is reached and the channel is new.
    TooManyChannels,
    /// Certainly not stored.
    Unavailable {
        /// When to try again.
        retry_ms: u32,
    },
    /// The commit's outcome is not known: the same key again finds out.
    Unconfirmed {
        /// When to try again.
        retry_ms: u32,
    },
}

/// The log could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// When to try again.
    pub retry_ms: u32,
}
