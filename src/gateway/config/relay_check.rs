//! The routes together, and with the other settings: their dependencies, contradictions and warnings.

use super::dependency::DependencyTable;
use super::error::{ConfigFault, ConfigWarning, ProblemList};
use super::origin::ValueOrigin;
use super::relay::RelayConfig;
use super::relay_fault::RelayFault;
use super::sections::Config;
use crate::health::capacity;
use crate::health::definition::{Criticality, DependencyKind, Gate};
use crate::relay::route::{AnswerMode, ROUTES_MAX, RouteTable};
use std::time::Duration;

/// Requests at once of all routes together: each that is being answered has a thread.
const CONCURRENCY_TOTAL_MAX: u32 = 1_024;
/// Names of dependencies that other settings define.
const NEVER_MADE: [&str; 4] = ["store", "bus", "auth", capacity::NAME];

/// The feature that users lose while a backend is down, for programs and for people.
const LOST: &str = "replies";
const SENTENCE: &str = "Replies are delayed at the moment. Messages are stored and will be answered.";

/// The routes of a configuration, in its order.
pub fn routes(config: &Config) -> RouteTable {
    RouteTable::new(config.relays.iter().map(|relay| relay.route.clone()).collect())
}

/// The table of a dependency that only routes name.
fn of_backend(name: &str, address: String, origin: ValueOrigin) -> DependencyTable {
    let mut table = DependencyTable::implied(name, origin);
    table.kind = Some(DependencyKind::Tcp);
    table.address = Some(address);
    table.criticality = Some(Criticality::Optional);
    table.lost = Some(vec![LOST.to_owned()]);
    table.sentence = Some(SENTENCE.to_owned());
    table
}

/// Tables for the dependencies that routes name and no table declares: a TCP probe of the backend's host.
pub(super) fn made_dependencies(
    relays: &[RelayConfig],
    declared: &[DependencyTable],
    report: &mut ProblemList,
) -> Vec<DependencyTable> {
    let mut made: Vec<(&RelayConfig, &str, DependencyTable)> = Vec::new();
    for relay in relays {
        let Some(name) = relay.route.dependency.as_deref() else { continue };
        let Some(address) = relay.url.host_and_port() else { continue };
        if NEVER_MADE.contains(&name) || declared.iter().any(|table| table.name == name) {
            continue;
        }
        match made.iter().find(|(_, known, _)| *known == name) {
            None => {
                let table = of_backend(name, address, relay.origin.clone());
                made.push((relay, name, table));
            }
            Some((other, ..)) if other.url.host_and_port() == Some(address) => {}
            Some((other, ..)) => {
                let (name, other) = (name.to_owned(), other.route.name.to_string());
                let fault = ConfigFault::Relay(RelayFault::TwoServices { name, other });
                report.add(relay.origin.clone(), "relay.dependency", fault);
            }
        }
    }
    made.into_iter().map(|(.., table)| table).collect()
}

/// Reports what contradicts other settings. The dependencies are resolved.
pub(super) fn check(config: &Config, report: &mut ProblemList) {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if config.relays.len() > ROUTES_MAX {
        let origin = config.relays.last().map_or(ValueOrigin::Default, |relay| relay.origin.clone());
        report.add(origin, "relay", ConfigFault::Relay(RelayFault::TooMany { most: ROUTES_MAX }));
    }
    let mut at_once: u32 = 0;
    for relay in &config.relays {
        let route = &relay.route;
        let mut fault = |field: &str, fault: RelayFault| {
            report.add(relay.origin.clone(), format!("relay.{field}"), ConfigFault::Relay(fault));
        };
        let answers = route.answers == AnswerMode::Stored;
        if answers && !config.streams.enabled {
            fault("answers", RelayFault::StreamsOff);
        }
        if answers && route.answer > config.streams.life {
            fault("answer_ms", RelayFault::AnswerTooLong { life_ms: ms(config.streams.life) });
        }
        let age = config.retention.age;
        if !age.is_zero() && route.give_up > age {
            fault("give_up_ms", RelayFault::GiveUpTooLong { age_ms: ms(age) });
        }
        let before = at_once;
        at_once += u32::from(route.concurrency);
        if before <= CONCURRENCY_TOTAL_MAX && at_once > CONCURRENCY_TOTAL_MAX {
            fault("concurrency", RelayFault::TooManyAtOnce { most: CONCURRENCY_TOTAL_MAX });
        }
        if let Some(name) = route.dependency.as_deref() {
            let mut found = config.dependencies.iter().filter(|each| *each.definition.name == *name);
            let is_called = found.all(|each| {
                matches!(each.definition.kind, DependencyKind::Http | DependencyKind::Tcp)
                    && each.definition.gate != Gate::Judgement
            });
            if !is_called || NEVER_MADE.contains(&name) {
                fault("dependency", RelayFault::NotCalled { name: name.to_owned() });
            }
        }
    }
}

/// Routes whose requests the network can read, and those whose clients are not notified.
pub(super) fn warnings(config: &Config) -> Vec<ConfigWarning> {
    let mut warnings = Vec::new();
    for relay in &config.relays {
        let mut warn = |field: &str, text: String| {
            let (origin, key) = (relay.origin.clone(), format!("relay.{field}"));
            warnings.push(ConfigWarning { origin, key, text });
        };
        if relay.target.is_exposed() && !config.server.insecure_ok {
            let text = "publications and answers cross the network unencrypted: use https, or set server.insecure_ok if every network \
                        on the way is trusted";
            warn("url", text.into());
        }
        let dependency = relay.route.dependency.as_deref();
        let found = config.dependencies.iter().find(|each| Some(&*each.definition.name) == dependency);
        if let Some(found) = found.filter(|each| each.definition.lost.is_empty()) {
            let name = &found.definition.name;
            let text = format!(
                "the dependency {name} has no `lost`, so clients are not notified while its questions wait: set lost = [\"replies\"] there"
            );
            warn("dependency", text);
        }
    }
    warnings
}
