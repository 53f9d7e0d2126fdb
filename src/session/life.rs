//! A session that was open, as the record of its end has it.

use crate::clock::Moment;
use crate::flag::FlagSet;
use crate::id::UserName;
use crate::wire::command::CLIENT_BYTES_MAX;
use crate::wire::short_text::ShortText;

/// `client` of `connect`: its name and version. It is in place, because a handshake must not allocate for what only an operator
/// asks for.
pub type ClientText = ShortText<CLIENT_BYTES_MAX>;

/// The facts about a session that was open, for the record of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub user: UserName,
    /// Empty if `connect` had none.
    pub client: ClientText,
    /// The time at which `connect` was accepted.
    pub opened: Moment,
    /// The flags that the client was sent last.
    pub flags: FlagSet,
}
