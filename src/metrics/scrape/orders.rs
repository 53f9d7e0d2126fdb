//! Metrics of orders to all instances.

use super::sheet::Sheet;
use super::values::read;
use crate::cluster::order_counts::OrderCounters;
use prometheus_client::metrics::MetricType;
use std::fmt;

pub(super) fn encode(orders: &OrderCounters, sheet: &mut Sheet<'_>) -> fmt::Result {
    let taken: Vec<_> = orders.taken().map(|(kind, total)| ([("kind", kind.word())], total)).collect();
    let taken = taken.iter().map(|(label, total)| (&label[..], *total));
    sheet.labelled("orders", "Orders that this instance was given, by kind", MetricType::Counter, taken)?;
    sheet.gauge(
        "orders_lag",
        "Orders that this instance knows and has not carried out",
        read(&orders.lag),
    )?;
    sheet.gauge("blocks", "Users that are blocked", read(&orders.blocks))?;
    sheet.gauge("revocations", "Revocations of tokens that have not ended", read(&orders.revocations))
}
