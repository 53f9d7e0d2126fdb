//! Jobs for the owner of the streams, in a bounded queue of their own. A producer knows of its begin only after the commit, so
//! nothing needs an order between this queue and that of the appends.

pub use crate::id::ProducerId;
pub use crate::wire::stream::{
    BeginStream, BegunStream, News, ProducerNotice, StreamFault, StreamNews, StreamOutcome, WholeStream,
};

use super::message::Ticket;
use crate::id::UserName;
use crate::session::outcome::CancelAuthority;
use crate::wire::stream::{EndCause, Generation, Piece, Position, StreamEnd, StreamId};

/// Work for the owner of the streams.
#[derive(Debug)]
pub enum StreamWork {
    Job(StreamJob),
    /// A connection ended: each of its streams loses its producer.
    Detach {
        producer: ProducerId,
    },
    /// Another instance changed a stream: one that is known here is compared with the store now. It may be lost, because open
    /// streams are compared each second.
    Hint {
        id: StreamId,
    },
}

impl StreamWork {
    /// The bytes of its text or data.
    pub fn bytes(&self) -> usize {
        match self {
            StreamWork::Job(StreamJob { order: StreamOrder::Append { piece, .. }, .. }) => match piece {
                Piece::Text(text) => text.len(),
                Piece::Event { data, .. } => data.len(),
                Piece::Alive => 0,
            },
            StreamWork::Job(StreamJob { order: StreamOrder::End { data, .. }, .. }) => {
                data.as_ref().map_or(0, |data| data.len())
            }
            StreamWork::Job(_) | StreamWork::Detach { .. } | StreamWork::Hint { .. } => 0,
        }
    }
}

/// A command about one stream.
#[derive(Debug)]
pub struct StreamJob {
    /// The connection that sent it.
    pub producer: ProducerId,
    /// `None` for an `append` without an id, which is acknowledged in sums.
    pub ticket: Option<Ticket>,
    pub id: StreamId,
    /// The user that sent it.
    pub user: UserName,
    pub order: StreamOrder,
}

/// The command.
#[derive(Debug)]
pub enum StreamOrder {
    Append {
        /// `None`: the newest.
        generation: Option<Generation>,
        /// `None`: after what there is.
        at: Option<Position>,
        piece: Piece,
    },
    /// Begins the next generation.
    Restart,
    End {
        /// `None`: the newest.
        generation: Option<Generation>,
        /// `None`: after what there is.
        at: Option<Position>,
        end: StreamEnd,
        /// JSON in place of the text, byte for byte as received.
        data: Option<Box<str>>,
    },
    /// Without [`CancelAuthority::Moderator`], for the asker and the author only.
    Cancel { authority: CancelAuthority },
    /// The connection becomes the producer: its begin was a repeat of one by another connection.
    Attach,
    /// A backend has taken the question of an answer, which is answered by [`StreamOutcome::Processing`]. It makes no producer.
    Take,
    /// The gateway ends an answer as failed, because its question was not taken.
    Fail { cause: EndCause },
}
