//! Client to server: one text frame becomes one [`Command`], or a [`Rejected`] that explains the fault.
//!
//! [`parse()`] passes over the text once and keeps slices of it. It never looks into `data`, and for a `publish` it
//! copies only the channel's name and the key.

mod arguments;
mod author;
mod parse;
mod previous;
mod rejected;
mod report;
mod request;
mod response;
mod roster;
mod stream;
#[cfg(test)]
mod tests;

pub use author::named_author;
pub use parse::{CLIENT_BYTES_MAX, CommandBounds, HISTORY_LIMIT_DEFAULT, TOKEN_BYTES_MAX, parse};
pub use previous::{
    FailedAttempt, FailedAttempts, PREVIOUS_ATTEMPTS_MAX, PREVIOUS_BYTES_MAX, PREVIOUS_MS_MAX, Previous,
};
pub use rejected::{CommandFault, Rejected};
pub use report::{ClientReport, ErrorLevel, REPORT_BYTES_MAX, REPORT_ERRORS_MAX, ReportedError};
pub use request::{
    Command, CommandFrame, Connect, Content, Cursor, Entrance, HistoryRange, Publish, RosterUse, StartAt,
    Subscribe, WatchDetail,
};
pub use response::{AnswerPlace, ResponseCommand, parse_response};
pub use stream::{AppendPiece, EndStream, KNOWN_STREAMS_MAX};
