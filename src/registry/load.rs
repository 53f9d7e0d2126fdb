//! The load of this instance, for the others and for operators.

use crate::clock::Moment;
use crate::cluster::report::RegistryReport;
use crate::drain::DrainPhase;
use crate::health::dependency::State;
use crate::job::Outlook;
use crate::metrics::latency::LatencyCounts;
use crate::metrics::scrape::{CloseTotals, LoadTotals, Metrics};
use crate::metrics::vitals::Vitals;
use crate::metrics::watch::STATES;
use crate::wire::stats::{CloseRates, InstanceStats, LoadRates};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The shortest time over which rates are measured.
const RATES_PERIOD: Duration = Duration::from_secs(5);

/// Measures the load.
pub(super) struct LoadMeter {
    metrics: Arc<Metrics>,
    vitals: Arc<Vitals>,
    outlook: Arc<Outlook>,
    /// `admin.url`
    url: Arc<str>,
    /// The totals at the end of the last measurement.
    last: LoadReading,
    rates: LoadRates,
}

/// The totals at one time.
struct LoadReading {
    at: Moment,
    totals: LoadTotals,
    cpu: Duration,
    publishes: LatencyCounts,
}

impl LoadReading {
    fn take(metrics: &Metrics, vitals: &Vitals, at: Moment) -> LoadReading {
        let publishes = LatencyCounts::of(vitals.reactors.iter().map(|reactor| &reactor.publishes));
        LoadReading { at, totals: metrics.load(), cpu: vitals.cpu(), publishes }
    }

    fn rates_since(&self, before: &LoadReading) -> LoadRates {
        let seconds = self.at.since(before.at).as_secs_f64();
        let rate = |total: fn(&LoadTotals) -> u64| {
            let count = total(&self.totals).saturating_sub(total(&before.totals));
            (count as f64 / seconds).round() as u64
        };
        let close = |total: fn(&CloseTotals) -> u64| {
            let count = total(&self.totals.closes).saturating_sub(total(&before.totals.closes));
            // A few closes are more than none.
            (count as f64 / seconds).ceil() as u32
        };
        let percentile = |percent| {
            let us = self.publishes.percentile_since(&before.publishes, percent)?.as_micros();
            Some(u32::try_from(us).unwrap_or(u32::MAX))
        };
        LoadRates {
            connects_per_s: rate(|totals| totals.connected),
            closes_per_s: CloseRates {
                lost: close(|closes| closes.lost),
                unavailable: close(|closes| closes.unavailable),
                restart: close(|closes| closes.restart),
                over_capacity: close(|closes| closes.over_capacity),
                silent: close(|closes| closes.silent),
                other: close(|closes| closes.other),
            },
            publishes_per_s: rate(|totals| totals.published),
            deliveries_per_s: rate(|totals| totals.delivered),
            publish_p50_us: percentile(50),
            publish_p99_us: percentile(99),
            cpu_percent: (self.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds * 100.0).round() as u64,
        }
    }
}

impl LoadMeter {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        vitals: Arc<Vitals>,
        outlook: Arc<Outlook>,
        url: Arc<str>,
        now: Moment,
    ) -> LoadMeter {
        let last = LoadReading::take(&metrics, &vitals, now);
        LoadMeter { metrics, vitals, outlook, url, last, rates: LoadRates::default() }
    }

    /// True while this instance drains or ends.
    pub(super) fn is_draining(&self) -> bool {
        self.vitals.drain.phase() != DrainPhase::Serving
    }

    /// The users of this instance.
    pub(super) fn users(&self) -> u64 {
        self.metrics.auth.users.load(Ordering::Relaxed)
    }

    /// The sizes of rosters at this instance.
    pub(super) fn rosters(&self) -> RegistryReport {
        let presence = &self.metrics.presence;
        let (views, memberships) = (presence.views.read(), presence.connections.read());
        RegistryReport { views, memberships, ..RegistryReport::default() }
    }

    /// The load now, with rates over five seconds. `order` is the number of the last order that was carried out.
    pub(super) fn measure(&mut self, order: u64, now: Moment) -> InstanceStats {
        let reading = LoadReading::take(&self.metrics, &self.vitals, now);
        let subscriptions = reading.totals.subscriptions;
        if now.since(self.last.at) >= RATES_PERIOD {
            self.rates = reading.rates_since(&self.last);
            self.last = reading;
        }
        let snapshot = self.outlook.snapshot();
        let turn =
            self.vitals.reactors.iter().map(|reactor| reactor.longest_turn(now)).max().unwrap_or_default();
        InstanceStats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: u64::try_from(self.vitals.started().as_millis()).unwrap_or(0),
            phase: self.vitals.drain.phase().as_str().to_owned(),
            connections: self.vitals.connections(),
            connections_max: self.vitals.connections_max(),
            users: self.users(),
            subscriptions,
            rates: self.rates,
            memory_bytes: self.vitals.memory_bytes(),
            turn_ms: turn.as_micros() as f64 / 1_000.0,
            level: snapshot.level.as_str().to_owned(),
            store: self.state_of("store"),
            bus: self.state_of("bus"),
            revision: snapshot.revision,
            order,
            url: self.url.to_string(),
            rebalance: self.vitals.rebalance.stats(now),
            signs: self.metrics.slo.report().signs,
        }
    }

    fn state_of(&self, dependency: &str) -> Option<String> {
        let dependencies = self.metrics.watch.dependencies();
        let cells = dependencies.iter().find(|cells| *cells.name == *dependency)?;
        let state =
            STATES.get(cells.state.load(Ordering::Relaxed) as usize).copied().unwrap_or(State::Unknown);
        Some(state.as_str().to_owned())
    }
}
