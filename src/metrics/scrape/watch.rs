//! The part of a scrape about dependencies, the gateway itself, and its operators.

use super::{Scrape, Sheet, read};
use crate::metrics::admin::ACTIONS;
use crate::metrics::watch::{DependencyCells, QUEUES, STATES};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::sync::atomic::AtomicU64;

impl Scrape {
    pub(super) fn watch(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let watch = &self.watch;
        let dependencies = watch.dependencies();
        sheet.gauge("status_revision", "Revision of what status says", read(&watch.revision))?;
        sheet.gauge("status_level", "0 ok, 1 degraded, 2 down", read(&watch.level))?;
        sheet.gauge("admission_enforced", "1 while verdicts are carried out", read(&watch.enforced))?;
        let labels: Vec<[(&str, &str); 1]> =
            dependencies.iter().map(|cells| [("dependency", &*cells.name)]).collect();
        let mut family = |name, help, kind, value: fn(&DependencyCells) -> u64| {
            let values =
                labels.iter().zip(dependencies.iter()).map(|(label, cells)| (&label[..], value(cells)));
            sheet.labelled(name, help, kind, values)
        };
        family("dependency_up", "1 while it is not down", MetricType::Gauge, |cells| {
            u64::from(STATES.get(read(&cells.state) as usize).is_none_or(|state| state.as_str() != "down"))
        })?;
        family("dependency_probes", "Looks at it", MetricType::Counter, |cells| read(&cells.probes))?;
        family("dependency_probe_failures", "Looks that found a fault", MetricType::Counter, |cells| {
            read(&cells.probe_failures)
        })?;
        family("dependency_changes", "Changes of its state", MetricType::Counter, |cells| {
            read(&cells.changes)
        })?;
        family(
            "dependency_forced",
            "An operator's hold: 0 none, 1 closed, 2 open",
            MetricType::Gauge,
            |cells| read(&cells.forced),
        )?;
        self.dependency_states(sheet)?;
        self.own(sheet)?;
        self.admin(sheet)
    }

    /// What has a label beside the dependency's name, or is no whole number.
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
        sheet.labelled("dependency_state", "1 for the state it is in", MetricType::Gauge, states)?;
        let breakers: Vec<_> = dependencies
            .iter()
            .flat_map(|cells| {
                cells.breakers.iter().map(|(of, position)| {
                    ([("dependency", &*cells.name), ("use", of.as_str())], read(position))
                })
            })
            .collect();
        let breakers = breakers.iter().map(|(labels, position)| (&labels[..], *position));
        sheet.labelled("breaker", "0 closed, 1 half open, 2 open", MetricType::Gauge, breakers)?;
        let latencies: Vec<_> = dependencies
            .iter()
            .flat_map(|cells| {
                let quantiles = ["0.5", "0.99"].into_iter().zip(&cells.probe_us);
                quantiles.map(|(quantile, us)| {
                    ([("dependency", &*cells.name), ("quantile", quantile)], seconds(us))
                })
            })
            .collect();
        let latencies = latencies.iter().map(|(labels, seconds)| (&labels[..], *seconds));
        sheet.fractions(
            "dependency_probe_seconds",
            "How long a look takes, of 5 to 10 minutes",
            latencies,
        )?;
        let last: Vec<_> = dependencies
            .iter()
            .map(|cells| ([("dependency", &*cells.name)], read(&cells.last_success_unix_ms) as f64 / 1e3))
            .collect();
        let last = last.iter().map(|(labels, seconds)| (&labels[..], *seconds));
        sheet.fractions(
            "dependency_last_success_seconds",
            "Unix time it last did what it was asked; 0: never",
            last,
        )
    }

    fn own(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let own = &self.watch.own;
        sheet.gauge(
            "gateway_up",
            "1 unless something of the gateway itself fails",
            1 - read(&own.down).min(1),
        )?;
        sheet.gauge(
            "gateway_warns",
            "1 while something of the gateway itself nears its bound",
            read(&own.warns),
        )?;
        sheet.counter("gateway_changes", "Changes of its state", read(&own.changes))?;
        let queues: Vec<_> = QUEUES
            .iter()
            .zip(&own.queues)
            .filter(|(_, [_, places])| read(places) > 0)
            .map(|(name, cells)| ([("queue", *name)], cells))
            .collect();
        let waiting = queues.iter().map(|(label, [waiting, _])| (&label[..], read(waiting)));
        sheet.labelled(
            "queue_depth",
            "What waits for a worker when last looked at",
            MetricType::Gauge,
            waiting,
        )?;
        let places = queues.iter().map(|(label, [_, places])| (&label[..], read(places)));
        sheet.labelled("queue_depth_max", "Its bound", MetricType::Gauge, places)?;
        let ids: Vec<String> = (0..own.turns_us.len()).map(|id| id.to_string()).collect();
        let labels: Vec<[(&str, &str); 1]> = ids.iter().map(|id| [("reactor", id.as_str())]).collect();
        let lanes = labels.iter().zip(&own.lanes).map(|(label, cell)| (&label[..], read(cell)));
        sheet.labelled(
            "lane_depth",
            "Batches that wait for a reactor when last looked at",
            MetricType::Gauge,
            lanes,
        )?;
        let turns = labels.iter().zip(&own.turns_us).map(|(label, us)| (&label[..], seconds(us)));
        sheet.fractions("turn_longest_seconds", "Longest turn of the 10 s before the last look", turns)
    }

    fn admin(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let admin = &self.admin;
        sheet.counter("admin_requests", "Requests of operators", read(&admin.requests))?;
        sheet.counter("admin_unauthorized", "Those without the token", read(&admin.unauthorized))?;
        sheet.counter("admin_turned_out", "Connections ended to make room", read(&admin.turned_out))?;
        let labels = ACTIONS.map(|action| [("action", action)]);
        let actions = labels.iter().zip(&admin.actions).map(|(label, cell)| (&label[..], read(cell)));
        sheet.labelled("admin_actions", "Actions of operators", MetricType::Counter, actions)
    }
}

fn seconds(us: &AtomicU64) -> f64 {
    read(us) as f64 / 1e6
}
