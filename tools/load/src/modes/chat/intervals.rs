//! Figures of a time span: the whole window, or one interval of it.

use crate::counts::Counts;
use crate::process::Process;
use crate::report::{Times, rounded};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Figures {
    /// Delay of the send after its intended time; above a millisecond or two the generator lacks a core of its own.
    pub(super) left_late: Times,
    /// From the intended time to `published`.
    pub(super) published: Times,
    /// From the intended time to the delivery to each subscriber that was present.
    pub(super) delivered: Times,
}

impl Figures {
    pub(super) fn new() -> Figures {
        Figures { left_late: Times::new(), published: Times::new(), delivered: Times::new() }
    }
}

/// Counters that only grow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) publishes: u64,
    /// Publishes acknowledged.
    pub(super) published: u64,
    /// Publications delivered to live subscribers.
    pub(super) deliveries: u64,
    /// Publications delivered in a replay.
    pub(super) replayed: u64,
}

/// Writes one line per period.
#[derive(Debug)]
pub(super) struct Intervals {
    period: Duration,
    process: Option<Process>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    window: Instant,
    from: Instant,
    totals: Totals,
    connections: [u64; 4],
    cpu_us: Option<f64>,
    figures: Figures,
}

impl Intervals {
    /// Writes a line per period, with the CPU and memory of `process` at that time.
    pub(super) fn new(period: Duration, process: Option<Process>) -> Intervals {
        Intervals { period, process, open: None }
    }

    /// The figures to record current latencies in, while the window is open.
    pub(super) fn figures(&mut self) -> Option<&mut Figures> {
        self.open.as_mut().map(|open| &mut open.figures)
    }

    /// Starts the first interval.
    pub(super) fn begin(&mut self, now: Instant, totals: Totals, counts: &Counts) {
        self.open = Some(self.next(now, now, totals, counts));
    }

    /// The line of the current interval, if it is over.
    pub(super) fn turn(&mut self, now: Instant, totals: Totals, counts: &Counts) -> Option<String> {
        let open = self.open.as_ref()?;
        if now.saturating_duration_since(open.from) < self.period {
            return None;
        }
        let line = self.line(open, now, totals, counts);
        self.open = Some(self.next(open.window, open.from + self.period, totals, counts));
        Some(line)
    }

    /// The line of the last, incomplete interval, if it is at least half a period long.
    pub(super) fn end(&mut self, now: Instant, totals: Totals, counts: &Counts) -> Option<String> {
        let open = self.open.take()?;
        let left = now.saturating_duration_since(open.from);
        (left >= self.period / 2).then(|| self.line(&open, now, totals, counts))
    }

    fn next(&self, window: Instant, from: Instant, totals: Totals, counts: &Counts) -> Open {
        let cpu_us = self.process.as_ref().and_then(Process::cpu_us);
        Open { window, from, totals, connections: connections(counts), cpu_us, figures: Figures::new() }
    }

    fn line(&self, open: &Open, now: Instant, totals: Totals, counts: &Counts) -> String {
        let at = |moment: Instant| rounded(Some((moment - open.window).as_secs_f64()));
        let seconds = (now - open.from).as_secs_f64();
        let [opened, closed, dropped, reset] = connections(counts);
        let [opened_before, closed_before, dropped_before, reset_before] = open.connections;
        let (publishes, published) =
            (totals.publishes - open.totals.publishes, totals.published - open.totals.published);
        let deliveries = totals.deliveries - open.totals.deliveries;
        let mut line = Map::new();
        let mut add = |name: &str, value: Value| line.insert(name.to_owned(), value);
        add("tool", "seawall-load".into());
        add("mode", "chat".into());
        add("interval", json!([at(open.from), at(now)]));
        add("publishes", publishes.into());
        add("published", published.into());
        add("deliveries", deliveries.into());
        add("replayed", (totals.replayed - open.totals.replayed).into());
        add("publishes_per_s", rounded(Some(publishes as f64 / seconds)));
        add("deliveries_per_s", rounded(Some(deliveries as f64 / seconds)));
        add("opened", (opened - opened_before).into());
        add("closed", (closed - closed_before).into());
        add("dropped", (dropped - dropped_before).into());
        add("reset", (reset - reset_before).into());
        add("left_late_us", open.figures.left_late.json());
        add("published_us", open.figures.published.json());
        add("delivered_us", open.figures.delivered.json());
        let cpu_us = self.process.as_ref().and_then(Process::cpu_us).zip(open.cpu_us);
        add("cpu_percent", rounded(cpu_us.map(|(after, before)| (after - before) / seconds / 1e4)));
        let reading = self.process.as_ref().and_then(Process::read);
        add("resident_bytes", reading.map(|reading| reading.resident).into());
        add("anonymous_bytes", reading.map(|reading| reading.anonymous).into());
        add("descriptors", reading.map(|reading| reading.descriptors).into());
        Value::Object(line).to_string()
    }
}

fn connections(counts: &Counts) -> [u64; 4] {
    [counts.opened, counts.closes_sent, counts.dropped, counts.reset]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_reports_only_what_happened_in_it() {
        let (now, second) = (crate::clock::now(), Duration::from_secs(1));
        let mut intervals = Intervals::new(second, None);
        let mut counts = Counts { opened: 5, ..Counts::default() };
        let totals = |publishes| Totals { publishes, ..Totals::default() };
        assert!(intervals.turn(now, totals(1), &counts).is_none());
        intervals.begin(now, totals(10), &counts);
        counts.opened = 8;
        assert!(intervals.turn(now + second / 2, totals(11), &counts).is_none());
        let line = intervals.turn(now + second, totals(30), &counts).expect("a second is over");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["publishes"], &line["opened"]), (&json!(20), &json!(3)));
        assert_eq!(line["interval"], json!([0.0, 1.0]));
        assert!(intervals.end(now + second * 5 / 4, totals(31), &counts).is_none());
    }
}
