//! The rig of tests with several instances: a store, a Redis, a proxy in front of it, and gateways.

use crate::servers::{Postgres, Redis};
use crate::support::wait::{LATE, SOON, comes_true, until};
use crate::support::{Gateway, Operator, Setup};
use seawall_fault::Proxy;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Added to every bound, for a busy machine.
pub const SLACK: Duration = Duration::from_secs(12);
/// An instance that was killed is gone within this time, and an additional [`SLACK`].
pub const GONE: Duration = Duration::from_millis(5_100);
/// The same while rows alone judge.
pub const GONE_BY_ROWS: Duration = Duration::from_millis(6_900);

pub struct Rig {
    pub store: Postgres,
    pub redis: Redis,
    /// In front of Redis, for gateways of [`Rig::proxied`].
    pub proxy: Proxy,
}

impl Rig {
    pub fn start() -> Rig {
        let redis = Redis::start();
        let proxy = Proxy::start(redis.address()).expect("the proxy starts");
        Rig { store: Postgres::start(), redis, proxy }
    }

    pub fn setup(&self, name: &str) -> Setup {
        Setup::new()
            .with_admin()
            .env("SEAWALL_STORE_URL", &self.store.url())
            .env("SEAWALL_BUS_URL", &self.redis.url())
            .env("SEAWALL_SERVER_INSTANCE", name)
    }

    /// The setup of a gateway that reaches Redis through the proxy.
    pub fn proxied(&self, name: &str) -> Setup {
        self.setup(name).env("SEAWALL_BUS_URL", &self.redis.url_through(self.proxy.address()))
    }

    /// Waits until no stream is open in the store: none is for longer than its deadline (S4).
    #[track_caller]
    pub fn every_stream_ends(&self, within: Duration) {
        const OPEN: &str = "SELECT count(*) FROM seawall.streams WHERE kept_until IS NULL";
        until(within, "every stream ends", || self.store.sql(OPEN).trim() == "0");
    }

    /// Gateways that see each other, with one leader.
    pub fn gateways<const N: usize>(&self, names: [&str; N]) -> [Gateway; N] {
        let gateways = names.map(|name| self.setup(name).start());
        settled(&gateways.iter().collect::<Vec<_>>());
        gateways
    }
}

/// The answer to `GET /cluster`.
pub fn cluster(gateway: &Gateway) -> Value {
    let response = Operator::of(gateway).get("/cluster");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// The state of an instance, as a gateway reports it; empty if it is not listed.
pub fn state(gateway: &Gateway, name: &str) -> String {
    let report = cluster(gateway);
    let instances = report["instances"].as_array().expect("a list");
    let found = instances.iter().find(|instance| instance["name"] == name);
    found.map(|instance| instance["state"].as_str().expect("a state").to_owned()).unwrap_or_default()
}

/// Checks that a gateway reports an instance alive.
#[track_caller]
pub fn is_alive(gateway: &Gateway, name: &str, why: &str) {
    assert_eq!(state(gateway, name), "alive", "{LATE}: a sign of life of {name}: {why}");
}

/// The number of gateways that lead by their own account.
pub fn leaders(gateways: &[&Gateway]) -> usize {
    gateways.iter().filter(|gateway| gateway.metric("seawall_cluster_leader") > 0.0).count()
}

/// Waits until all see all others alive with their load, and one of them leads.
#[track_caller]
pub fn settled(gateways: &[&Gateway]) {
    for gateway in gateways {
        until(SOON + SOON, "the instances see each other", || {
            let report = cluster(gateway);
            report["complete"] == true
                && report["totals"]["instances"] == gateways.len()
                && report["leader"].is_string()
        });
    }
    until(SOON, "one leads", || leaders(gateways) == 1);
}

/// Waits until a gateway reports an instance in this state, and returns how long that took.
#[track_caller]
pub fn becomes(gateway: &Gateway, name: &str, wanted: &str, within: Duration) -> Duration {
    let began = Instant::now();
    let reached = comes_true(within + SLACK, || state(gateway, name) == wanted);
    assert!(reached, "{LATE}: {name} is not {wanted} after {within:?}: {}", cluster(gateway));
    began.elapsed()
}

/// Checks for a while that a gateway reports none of these states.
#[track_caller]
pub fn never(gateway: &Gateway, name: &str, unwanted: &[&str], during: Duration) {
    let mut found = String::new();
    let seen = comes_true(during, || {
        found = state(gateway, name);
        unwanted.contains(&found.as_str())
    });
    // An instance that is not scheduled for the time of a lease is gone for the others, or isolated. It never leaves by that.
    let fault = if matches!(&*found, "gone" | "isolated") { LATE } else { "a wrong state" };
    assert!(!seen, "{fault}: a sign of life of {name}, which is {found}: {}", cluster(gateway));
}
