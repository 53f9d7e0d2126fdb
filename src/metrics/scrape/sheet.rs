//! Encoding of metrics: one call writes one metric.

use super::values::read;
use crate::metrics::clients::BoundHistogram;
use crate::metrics::duration::{BOUNDS_US, DurationHistogram};
use crate::metrics::latency::LatencyCounts;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::time::Duration;

pub(super) struct Sheet<'a>(pub(super) DescriptorEncoder<'a>);

impl Sheet<'_> {
    pub(super) fn counter(&mut self, name: &str, help: &str, total: u64) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(total).encode(encoder)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value as f64).encode(encoder)
    }

    pub(super) fn seconds(&mut self, name: &str, help: &str, value: Duration) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value.as_secs_f64()).encode(encoder)
    }

    pub(super) fn labelled<'l>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl IntoIterator<Item = (&'l [(&'l str, &'l str)], u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            let encoder = family.encode_family(&labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(value).encode(encoder)?,
                _ => ConstGauge::new(value as f64).encode(encoder)?,
            }
        }
        Ok(())
    }

    /// Writes a counter of seconds.
    pub(super) fn counter_seconds(&mut self, name: &str, help: &str, total: Duration) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(total.as_secs_f64()).encode(encoder)
    }

    /// Writes counters of seconds.
    pub(super) fn counters_of_seconds<'l>(
        &mut self,
        name: &str,
        help: &str,
        totals: impl IntoIterator<Item = (&'l [(&'l str, &'l str)], Duration)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, total) in totals {
            ConstCounter::new(total.as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Writes a gauge with a fractional value.
    pub(super) fn fraction(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    /// Writes gauges with fractional values.
    pub(super) fn fractions<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (&'l [(&'l str, &'l str)], f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, values: &DurationHistogram) -> fmt::Result {
        encode_histogram(self.0.encode_descriptor(name, help, None, MetricType::Histogram)?, values)
    }

    /// Writes a histogram of latencies, in seconds.
    pub(super) fn latencies(&mut self, name: &str, help: &str, counts: &LatencyCounts) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let buckets = counts.histogram();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(counts.sum_s(), count, &buckets, None)
    }

    /// Writes a histogram of whole numbers as multiples of `unit`.
    pub(super) fn bounds_of(
        &mut self,
        name: &str,
        help: &str,
        values: &BoundHistogram,
        unit: f64,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let scaled = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| bound as f64 * unit);
        let buckets: Vec<(f64, u64)> = values.read().map(|(bound, count)| (scaled(bound), count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(values.sum() as f64 * unit, count, &buckets, None)
    }

    /// Writes a histogram for each label.
    pub(super) fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'l str, &'l str); 1], &'l DurationHistogram)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, values) in values {
            encode_histogram(family.encode_family(&labels)?, values)?;
        }
        Ok(())
    }
}

/// Writes durations in seconds.
fn encode_histogram(mut encoder: MetricEncoder<'_>, values: &DurationHistogram) -> fmt::Result {
    let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(values.buckets.iter().map(read)).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(read(&values.sum_us) as f64 / 1e6, count, &buckets, None)
}
