//! The queues, mailboxes and counters that a store's threads share with the rest of the process.

use crate::job::callers::Callers;
use crate::job::orders::{OrderBoard, OrderRequest};
use crate::job::shared_counts::CountsEnds;
use crate::job::{Append, Mailbox, Read};
use crate::metrics::store::StoreCounters;
use crate::store::relay_ends::RelayEnds;
use crate::store::stream_ends::StreamEnds;
use crossbeam_channel::Receiver;
use std::sync::Arc;

/// The queues that a store serves, and where its answers and counts go. The store's threads end when all senders of the queues
/// are gone.
pub struct StoreEnds {
    /// The way to each reactor, by its id.
    pub mailboxes: Arc<[Mailbox]>,
    /// The way to threads that wait.
    pub callers: Arc<Callers>,
    /// Publications to commit.
    pub appends: Receiver<Append>,
    /// Pages, heads and open streams to read.
    pub reads: Receiver<Read>,
    pub streams: StreamEnds,
    pub relay: RelayEnds,
    pub counters: Arc<StoreCounters>,
    pub orders: OrderEnds,
    /// The counts of objectives that instances share; `None` if nothing shares them.
    pub shared_counts: Option<CountsEnds>,
}

/// The orders of this process, and the requests to commit one.
pub struct OrderEnds {
    pub board: Arc<OrderBoard>,
    pub requests: Receiver<OrderRequest>,
}

impl OrderEnds {
    /// For a store that serves nothing else.
    pub fn alone() -> OrderEnds {
        let (board, requests) = OrderBoard::alone(Arc::from([]));
        OrderEnds { board, requests }
    }
}
