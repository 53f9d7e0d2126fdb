//! The reason why a text frame is not a valid command.

use crate::id::CommandId;

/// An invalid command, as reported to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The id, if it could be read.
    pub id: Option<CommandId>,
    pub fault: CommandFault,
    /// A sentence that names the field, the bound and what to do.
    pub message: String,
}

/// The error codes of the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandFault {
    Malformed,
    UnknownCommand,
    TooLarge,
}
