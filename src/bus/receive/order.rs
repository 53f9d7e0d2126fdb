//! Orders of other instances, and their word that they have carried one out.

use super::BusReceiver;
use crate::cluster::order::ClusterOrder;
use crate::id::OrderId;
use crate::job::orders::StoredOrder;
use crate::metrics::store::bump;
use crate::wire::envelope::{self, BusKey, EnvelopeFault, OrderMessage, Origin};

impl BusReceiver {
    /// Takes an order of another instance, or its word that it has carried one out. The store has both as well.
    pub(super) fn order(&self, origin: Origin, key: &BusKey, message: &[u8]) {
        match envelope::read_order(message, key, self.topics.orders()) {
            Ok(OrderMessage::Made(text)) => {
                let order = StoredOrder {
                    id: OrderId(text.number),
                    order: ClusterOrder::stored(text.kind, text.args),
                    made_unix_ms: text.made,
                    store_unix_ms: text.made,
                    by: text.by.into(),
                };
                self.ends.board.hear(order, OrderId(text.previous));
            }
            Ok(OrderMessage::Done { number, closed }) => {
                self.ends.board.hear_done(origin.0, OrderId(number), closed);
            }
            Err(EnvelopeFault::Unknown) => bump(&self.config.counters.unknown),
            Err(_) => bump(&self.config.counters.garbled),
        }
    }
}
