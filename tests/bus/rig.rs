//! Gateways whose bus is behind the proxy of the rig.

pub use crate::cluster::rig::Rig;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway};
use serde_json::Value;
use std::time::Duration;

/// Longer than a working bus takes, far shorter than the ten seconds between polls of the logs.
pub const BY_BUS: Duration = Duration::from_secs(6);

impl Rig {
    /// A gateway whose bus delivers and whose store was probed: an earlier client may get a `status` first.
    pub fn delivering(&self, name: &str) -> Gateway {
        let gateway = self.proxied(name).start();
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
        panic!("{}", client.missing(&format!("a publication within {within:?}")));
    };
    (push["offset"].as_u64().expect("an offset"), push["data"].clone())
}
