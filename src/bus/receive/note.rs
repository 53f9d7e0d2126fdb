//! Messages of other instances to all: orders, their word that they have carried one out, and hints to look at a stream.

use super::BusReceiver;
use crate::cluster::order::ClusterOrder;
use crate::id::OrderId;
use crate::job::orders::StoredOrder;
use crate::job::stream::StreamWork;
use crate::metrics::store::bump;
use crate::wire::envelope::{self, BusKey, EnvelopeFault, InstanceMessage, Origin};

impl BusReceiver {
    /// Takes a message of another instance. The store has the same.
    pub(super) fn note(&self, origin: Origin, key: &BusKey, message: &[u8]) {
        match envelope::read_note(message, key, self.topics.orders()) {
            Ok(InstanceMessage::Made(text)) => {
                let order = StoredOrder {
                    id: OrderId(text.number),
                    order: ClusterOrder::stored(text.kind, text.args),
                    made_unix_ms: text.made,
                    store_unix_ms: text.made,
                    by: text.by.into(),
                };
                self.ends.board.hear(order, OrderId(text.previous));
            }
            Ok(InstanceMessage::Done { number, closed }) => {
                self.ends.board.hear_done(origin.0, OrderId(number), closed);
            }
            Ok(InstanceMessage::StreamHint(id)) => {
                // Open streams are compared each second, so one that does not fit is dropped.
                let _ = self.ends.streams.try_send(StreamWork::Hint { id });
            }
            Err(EnvelopeFault::Unknown) => bump(&self.config.counters.unknown),
            Err(_) => bump(&self.config.counters.garbled),
        }
    }
}
