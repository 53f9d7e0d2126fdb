//! The series of the [history](super::history): the values that `/metrics` reads, sampled once a second.

use super::Cell;
use super::history::{Fold, Row, SERIES_MAX};
use super::latency::LatencyCounts;
use super::reactor::ReactorCounters;
use super::scrape::{CloseTotals, LoadTotals, Metrics};
use super::vitals::Vitals;
use crate::clock::Moment;
use std::time::Duration;

/// A measured value over time.
#[derive(Clone, Copy, Debug)]
pub struct SeriesDefinition {
    /// The name in requests; its last word is the unit, if it has one. A rate is a second.
    pub name: &'static str,
    pub fold: Fold,
    source: SeriesSource,
}

/// The origin of a series.
#[derive(Clone, Copy, Debug)]
enum SeriesSource {
    /// The growth of a total, a second.
    Load(fn(&LoadTotals) -> u64),
    Sum(fn(&ReactorCounters) -> &Cell),
    Failed,
    /// A present size.
    Size(fn(&Metrics, &Vitals) -> u64),
    /// The percentile of the time from a publish to its acknowledgement, in microseconds.
    Publish(u8),
    /// Of one core.
    CpuPercent,
    /// The longest turn of a reactor in the last 10 s, in microseconds.
    Turn,
}

const fn mean(name: &'static str, source: SeriesSource) -> SeriesDefinition {
    SeriesDefinition { name, fold: Fold::Mean, source }
}

const fn peak(name: &'static str, source: SeriesSource) -> SeriesDefinition {
    SeriesDefinition { name, fold: Fold::Max, source }
}

const CONNECTIONS: SeriesSource = SeriesSource::Size(|_, vitals| vitals.connections());

/// All series; their places are those of a [`Row`].
pub const SERIES: [SeriesDefinition; 32] = [
    mean("connections", CONNECTIONS),
    peak("connections_peak", CONNECTIONS),
    mean("sessions", SeriesSource::Size(|metrics, _| metrics.sessions_open())),
    mean("connects", SeriesSource::Load(|load| load.connected)),
    mean("closes", SeriesSource::Load(|load| closes(&load.closes))),
    mean("closes_1006", SeriesSource::Load(|load| load.closes.lost)),
    mean("closes_1011", SeriesSource::Load(|load| load.closes.unavailable)),
    mean("closes_1012", SeriesSource::Load(|load| load.closes.restart)),
    mean("closes_1013", SeriesSource::Load(|load| load.closes.over_capacity)),
    mean("closes_4408", SeriesSource::Load(|load| load.closes.silent)),
    mean("closes_other", SeriesSource::Load(|load| load.closes.other)),
    mean("published", SeriesSource::Load(|load| load.published)),
    mean("delivered", SeriesSource::Load(|load| load.delivered)),
    mean("publish_p50_us", SeriesSource::Publish(50)),
    mean("publish_p99_us", SeriesSource::Publish(99)),
    peak("publish_p99_peak_us", SeriesSource::Publish(99)),
    mean("subscriptions", SeriesSource::Size(|metrics, _| metrics.load().subscriptions)),
    mean("channels", SeriesSource::Size(|metrics, _| metrics.sum(|reactor| &reactor.channels))),
    mean("commands", SeriesSource::Sum(|reactor| &reactor.commands)),
    mean("commands_failed", SeriesSource::Failed),
    mean("signals", SeriesSource::Sum(|reactor| &reactor.signals)),
    mean("lagged", SeriesSource::Sum(|reactor| &reactor.lagged)),
    mean("recovery_reads", SeriesSource::Sum(|reactor| &reactor.recovery_reads)),
    mean("turned_away", SeriesSource::Sum(|reactor| &reactor.turned_away)),
    mean("handshakes_deferred", SeriesSource::Sum(|reactor| &reactor.handshakes_deferred)),
    mean("returns_hinted", SeriesSource::Sum(|reactor| &reactor.returns_hinted)),
    mean("received_bytes", SeriesSource::Sum(|reactor| &reactor.bytes_received)),
    mean("sent_bytes", SeriesSource::Sum(|reactor| &reactor.bytes_sent)),
    mean("outbox_bytes", SeriesSource::Size(|metrics, _| metrics.sum(|reactor| &reactor.outbox_bytes))),
    mean("memory_bytes", SeriesSource::Size(|_, vitals| vitals.memory_bytes())),
    mean("cpu_percent", SeriesSource::CpuPercent),
    peak("turn_us", SeriesSource::Turn),
];

fn closes(totals: &CloseTotals) -> u64 {
    let CloseTotals { lost, unavailable, restart, over_capacity, silent, other } = *totals;
    lost + unavailable + restart + over_capacity + silent + other
}

/// How each place of a [`Row`] is folded.
pub fn folds() -> [Fold; SERIES_MAX] {
    std::array::from_fn(|place| SERIES.get(place).map(|series| series.fold).unwrap_or_default())
}

/// The place of a series; `None` if there is none of this name.
pub fn place(name: &str) -> Option<usize> {
    SERIES.iter().position(|series| series.name == name)
}

/// Turns totals into rates.
#[derive(Debug)]
pub struct SeriesMeter {
    last: SeriesReading,
}

/// The totals at one time.
#[derive(Debug)]
struct SeriesReading {
    at: Moment,
    totals: [u64; SERIES.len()],
    cpu: Duration,
    publishes: LatencyCounts,
}

impl SeriesReading {
    fn take(metrics: &Metrics, vitals: &Vitals, at: Moment) -> SeriesReading {
        let load = metrics.load();
        let total = |series: &SeriesDefinition| match series.source {
            SeriesSource::Load(total) => total(&load),
            SeriesSource::Sum(cell) => metrics.sum(cell),
            SeriesSource::Failed => metrics.commands().failed,
            SeriesSource::Size(_)
            | SeriesSource::Publish(_)
            | SeriesSource::CpuPercent
            | SeriesSource::Turn => 0,
        };
        let publishes = LatencyCounts::of(vitals.reactors.iter().map(|reactor| &reactor.publishes));
        SeriesReading { at, totals: SERIES.each_ref().map(total), cpu: vitals.cpu(), publishes }
    }
}

impl SeriesMeter {
    pub fn new(metrics: &Metrics, vitals: &Vitals, at: Moment) -> SeriesMeter {
        SeriesMeter { last: SeriesReading::take(metrics, vitals, at) }
    }

    /// The values since the last call.
    pub fn sample(&mut self, metrics: &Metrics, vitals: &Vitals, at: Moment) -> Row {
        let now = SeriesReading::take(metrics, vitals, at);
        let before = std::mem::replace(&mut self.last, now);
        let (now, seconds) = (&self.last, at.since(before.at).as_secs_f64().max(1e-3));
        let mut row = [f32::NAN; SERIES_MAX];
        let totals = now.totals.iter().zip(&before.totals);
        for ((place, series), (total, earlier)) in row.iter_mut().zip(&SERIES).zip(totals) {
            let value = match series.source {
                SeriesSource::Load(_) | SeriesSource::Sum(_) | SeriesSource::Failed => {
                    total.saturating_sub(*earlier) as f64 / seconds
                }
                SeriesSource::Size(size) => size(metrics, vitals) as f64,
                SeriesSource::Publish(percent) => now
                    .publishes
                    .percentile_since(&before.publishes, percent)
                    .map_or(f64::NAN, |took| took.as_micros() as f64),
                SeriesSource::CpuPercent => {
                    now.cpu.saturating_sub(before.cpu).as_secs_f64() * 100.0 / seconds
                }
                SeriesSource::Turn => longest_turn_us(vitals, at),
            };
            *place = value as f32;
        }
        row
    }
}

fn longest_turn_us(vitals: &Vitals, at: Moment) -> f64 {
    let turns = vitals.reactors.iter().map(|reactor| reactor.longest_turn(at));
    turns.max().unwrap_or_default().as_micros() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReactorId;
    use crate::metrics::scrape::MetricSources;
    use crate::metrics::watch::WatchCounters;
    use std::sync::Arc;

    #[test]
    fn names_are_unique_and_every_series_has_a_place() {
        for (at, series) in SERIES.iter().enumerate() {
            assert_eq!(place(series.name), Some(at), "{}", series.name);
        }
        assert_eq!(place("nonsense"), None);
        assert_eq!(folds()[1], Fold::Max);
    }

    #[test]
    fn totals_become_rates_a_second_and_sizes_stay() {
        let sources = MetricSources {
            watch: Arc::new(WatchCounters::default()),
            bus: None,
            cluster: Arc::default(),
            api: None,
            log_dropped: || 0,
        };
        let second = |s: u64| Moment::from_micros(s * 1_000_000);
        let (metrics, vitals) =
            (Metrics::new(2, Arc::from("a"), sources), Vitals::new(2, 10, 10, 10, second(0)));
        let mut meter = SeriesMeter::new(&metrics, &vitals, second(1));
        metrics.reactor(ReactorId(0)).deliveries.add(30);
        metrics.reactor(ReactorId(1)).deliveries.add(10);
        vitals.reactors[1].connections.set(7);
        vitals.reactors[0].publishes.record(3_000, 1);
        let row = meter.sample(&metrics, &vitals, second(3));
        let value = |name| row[place(name).expect(name)];
        assert_eq!((value("delivered"), value("connections")), (20.0, 7.0));
        assert!((3_000.0..3_400.0).contains(&value("publish_p99_us")), "{}", value("publish_p99_us"));
        let idle = meter.sample(&metrics, &vitals, second(4));
        assert_eq!(idle[place("delivered").expect("a place")], 0.0);
        assert!(idle[place("publish_p50_us").expect("a place")].is_nan(), "no publish, no time");
    }
}
