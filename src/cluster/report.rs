//! The answer to `GET /cluster`: the instances, their load, and how evenly it is spread.

use super::instance::{InstanceState, KnownInstance};
use crate::clock::Now;
use crate::wire::stats::InstanceStats;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time between two writes of an instance's stats.
const STATS_PERIOD: Duration = Duration::from_secs(5);
/// The instances for which that is long enough: each instance reads 900 bytes of each other one.
const STATS_INSTANCES: usize = 50;
/// The periods after which stats are out of date.
const STATS_PERIODS: u32 = 4;

/// The time between two writes of an instance's stats if this many instances are known, itself among them.
pub fn stats_period(instances: usize) -> Duration {
    let periods = instances.div_ceil(STATS_INSTANCES).max(1);
    STATS_PERIOD * u32::try_from(periods).unwrap_or(u32::MAX)
}

/// The state of the cluster, as one instance knows it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClusterReport {
    /// Unix milliseconds.
    pub now: u64,
    /// True if each living instance is known with its load, and Redis, if configured, can be read.
    pub complete: bool,
    /// The name of the leader; `None` if none is known.
    pub leader: Option<String>,
    /// Absent without a bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisReport>,
    /// Absent without a bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryReport>,
    /// By name; the answering instance is one of them.
    pub instances: Vec<InstanceReport>,
    pub totals: ClusterTotals,
    /// Absent without connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<ClusterSpread>,
    /// Names that several living instances have.
    pub shared_names: Vec<String>,
}

/// The number of users, each counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExactUsers {
    pub exact: u64,
    /// False: other instances may have users that are not counted.
    pub complete: bool,
}

/// A report, with the number of users if it was asked for.
#[derive(Serialize)]
struct CountedReport<'a> {
    #[serde(flatten)]
    report: &'a ClusterReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<ExactUsers>,
}

/// The Redis of the bus, as the answering instance reaches it.
#[derive(Clone, Debug, Serialize)]
pub struct RedisReport {
    /// `standalone`, `sentinel` or `cluster`.
    pub kind: &'static str,
    pub up: bool,
    /// The time of the last renewal of the lease.
    pub latency_us: u64,
}

/// The part of the answering instance in Redis.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RegistryReport {
    /// True once all of it was written for the present incarnation.
    pub complete: bool,
    /// Incarnations that were begun because of a doubt, since the start.
    pub doubts: u64,
    /// Rosters that are kept up to date with other instances.
    pub views: u64,
    /// Connections at this instance, once for each roster that they are on.
    pub memberships: u64,
}

/// One instance.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceReport {
    pub name: String,
    pub state: &'static str,
    /// The time since its last sign of life; 0 for the answering instance.
    pub age_ms: u64,
    /// Its load; absent if it is not known.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub stats: Option<InstanceStats>,
}

/// Sums over the living instances whose load is known.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClusterTotals {
    /// All living instances.
    pub instances: u64,
    pub connections: u64,
    /// Counts a user once for each instance.
    pub users_sum: u64,
    pub subscriptions: u64,
    pub publishes_per_s: u64,
    pub deliveries_per_s: u64,
}

/// The connections of the fullest and the emptiest living instance, divided by the mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClusterSpread {
    pub max_over_mean: f64,
    pub min_over_mean: f64,
}

/// The answering instance.
#[derive(Clone, Debug)]
pub struct OwnInstance {
    pub name: Arc<str>,
    pub state: InstanceState,
    pub stats: InstanceStats,
}

/// The rest that the answering instance knows.
#[derive(Clone, Debug)]
pub struct ClusterFacts {
    pub leader: Option<Arc<str>>,
    pub redis: Option<RedisReport>,
    pub registry: Option<RegistryReport>,
    pub shared_names: Vec<Arc<str>>,
}

impl ClusterReport {
    /// Puts together what is known. An instance that ended is not listed if one with its name lives again.
    pub fn new<'a>(
        own: OwnInstance,
        others: impl Iterator<Item = &'a KnownInstance>,
        facts: ClusterFacts,
        now: Now,
    ) -> ClusterReport {
        let ClusterFacts { leader, redis, registry, shared_names } = facts;
        let others: Vec<&KnownInstance> = others.collect();
        let living = others.iter().filter(|other| other.state.lives()).map(|other| &*other.name);
        let living_names: BTreeSet<&str> = living.chain([&*own.name]).collect();
        let listed =
            others.iter().filter(|other| other.state.lives() || !living_names.contains(&*other.name));
        let age_max = stats_period(others.len() + 1) * STATS_PERIODS;
        let mut living = 1;
        let mut known: Vec<InstanceStats> = vec![own.stats.clone()];
        let mut is_isolated = false;
        let mut instances = vec![InstanceReport {
            name: own.name.to_string(),
            state: own.state.as_str(),
            age_ms: 0,
            stats: Some(own.stats),
        }];
        for other in listed {
            let fresh = |(_, read): &&(InstanceStats, _)| now.at.since(*read) <= age_max;
            let stats = other.stats.as_ref().filter(fresh).map(|(stats, _)| stats.clone());
            let stats = stats.filter(|_| other.state.lives());
            if other.state.lives() {
                living += 1;
                known.extend(stats.clone());
            }
            is_isolated |= other.state == InstanceState::Isolated;
            let age_ms = u64::try_from(other.silence(now.at).as_millis()).unwrap_or(u64::MAX);
            instances.push(InstanceReport {
                name: other.name.to_string(),
                state: other.state.as_str(),
                age_ms,
                stats,
            });
        }
        instances.sort_by(|one, other| one.name.cmp(&other.name));
        let reads_redis = redis.as_ref().is_none_or(|redis| redis.up);
        ClusterReport {
            now: now.unix_ms,
            complete: reads_redis && !is_isolated && known.len() as u64 == living,
            leader: leader.map(|name| name.to_string()),
            redis,
            registry,
            instances,
            spread: ClusterSpread::of(&known),
            totals: ClusterTotals::of(living, &known),
            shared_names: shared_names.iter().map(|name| name.to_string()).collect(),
        }
    }

    /// True if it is known that no other instance lives. A leader is known only while the store, or Redis, shows who lives.
    pub fn is_alone(&self) -> bool {
        self.complete && self.leader.is_some() && self.totals.instances == 1
    }

    /// The number of instances in this state.
    pub fn count(&self, state: InstanceState) -> u64 {
        self.instances.iter().filter(|instance| instance.state == state.as_str()).count() as u64
    }

    /// The JSON text, with a line feed.
    pub fn json(&self, users: Option<ExactUsers>) -> String {
        // Numbers, strings and structs of them have a JSON form.
        let mut text = serde_json::to_string(&CountedReport { report: self, users }).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl ClusterTotals {
    fn of(instances: u64, known: &[InstanceStats]) -> ClusterTotals {
        let sum = |value: fn(&InstanceStats) -> u64| known.iter().map(value).fold(0, u64::saturating_add);
        ClusterTotals {
            instances,
            connections: sum(|stats| stats.connections),
            users_sum: sum(|stats| stats.users),
            subscriptions: sum(|stats| stats.subscriptions),
            publishes_per_s: sum(|stats| stats.rates.publishes_per_s),
            deliveries_per_s: sum(|stats| stats.rates.deliveries_per_s),
        }
    }
}

impl ClusterSpread {
    fn of(known: &[InstanceStats]) -> Option<ClusterSpread> {
        let connections = || known.iter().map(|stats| stats.connections as f64);
        let mean = connections().sum::<f64>() / known.len() as f64;
        // Three decimals are enough.
        let over_mean = |value: f64| (value / mean * 1_000.0).round() / 1_000.0;
        (mean > 0.0).then(|| ClusterSpread {
            max_over_mean: over_mean(connections().fold(0.0, f64::max)),
            min_over_mean: over_mean(connections().fold(f64::INFINITY, f64::min)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use serde_json::Value;

    const NOW: Now = Now { at: Moment::from_micros(100_000_000), unix_ms: 5 };

    fn own(connections: u64) -> OwnInstance {
        let stats = InstanceStats { connections, subscriptions: 7, ..InstanceStats::default() };
        OwnInstance { name: Arc::from("b"), state: InstanceState::Alive, stats }
    }

    fn other(name: &str, state: InstanceState, connections: Option<u64>) -> KnownInstance {
        let stats = connections.map(|connections| InstanceStats { connections, ..InstanceStats::default() });
        let stats = stats.map(|stats| (stats, NOW.at));
        KnownInstance { state, stats, ..KnownInstance::new(2, 1, Arc::from(name), NOW.at) }
    }

    const REDIS: RedisReport = RedisReport { kind: "standalone", up: true, latency_us: 9 };

    fn report(others: &[KnownInstance], redis: Option<RedisReport>) -> Value {
        let facts =
            ClusterFacts { leader: Some(Arc::from("a")), redis, registry: None, shared_names: vec![] };
        let report = ClusterReport::new(own(10), others.iter(), facts, NOW);
        serde_json::from_str(&report.json(None)).expect("JSON")
    }

    #[test]
    fn living_instances_are_summed_and_spread_over_their_mean() {
        let others = [
            other("c", InstanceState::Draining, Some(20)),
            other("a", InstanceState::Alive, Some(30)),
            other("d", InstanceState::Gone, Some(99)),
        ];
        let report = report(&others, Some(REDIS));
        assert_eq!(report["totals"]["connections"], 60);
        assert_eq!(report["totals"]["instances"], 3);
        assert_eq!(report["spread"], serde_json::json!({"max_over_mean": 1.5, "min_over_mean": 0.5}));
        assert_eq!(report["complete"], true);
        let names: Vec<_> =
            (0..4).map(|at| report["instances"][at]["name"].as_str().expect("a name")).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(report["instances"][3].get("connections"), None, "an instance that is gone has no load");
    }

    #[test]
    fn ended_instance_is_not_listed_if_one_with_its_name_lives_again() {
        let others = [
            other("a", InstanceState::Gone, None),
            other("a", InstanceState::Alive, Some(1)),
            other("b", InstanceState::Left, None),
            other("c", InstanceState::Gone, None),
        ];
        let report = report(&others, None);
        let names = report["instances"].as_array().expect("a list").iter();
        let names: Vec<_> = names.map(|one| (one["name"].clone(), one["state"].clone())).collect();
        let expected = [("a", "alive"), ("b", "alive"), ("c", "gone")];
        assert_eq!(names, expected.map(|(name, state)| (name.into(), state.into())));
    }

    #[test]
    fn report_says_when_it_does_not_know_everything() {
        let up = || Some(REDIS);
        assert_eq!(report(&[], None)["complete"], true, "the only instance");
        assert_eq!(report(&[], Some(RedisReport { up: false, ..REDIS }))["complete"], false);
        assert_eq!(report(&[other("a", InstanceState::Alive, None)], up())["complete"], false);
        assert_eq!(report(&[other("a", InstanceState::Isolated, Some(1))], up())["complete"], false);
        assert_eq!(report(&[other("a", InstanceState::Gone, None)], up())["complete"], true);
        let mut old = other("a", InstanceState::Alive, Some(1));
        old.stats = old.stats.map(|(stats, read)| (stats, read - Duration::from_secs(21)));
        assert_eq!(report(&[old], up())["complete"], false, "its load is out of date");
    }

    #[test]
    fn loads_of_many_instances_are_out_of_date_later_because_they_are_written_less_often() {
        assert_eq!([1, 50, 51, 250, 1_000].map(|many| stats_period(many).as_secs()), [5, 5, 10, 25, 100]);
        let with_age = |seconds: u64| -> Vec<KnownInstance> {
            let of = |index: u32| {
                let one = other(&format!("gw-{index}"), InstanceState::Alive, Some(1));
                let stats = one.stats.map(|(stats, read)| (stats, read - Duration::from_secs(seconds)));
                KnownInstance { stats, ..one }
            };
            (0..149).map(of).collect()
        };
        assert_eq!(report(&with_age(21), None)["complete"], true, "written every 15 s");
        assert_eq!(report(&with_age(60), None)["complete"], true);
        assert_eq!(report(&with_age(61), None)["complete"], false);
    }
}
