//! The queue and the counters of streams that a store shares with the rest of the process.

use crate::job::stream::StreamWork;
use crate::metrics::streams::StreamCounters;
use crossbeam_channel::{Receiver, never};
use std::sync::Arc;

/// The commands about streams, and their counters.
pub struct StreamEnds {
    pub work: Receiver<StreamWork>,
    pub counters: Arc<StreamCounters>,
}

impl StreamEnds {
    /// For a store that gets no commands about streams.
    pub fn none() -> StreamEnds {
        StreamEnds { work: never(), counters: Arc::default() }
    }
}
