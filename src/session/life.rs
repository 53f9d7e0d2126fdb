//! A session that was open, as the record of its end has it.

use crate::clock::Moment;
use crate::id::UserName;

/// The facts about a session that was open, for the record of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub user: UserName,
    /// `client` of `connect`, at most 64 bytes.
    pub client: Option<Box<str>>,
    /// The time at which `connect` was accepted.
    pub opened: Moment,
}
