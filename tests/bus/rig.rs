//! The rig of these tests: a store, a bus, a proxy in front of the bus, and gateways.

use crate::servers::{Postgres, Redis};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, Setup};
use seawall_fault::Proxy;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Longer than a working bus takes, far shorter than the ten seconds between polls of the logs.
pub const BY_BUS: Duration = Duration::from_secs(4);

pub struct Rig {
    pub store: Postgres,
    pub redis: Redis,
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
            .env("SEAWALL_STORE_URL", &self.store.url())
            .env("SEAWALL_BUS_URL", &self.redis.url_through(self.proxy.address()))
            .env("SEAWALL_SERVER_INSTANCE", name)
    }

    /// A gateway whose bus delivers and whose store was probed: an earlier client may get a `status` first.
    pub fn gateway(&self, name: &str) -> Gateway {
        let gateway = self.setup(name).start();
        delivers(&gateway);
        let well = r#"seawall_dependency_state{dependency="store",state="ok"}"#;
        until(SOON, "the store is probed", || gateway.metrics()[well] == 1.0);
        gateway
    }
}

/// Waits until canaries have proved that the bus delivers.
#[track_caller]
pub fn delivers(gateway: &Gateway) {
    until(SOON, "the bus delivers", || {
        gateway.metric("seawall_bus_delivering") > 0.0 && gateway.metric("seawall_bus_canaries_total") > 0.0
    });
}

/// The offset and data of the next publication.
#[track_caller]
pub fn publication(client: &mut Client, within: Duration) -> (u64, Value) {
    let Some(push) = client.next_push_within("publication", within) else {
        panic!("no publication within {within:?}");
    };
    (push["offset"].as_u64().expect("an offset"), push["data"].clone())
}
