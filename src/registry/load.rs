//! The load of this instance, for the others and for operators.

use crate::clock::Moment;
use crate::drain::DrainPhase;
use crate::health::dependency::State;
use crate::job::Outlook;
use crate::metrics::scrape::{LoadTotals, Metrics};
use crate::metrics::vitals::Vitals;
use crate::metrics::watch::STATES;
use crate::wire::stats::InstanceStats;
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
    /// The totals at the end of the last measurement.
    last: (Moment, LoadTotals, Duration),
    rates: LoadRates,
}

/// Rates over the last measurement, a second.
#[derive(Clone, Copy, Debug, Default)]
struct LoadRates {
    connects: u64,
    publishes: u64,
    deliveries: u64,
    cpu_percent: u64,
}

impl LoadMeter {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        vitals: Arc<Vitals>,
        outlook: Arc<Outlook>,
        now: Moment,
    ) -> LoadMeter {
        let last = (now, metrics.load(), vitals.cpu());
        LoadMeter { metrics, vitals, outlook, last, rates: LoadRates::default() }
    }

    /// True while this instance drains or ends.
    pub(super) fn is_draining(&self) -> bool {
        self.vitals.drain.phase() != DrainPhase::Serving
    }

    /// The load now, with rates over five seconds. `order` is the number of the last order that was carried out.
    pub(super) fn measure(&mut self, order: u64, now: Moment) -> InstanceStats {
        let (totals, cpu) = (self.metrics.load(), self.vitals.cpu());
        let (then, before, cpu_before) = self.last;
        let period = now.since(then);
        if period >= RATES_PERIOD {
            let rate = |now: u64, before: u64| {
                (now.saturating_sub(before) as f64 / period.as_secs_f64()).round() as u64
            };
            self.rates = LoadRates {
                connects: rate(totals.connected, before.connected),
                publishes: rate(totals.published, before.published),
                deliveries: rate(totals.delivered, before.delivered),
                cpu_percent: (cpu.saturating_sub(cpu_before).as_secs_f64() / period.as_secs_f64() * 100.0)
                    .round() as u64,
            };
            self.last = (now, totals, cpu);
        }
        let turn =
            self.vitals.reactors.iter().map(|reactor| reactor.longest_turn(now)).max().unwrap_or_default();
        InstanceStats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: u64::try_from(self.vitals.started().as_millis()).unwrap_or(0),
            phase: self.vitals.drain.phase().as_str().to_owned(),
            connections: self.vitals.connections(),
            connections_max: self.vitals.connections_max(),
            subscriptions: totals.subscriptions,
            connects_per_s: self.rates.connects,
            publishes_per_s: self.rates.publishes,
            deliveries_per_s: self.rates.deliveries,
            memory_bytes: self.vitals.memory_bytes(),
            cpu_percent: self.rates.cpu_percent,
            turn_ms: turn.as_micros() as f64 / 1_000.0,
            level: self.outlook.snapshot().level.as_str().to_owned(),
            store: self.state_of("store"),
            bus: self.state_of("bus"),
            order,
            rebalance: self.vitals.rebalance.stats(now),
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
