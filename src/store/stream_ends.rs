//! The queue and the counters of streams that a store shares with the rest of the process.

use crate::job::stream::StreamWork;
use crate::metrics::streams::StreamCounters;
use crossbeam_channel::{Receiver, bounded, never};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// The commands about streams, and their counters.
pub struct StreamEnds {
    pub work: Receiver<StreamWork>,
    /// The bytes of the work in the queue ([`StreamWork::bytes`]): the one who takes work subtracts them.
    pub queued_bytes: Arc<AtomicUsize>,
    pub counters: Arc<StreamCounters>,
}

impl StreamEnds {
    pub fn new(
        work: Receiver<StreamWork>,
        queued_bytes: Arc<AtomicUsize>,
        counters: &Arc<StreamCounters>,
    ) -> StreamEnds {
        StreamEnds { work, queued_bytes, counters: Arc::clone(counters) }
    }

    /// For a store in PostgreSQL that gets no commands about streams: it ends with the queue of its appends.
    pub fn closed() -> StreamEnds {
        StreamEnds { work: bounded(0).1, ..StreamEnds::none() }
    }

    /// For an embedded store that gets none.
    pub fn none() -> StreamEnds {
        StreamEnds { work: never(), queued_bytes: Arc::default(), counters: Arc::default() }
    }
}
