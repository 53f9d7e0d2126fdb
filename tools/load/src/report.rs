//! The JSON line of a run.

use crate::arguments::Common;
use crate::crowd::Crowd;
use crate::window::Measured;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Times in microseconds, with three significant digits, up to a minute.
#[derive(Debug)]
pub(crate) struct Times(Option<Histogram<u64>>);

/// One minute; runs give up before anything takes longer.
const LONGEST_US: u64 = 60_000_000;

impl Times {
    pub(crate) fn new() -> Times {
        Times(Histogram::new_with_bounds(1, LONGEST_US, 3).ok())
    }

    pub(crate) fn add(&mut self, time: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(crate::clock::micros(time).max(1));
        }
    }

    /// Adds all times of another thread.
    pub(crate) fn merge(&mut self, other: &Times) {
        if let (Some(own), Some(other)) = (&mut self.0, &other.0) {
            // Both have the same bounds, so nothing can be out of range.
            let _ = own.add(other);
        }
    }

    /// The time that this part of all did not exceed, in microseconds; `None` without any.
    pub(crate) fn quantile(&self, part: f64) -> Option<u64> {
        self.0.as_ref().filter(|times| !times.is_empty()).map(|times| times.value_at_quantile(part))
    }

    /// Formats the percentiles for the report.
    pub(crate) fn json(&self) -> Value {
        let Some(histogram) = &self.0 else { return Value::Null };
        json!({
            "count": histogram.len(),
            "p50": histogram.value_at_quantile(0.5),
            "p90": histogram.value_at_quantile(0.9),
            "p99": histogram.value_at_quantile(0.99),
            "p99_9": histogram.value_at_quantile(0.999),
            "max": histogram.max(),
        })
    }
}

/// The report of a run, under construction.
#[derive(Debug)]
pub(crate) struct Report {
    line: Map<String, Value>,
    /// True if everything was as expected.
    pub(crate) clean: bool,
}

impl Report {
    /// Starts the report of a run of `mode` with these parameters.
    pub(crate) fn new(mode: &str, common: &Common, parameters: Value, crowd: &Crowd) -> Report {
        let mut line = Map::new();
        line.insert("tool".to_owned(), "seawall-load".into());
        line.insert("mode".to_owned(), mode.into());
        line.insert("target".to_owned(), common.target.to_string().into());
        line.insert("parameters".to_owned(), parameters);
        line.insert("errors".to_owned(), crowd.faults.json());
        let counts = &crowd.counts;
        if counts.tls_full + counts.tls_resumed > 0 {
            line.insert("tls_full".to_owned(), counts.tls_full.into());
            line.insert("tls_resumed".to_owned(), counts.tls_resumed.into());
        }
        Report { line, clean: crowd.faults.none() }
    }

    /// Adds the number of operations, their rate, and the server's CPU time per operation.
    pub(crate) fn operations(mut self, what: &str, count: u64, measured: Measured) -> Report {
        let seconds = measured.elapsed.as_secs_f64();
        self.line.insert("operation".to_owned(), what.into());
        self.line.insert("operations".to_owned(), count.into());
        self.line.insert("elapsed_s".to_owned(), rounded(Some(seconds)));
        self.line.insert("per_s".to_owned(), rounded((seconds > 0.0).then(|| count as f64 / seconds)));
        let each = measured.cpu_us.filter(|_| count > 0).map(|cpu_us| cpu_us / count as f64);
        self.line.insert("cpu_us".to_owned(), rounded(measured.cpu_us));
        self.line.insert("cpu_us_per_operation".to_owned(), rounded(each));
        self
    }

    /// Adds latencies under a name.
    pub(crate) fn latency(mut self, name: &str, times: &Times) -> Report {
        self.line.insert(format!("{name}_us"), times.json());
        self
    }

    /// Adds any other value.
    pub(crate) fn value(mut self, name: &str, value: impl Into<Value>) -> Report {
        self.line.insert(name.to_owned(), value.into());
        self
    }

    /// Formats the report as one line.
    pub(crate) fn line(self) -> String {
        Value::Object(self.line).to_string()
    }
}

/// Rounds to three decimal places; `null` if the value is unknown.
pub(crate) fn rounded(value: Option<f64>) -> Value {
    value.map_or(Value::Null, |value| json!((value * 1e3).round() / 1e3))
}
