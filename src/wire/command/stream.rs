//! The commands about streams.

use crate::id::{ChannelName, Offset};
use crate::wire::stream::{Generation, Piece, Position, StreamEnd};

/// The arguments of `append`.
#[derive(Debug, PartialEq)]
pub struct AppendPiece {
    pub channel: ChannelName,
    /// The begin of the stream.
    pub offset: Offset,
    /// `None`: the newest.
    pub generation: Option<Generation>,
    /// `None`: after what there is.
    pub at: Option<Position>,
    pub piece: Piece,
}

/// The arguments of `end`.
#[derive(Debug, PartialEq)]
pub struct EndStream<'a> {
    pub channel: ChannelName,
    /// The begin of the stream.
    pub offset: Offset,
    /// `None`: the newest.
    pub generation: Option<Generation>,
    /// `None`: after what there is.
    pub at: Option<Position>,
    /// [`StreamEnd::Completed`], [`StreamEnd::Failed`] or [`StreamEnd::Cancelled`].
    pub end: StreamEnd,
    /// JSON in place of the text, byte for byte as received.
    pub data: Option<&'a str>,
}
