//! The forecast of a round: what all instances would ask their clients, by the rule of [`spread`](super::spread), if every client moved to
//! the instance that it was asked to move to. It moves nothing.

use super::instance::InstanceState;
use super::report::{ClusterReport, InstanceReport};
use super::spread::{MeanShares, STEP, SpreadState, TURN_MAX};
use serde::Serialize;
use std::cmp::Reverse;

/// A smaller surplus is none: the rest of a division.
const SURPLUS_MIN: f64 = 0.01;

/// The instances of a report, a second at a time.
struct Simulation {
    counts: Vec<f64>,
    /// The clients that left each instance, and the clients that it got.
    given: Vec<f64>,
    gotten: Vec<f64>,
    states: Vec<SpreadState>,
}

/// The forecast.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpreadForecast {
    pub within_percent: u32,
    /// Connections of an instance if all have the same number.
    pub mean: f64,
    /// The length of the round; 0 if nothing is moved.
    pub seconds: u64,
    /// The largest first.
    pub moves: Vec<ForecastMove>,
    /// The instances whose connections are known, by name.
    pub instances: Vec<ForecastInstance>,
    /// The reasons why no instance begins before something changes; empty if there is none.
    pub waits_for: Vec<String>,
}

/// Clients that one instance would ask to move to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForecastMove {
    pub from: String,
    pub to: String,
    pub clients: u64,
}

/// One instance before and after the round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForecastInstance {
    pub name: String,
    pub connections: u64,
    pub after: u64,
}

impl SpreadForecast {
    /// Computes a round of at most `seconds_max` seconds. An instance that drains, or whose load is not known, takes no part.
    pub fn new(report: &ClusterReport, within_percent: u32, seconds_max: u64) -> SpreadForecast {
        let alive = |one: &&InstanceReport| one.state == InstanceState::Alive.as_str();
        let known: Vec<(&str, u64)> = report
            .instances
            .iter()
            .filter(alive)
            .filter_map(|one| Some((&*one.name, one.stats.as_ref()?.connections)))
            .collect();
        let within = f64::from(within_percent) / 100.0;
        let mut simulation = Simulation::new(known.iter().map(|(_, connections)| *connections as f64));
        let mean = MeanShares::among(simulation.counts.iter().copied(), within).mean;
        let seconds = (0..seconds_max).take_while(|_| simulation.second(within)).count() as u64;
        let name = |at: usize| known.get(at).map(|(name, _)| (*name).to_owned()).unwrap_or_default();
        let mut moves: Vec<ForecastMove> = simulation
            .moves()
            .map(|(from, to, clients)| ForecastMove { from: name(from), to: name(to), clients })
            .collect();
        moves.sort_by_key(|step| Reverse(step.clients));
        let after = simulation.counts.iter().map(|count| count.round() as u64);
        let instances = known.iter().zip(after).map(|((name, connections), after)| ForecastInstance {
            name: (*name).to_owned(),
            connections: *connections,
            after,
        });
        SpreadForecast {
            within_percent,
            // Three decimals are enough.
            mean: (mean * 1_000.0).round() / 1_000.0,
            seconds: if moves.is_empty() { 0 } else { seconds },
            instances: instances.collect(),
            waits_for: waits_for(report),
            moves,
        }
    }

    /// The text of the answer, JSON with a line break.
    pub fn json(&self) -> String {
        line(self)
    }
}

/// The answer to an order to begin a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoundBegun {
    pub within_percent: u32,
    /// The length of the round at most, in seconds.
    pub for_s: u64,
    /// The reasons why no instance begins before something changes; empty if there is none.
    pub waits_for: Vec<String>,
}

impl RoundBegun {
    pub fn new(report: &ClusterReport, within_percent: u32, for_s: u64) -> RoundBegun {
        RoundBegun { within_percent, for_s, waits_for: waits_for(report) }
    }

    /// The text of the answer, JSON with a line break.
    pub fn json(&self) -> String {
        line(self)
    }
}

/// The JSON form of numbers, strings and structs of them.
fn line(answer: &impl Serialize) -> String {
    let mut text = serde_json::to_string(answer).unwrap_or_default();
    text.push('\n');
    text
}

impl Simulation {
    fn new(counts: impl Iterator<Item = f64>) -> Simulation {
        let counts: Vec<f64> = counts.collect();
        let none = vec![0.0; counts.len()];
        Simulation {
            states: vec![SpreadState::Even; counts.len()],
            counts,
            given: none.clone(),
            gotten: none,
        }
    }

    /// The clients that moved, from one instance to another: each instance gets the same part of what any other gives.
    fn moves(&self) -> impl Iterator<Item = (usize, usize, u64)> + '_ {
        let whole: f64 = self.gotten.iter().sum();
        let givers = self.given.iter().enumerate().filter(|(_, given)| **given > 0.0);
        let pairs = givers.flat_map(move |(from, given)| {
            let getters = self.gotten.iter().enumerate().filter(move |(to, _)| *to != from);
            getters.map(move |(to, gotten)| (from, to, (given * gotten / whole).round() as u64))
        });
        pairs.filter(|(_, _, clients)| *clients > 0)
    }

    /// One second of all instances; false if none asks a client. Takes time in proportion to their number.
    fn second(&mut self, within: f64) -> bool {
        let before = self.counts.clone();
        let shares = MeanShares::among(before.iter().copied(), within);
        let whole: f64 = before.iter().map(|count| shares.lack(*count)).sum();
        let mut asked = 0.0;
        for (at, (own, state)) in before.iter().zip(&mut self.states).enumerate() {
            let surplus =
                shares.surplus(*own, *state).filter(|surplus| *surplus > SURPLUS_MIN && whole > 0.0);
            *state = if surplus.is_some() { SpreadState::Moving } else { SpreadState::Even };
            let Some(surplus) = surplus else { continue };
            let part = surplus.min(own * STEP);
            asked += part;
            add(&mut self.counts, at, -part);
            add(&mut self.given, at, part);
        }
        for (at, own) in before.iter().enumerate().filter(|_| asked > 0.0) {
            let part = asked * shares.lack(*own) / whole;
            add(&mut self.counts, at, part);
            add(&mut self.gotten, at, part);
        }
        asked > 0.0
    }
}

fn add(counts: &mut [f64], at: usize, part: f64) {
    if let Some(count) = counts.get_mut(at) {
        *count += part;
    }
}

/// The reasons why the instances ask nothing yet.
fn waits_for(report: &ClusterReport) -> Vec<String> {
    let mut waits = Vec::new();
    for InstanceReport { name, state, stats, .. } in &report.instances {
        let is_state = |wanted: InstanceState| *state == wanted.as_str();
        if is_state(InstanceState::Gone) || is_state(InstanceState::Left) {
            continue;
        }
        if !is_state(InstanceState::Alive) {
            waits.push(format!("{name} is {state}"));
        } else if stats.is_none() {
            waits.push(format!("the load of {name} is not known"));
        }
        let turn_ms = stats.as_ref().map_or(0.0, |stats| stats.turn_ms);
        if turn_ms > TURN_MAX.as_millis() as f64 {
            waits.push(format!("turns of {name} take {turn_ms:.0} ms, more than {}", TURN_MAX.as_millis()));
        }
    }
    if !report.shared_names.is_empty() {
        let names = report.shared_names.join(", ");
        waits.push(format!("several instances are named {names}: give each its own server.instance"));
    }
    if report.redis.as_ref().is_some_and(|redis| !redis.up) {
        waits.push("this instance does not reach Redis, from which the others learn of an order".into());
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::report::RedisReport;
    use crate::wire::stats::InstanceStats;

    fn instance(name: &str, state: InstanceState, connections: Option<u64>) -> InstanceReport {
        let stats = connections.map(|connections| InstanceStats { connections, ..InstanceStats::default() });
        InstanceReport { name: name.into(), state: state.as_str(), age_ms: 0, stats }
    }

    fn report(connections: &[u64]) -> ClusterReport {
        let instances = connections
            .iter()
            .enumerate()
            .map(|(at, count)| instance(&format!("gw-{}", at + 1), InstanceState::Alive, Some(*count)));
        ClusterReport { complete: true, instances: instances.collect(), ..ClusterReport::default() }
    }

    fn step(from: &str, to: &str, clients: u64) -> ForecastMove {
        ForecastMove { from: from.into(), to: to.into(), clients }
    }

    #[test]
    fn full_instances_fill_the_empty_one_in_the_time_of_the_rule() {
        let forecast = SpreadForecast::new(&report(&[1_500, 1_500, 0]), 10, 900);
        assert_eq!((forecast.mean, forecast.waits_for.len()), (1_000.0, 0));
        // Both give a hundredth a second, so the empty one has 90 % of the mean after 30 seconds, and each of them 1,050 or less.
        assert!((30..60).contains(&forecast.seconds), "{forecast:?}");
        assert_eq!(forecast.moves.len(), 2);
        for (at, from) in [(0, "gw-1"), (1, "gw-2")] {
            let ForecastMove { clients, .. } = forecast.moves[at].clone();
            assert_eq!(forecast.moves[at], step(from, "gw-3", clients));
            assert!((450..=500).contains(&clients), "{forecast:?}");
        }
        let after: u64 = forecast.instances.iter().map(|one| one.after).sum();
        assert!((2_999..=3_001).contains(&after), "{forecast:?}");
    }

    #[test]
    fn even_instances_and_a_single_one_move_nothing() {
        for connections in [&[1_000, 1_040, 960][..], &[500], &[0, 0], &[]] {
            let forecast = SpreadForecast::new(&report(connections), 10, 900);
            assert_eq!((forecast.seconds, forecast.moves.len()), (0, 0), "{forecast:?}");
        }
        assert!(!SpreadForecast::new(&report(&[1_000, 1_040, 960]), 3, 900).moves.is_empty());
    }

    #[test]
    fn single_client_moves_if_it_is_over() {
        let forecast = SpreadForecast::new(&report(&[3, 1]), 10, 900);
        assert_eq!(forecast.moves, [step("gw-1", "gw-2", 1)]);
        assert_eq!(forecast.instances[1].after, 2);
    }

    #[test]
    fn pairs_of_a_thousand_instances_add_up_to_what_they_give() {
        // Half of them are over the mean, and none is even within the time.
        let connections: Vec<u64> = (0..1_000).map(|at| if at % 2 == 0 { 1_000_000 } else { 0 }).collect();
        let forecast = SpreadForecast::new(&report(&connections), 1, 900);
        assert_eq!((forecast.moves.len(), forecast.instances.len()), (250_000, 1_000));
        let given: u64 = forecast.instances.iter().map(|one| one.connections.saturating_sub(one.after)).sum();
        let moved: u64 = forecast.moves.iter().map(|step| step.clients).sum();
        assert!(moved.abs_diff(given) < given / 100, "{moved} of {given}");
    }

    #[test]
    fn obstacles_are_named() {
        let mut report = report(&[1_500, 500]);
        report.instances.push(instance("gw-3", InstanceState::Draining, Some(9)));
        report.instances.push(instance("gw-4", InstanceState::Alive, None));
        report.instances.push(instance("gw-5", InstanceState::Gone, None));
        report.shared_names.push("gw-1".into());
        if let Some(stats) = &mut report.instances[0].stats {
            stats.turn_ms = 80.4;
        }
        let forecast = SpreadForecast::new(&report, 10, 900);
        assert_eq!(
            forecast.waits_for,
            [
                "turns of gw-1 take 80 ms, more than 50",
                "gw-3 is draining",
                "the load of gw-4 is not known",
                "several instances are named gw-1: give each its own server.instance",
            ]
        );
        assert_eq!(forecast.instances.len(), 2, "the others take no part");
        assert!(forecast.json().starts_with(r#"{"within_percent":10,"mean":1000.0,"seconds":"#));
        report.redis = Some(RedisReport { kind: "cluster", up: false, latency_us: 9 });
        let begun = RoundBegun::new(&report, 5, 900);
        assert_eq!(begun.waits_for.len(), 5);
        assert!(begun.json().ends_with("learn of an order\"]}\n"), "{}", begun.json());
    }
}
