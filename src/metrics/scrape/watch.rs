//! Metrics of the dependencies, the gateway's own health, and the admin listener.

use super::sheet::Sheet;
use super::values::{Scrape, read};
use crate::metrics::admin::ACTIONS;
use crate::metrics::watch::{DependencyCells, QUEUES, STATES};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::sync::atomic::AtomicU64;

impl Scrape {
    pub(super) fn watch(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let watch = &self.watch;
        let dependencies = watch.dependencies();
        sheet.gauge(
            "status_revision",
            "Revision of the status that clients are sent",
            read(&watch.revision),
        )?;
        sheet.gauge(
            "status_level",
            "Level of the status that clients are sent: 0 ok, 1 degraded, 2 down",
            read(&watch.level),
        )?;
        sheet.gauge(
            "admission_enforced",
            "1 if health.admission is enforce, 0 if it is observe",
            read(&watch.enforced),
        )?;
        let labels: Vec<[(&str, &str); 1]> =
            dependencies.iter().map(|cells| [("dependency", &*cells.name)]).collect();
        let mut family = |name, help, kind, value: fn(&DependencyCells) -> u64| {
            let values =
                labels.iter().zip(dependencies.iter()).map(|(label, cells)| (&label[..], value(cells)));
            sheet.labelled(name, help, kind, values)
        };
        family("dependency_up", "1 unless the dependency is down", MetricType::Gauge, |cells| {
            u64::from(STATES.get(read(&cells.state) as usize).is_none_or(|state| state.as_str() != "down"))
        })?;
        family("dependency_probes", "Probes of the dependency", MetricType::Counter, |cells| {
            read(&cells.probes)
        })?;
        family("dependency_probe_failures", "Probes that found a fault", MetricType::Counter, |cells| {
            read(&cells.probe_failures)
        })?;
        family("dependency_changes", "State changes of the dependency", MetricType::Counter, |cells| {
            read(&cells.changes)
        })?;
        family(
            "dependency_forced",
            "Breaker position forced by an operator: 0 none, 1 closed, 2 open",
            MetricType::Gauge,
            |cells| read(&cells.forced),
        )?;
        self.dependency_states(sheet)?;
        self.own(sheet)?;
        self.admin(sheet)
    }

    /// Writes the metrics that need another label in addition to the dependency's name, or fractional values.
    fn dependency_states(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let dependencies = self.watch.dependencies();
        let states: Vec<_> = dependencies
            .iter()
            .flat_map(|cells| {
                STATES.iter().enumerate().map(|(place, state)| {
                    let is = u64::from(read(&cells.state) == place as u64);
                    ([("dependency", &*cells.name), ("state", state.as_str())], is)
                })
            })
            .collect();
        let states = states.iter().map(|(labels, is)| (&labels[..], *is));
        sheet.labelled(
            "dependency_state",
            "1 for the current state of the dependency, 0 for the others",
            MetricType::Gauge,
            states,
        )?;
        let breakers: Vec<_> = dependencies
            .iter()
            .flat_map(|cells| {
                cells.breakers.iter().map(|(of, position)| {
                    ([("dependency", &*cells.name), ("use", of.as_str())], read(position))
                })
            })
            .collect();
        let breakers = breakers.iter().map(|(labels, position)| (&labels[..], *position));
        sheet.labelled(
            "breaker",
            "Position of the circuit breaker, by use: 0 closed, 1 half open, 2 open",
            MetricType::Gauge,
            breakers,
        )?;
        sheet.histograms(
            "dependency_probe_seconds",
            "Duration of probes, in seconds",
            dependencies.iter().map(|cells| ([("dependency", &*cells.name)], &cells.probe_durations)),
        )?;
        let last: Vec<_> = dependencies
            .iter()
            .map(|cells| ([("dependency", &*cells.name)], read(&cells.last_success_unix_ms) as f64 / 1e3))
            .collect();
        let last = last.iter().map(|(labels, seconds)| (&labels[..], *seconds));
        sheet.fractions(
            "dependency_last_success_seconds",
            "Unix time of the dependency's last success, in seconds; 0 if never",
            last,
        )
    }

    fn own(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let own = &self.watch.own;
        sheet.gauge(
            "gateway_up",
            "1 unless a check of the gateway itself fails",
            1 - read(&own.down).min(1),
        )?;
        sheet.gauge(
            "gateway_warns",
            "1 while the gateway itself is close to one of its bounds",
            read(&own.warns),
        )?;
        sheet.counter("gateway_changes", "State changes of the gateway itself", read(&own.changes))?;
        let queues: Vec<_> = QUEUES
            .iter()
            .zip(&own.queues)
            .filter(|(_, [_, places])| read(places) > 0)
            .map(|(name, cells)| ([("queue", *name)], cells))
            .collect();
        let waiting = queues.iter().map(|(label, [waiting, _])| (&label[..], read(waiting)));
        sheet.labelled(
            "queue_depth",
            "Jobs waiting in each worker queue at the last measurement",
            MetricType::Gauge,
            waiting,
        )?;
        let places = queues.iter().map(|(label, [_, places])| (&label[..], read(places)));
        sheet.labelled("queue_depth_max", "Capacity of each worker queue", MetricType::Gauge, places)?;
        let ids: Vec<String> = (0..own.turns_us.len()).map(|id| id.to_string()).collect();
        let labels: Vec<[(&str, &str); 1]> = ids.iter().map(|id| [("reactor", id.as_str())]).collect();
        let lanes = labels.iter().zip(&own.lanes).map(|(label, cell)| (&label[..], read(cell)));
        sheet.labelled(
            "lane_depth",
            "Batches waiting in the live lane of each reactor at the last measurement",
            MetricType::Gauge,
            lanes,
        )?;
        let turns = labels.iter().zip(&own.turns_us).map(|(label, us)| (&label[..], seconds(us)));
        sheet.fractions(
            "turn_longest_seconds",
            "Longest turn of each reactor in the 10 s before the last measurement, in seconds",
            turns,
        )
    }

    fn admin(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let admin = &self.admin;
        sheet.counter("admin_requests", "Requests to the admin listener", read(&admin.requests))?;
        sheet.counter(
            "admin_unauthorized",
            "Admin requests without a valid token",
            read(&admin.unauthorized),
        )?;
        sheet.counter(
            "admin_turned_out",
            "Admin connections closed to make room for new ones",
            read(&admin.turned_out),
        )?;
        let labels = ACTIONS.map(|action| [("action", action)]);
        let actions = labels.iter().zip(&admin.actions).map(|(label, cell)| (&label[..], read(cell)));
        sheet.labelled(
            "admin_actions",
            "Actions performed for operators, by action",
            MetricType::Counter,
            actions,
        )
    }
}

fn seconds(us: &AtomicU64) -> f64 {
    read(us) as f64 / 1e6
}
