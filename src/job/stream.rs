//! Jobs for the owner of the streams, in a bounded queue of their own. A producer knows of its begin only after the commit, so
//! nothing needs an order between this queue and that of the appends.

pub use crate::id::ProducerId;
pub use crate::wire::stream::{
    BeginStream, BegunStream, News, ProducerNotice, StreamFault, StreamNews, StreamOutcome, WholeStream,
};

use super::message::Ticket;
use crate::id::UserName;
use crate::limits::STREAM_QUEUE_BYTES;
use crate::session::outcome::CancelAuthority;
use crate::wire::stream::{EndCause, Generation, Piece, Position, StreamEnd, StreamId};
use crossbeam_channel::{Sender, TrySendError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that produce streams may fill one part of this many of the queue; the rest is for connections.
const THREADS_PART: usize = 2;

/// The queue of the streams, with a bound in commands and one in bytes.
#[derive(Clone, Debug)]
pub struct StreamQueue {
    pub work: Sender<StreamWork>,
    /// The bytes of the work in that queue.
    pub bytes: Arc<AtomicUsize>,
}

impl StreamQueue {
    /// The amount of work that still fits.
    pub fn room(&self) -> usize {
        match self.bytes.load(Ordering::Acquire) < STREAM_QUEUE_BYTES {
            true => self.work.capacity().map_or(usize::MAX, |bound| bound.saturating_sub(self.work.len())),
            false => 0,
        }
    }

    /// Sends work; gives it back if as many commands or bytes wait as may.
    #[allow(clippy::result_large_err, reason = "work comes back seldom, and a box would cost each piece")]
    pub fn send(&self, work: StreamWork) -> Result<(), StreamWork> {
        let bytes = work.bytes();
        let sent = match self.bytes.fetch_add(bytes, Ordering::AcqRel) < STREAM_QUEUE_BYTES {
            true => self.work.try_send(work).map_err(TrySendError::into_inner),
            false => Err(work),
        };
        sent.inspect_err(|_| {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        })
    }

    /// Sends work of a thread. Gives it back if half of the queue is full, so that threads leave the other half to connections.
    #[allow(clippy::result_large_err, reason = "as in `send`")]
    pub fn send_of_thread(&self, work: StreamWork) -> Result<(), StreamWork> {
        let has_bytes = self.bytes.load(Ordering::Acquire) < STREAM_QUEUE_BYTES / THREADS_PART;
        let has_places = self.work.capacity().is_none_or(|bound| self.work.len() < bound / THREADS_PART);
        if has_bytes && has_places { self.send(work) } else { Err(work) }
    }
}

/// Work for the owner of the streams.
#[derive(Debug)]
pub enum StreamWork {
    Job(StreamJob),
    /// A connection ended: each of its streams loses its producer.
    Detach {
        producer: ProducerId,
    },
    /// A producer is done, and another one will go on with its streams.
    Leave {
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
            StreamWork::Job(_)
            | StreamWork::Detach { .. }
            | StreamWork::Leave { .. }
            | StreamWork::Hint { .. } => 0,
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

impl StreamOrder {
    /// The generation that it names; `None` for the newest, and for orders that name none.
    pub fn generation(&self) -> Option<Generation> {
        match *self {
            StreamOrder::Append { generation, .. } | StreamOrder::End { generation, .. } => generation,
            StreamOrder::Restart
            | StreamOrder::Cancel { .. }
            | StreamOrder::Attach
            | StreamOrder::Take
            | StreamOrder::Fail { .. } => None,
        }
    }
}
