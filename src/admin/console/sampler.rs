//! The thread `history`: once a second it reads the cells that `/metrics` reads, and compares what is known.

use super::change_watch::{ChangeWatch, Facts};
use super::storm_watch::{ReturnTotals, StormWatch};
use crate::admin::Admin;
use crate::clock::Now;
use crate::metrics::series::SeriesMeter;
use crate::metrics::watch::STATES;
use crossbeam_channel::never;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;

const PERIOD_US: u64 = 1_000_000;

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    /// Starts the thread. It ends with the process.
    pub(in crate::admin) fn start_history(self: &Arc<Self>) -> io::Result<()> {
        let admin = Arc::clone(self);
        let began = (admin.clock)();
        let mut meter = SeriesMeter::new(&admin.metrics, &admin.vitals, began.at);
        let mut watches = (ChangeWatch::default(), StormWatch::default());
        let body = move || {
            // Nothing is ever sent: waiting for it is a wait for time.
            let time = never::<Infallible>();
            loop {
                let passed_us = (admin.clock)().at.since(began.at).as_micros() as u64;
                let _ = time.recv_timeout(Duration::from_micros(PERIOD_US - passed_us % PERIOD_US));
                let now = (admin.clock)();
                admin.sample(
                    &mut meter,
                    &mut watches,
                    (now.at.since(began.at).as_secs()).saturating_sub(1),
                    now,
                );
            }
        };
        Builder::new().name("history".into()).spawn(body).map(|_| ())
    }

    fn sample(
        &self,
        meter: &mut SeriesMeter,
        (changes, storms): &mut (ChangeWatch, StormWatch),
        tick: u64,
        now: Now,
    ) {
        let row = meter.sample(&self.metrics, &self.vitals, now.at);
        self.console.history.lock().sample(tick, &row);
        for found in changes.look(self.facts()).into_iter().chain(storms.look(self.returns())) {
            self.console.changes.add(now.unix_ms, found.kind, &found.text, found.reference);
        }
    }

    fn returns(&self) -> ReturnTotals {
        let clients = &self.metrics.clients;
        let mut totals = ReturnTotals::default();
        for (total, cell) in totals.causes.iter_mut().zip(&clients.returns) {
            *total = cell.read();
        }
        for (total, (_, count)) in totals.away.iter_mut().zip(clients.away.read()) {
            *total = count;
        }
        totals
    }

    fn facts(&self) -> Facts {
        let snapshot = self.outlook.snapshot();
        let dependencies = self.metrics.watch.dependencies();
        let state = |place: u64| STATES.get(place as usize).map_or("unknown", |state| state.as_str());
        let dependencies = dependencies.iter().map(|cells| {
            let reference = snapshot.outage_of(&cells.name).map(|outage| outage.reference().to_string());
            (Arc::clone(&cells.name), state(cells.state.load(Ordering::Relaxed)), reference)
        });
        let alerts = self.metrics.alerts.report();
        let open = alerts.incidents.iter().filter(|incident| incident.end.is_none());
        Facts {
            dependencies: dependencies.collect(),
            incidents: open.map(|one| (one.number, one.title.clone(), one.reference.clone())).collect(),
            drain: self.vitals.drain.phase().as_str(),
            reloads: self.metrics.reloads.outcomes.each_ref().map(|total| total.load(Ordering::Relaxed)),
        }
    }
}
