//! Metrics of the cluster, as this instance knows it.

use super::sheet::Sheet;
use super::values::read;
use crate::cluster::instance::InstanceState;
use crate::metrics::cluster::ClusterCounters;
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::time::Duration;

pub(super) fn encode(cluster: &ClusterCounters, sheet: &mut Sheet<'_>) -> fmt::Result {
    let labels = InstanceState::ALL.map(|state| [("state", state.as_str())]);
    let counts = labels.iter().zip(&cluster.instances).map(|(label, cell)| (&label[..], read(cell)));
    let help = "Instances by state, this one among them";
    sheet.labelled("cluster_instances", help, MetricType::Gauge, counts)?;
    let connections = read(&cluster.connections);
    sheet.gauge(
        "cluster_connections",
        "Connections of all living instances whose load is known",
        connections,
    )?;
    let over_mean = |thousandths: u64| thousandths as f64 / 1_000.0;
    sheet.fraction(
        "cluster_spread_max",
        "Connections of the fullest living instance divided by the mean",
        over_mean(read(&cluster.spread_max)),
    )?;
    sheet.fraction(
        "cluster_spread_min",
        "Connections of the emptiest living instance divided by the mean",
        over_mean(read(&cluster.spread_min)),
    )?;
    sheet.gauge("cluster_leader", "1 while this instance leads, else 0", read(&cluster.leader))?;
    sheet.gauge(
        "cluster_complete",
        "1 while each living instance is known with its load, else 0",
        read(&cluster.complete),
    )?;
    sheet.counter(
        "cluster_doubts",
        "Times this instance wrote itself into Redis again because of a doubt",
        read(&cluster.doubts),
    )?;
    sheet.counter(
        "cluster_renewal_failures",
        "Renewals of the lease in Redis that failed",
        read(&cluster.renewal_failures),
    )?;
    let took = Duration::from_micros(read(&cluster.renewal_us));
    sheet.seconds("cluster_renewal_seconds", "Time of the last renewal of the lease, in seconds", took)
}
