//! The rights that a user of Redis needs, as the documentation has them, and a server that evicts.

use crate::cluster::rig::{Rig, settled};
use crate::support::Setup;
use crate::support::wait::{SOON, until};
use std::path::Path;

/// The words of the documented command, for another password.
fn documented() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dependencies.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let line = text.lines().find(|line| line.starts_with("ACL SETUSER seawall on >password resetkeys"));
    line.expect("the command").split(' ').map(String::from).collect()
}

#[test]
fn documented_rights_are_enough_and_a_server_that_evicts_is_warned_of() {
    let rig = Rig::start();
    let words = documented();
    assert!(rig.redis.command(&words.iter().map(String::as_str).collect::<Vec<_>>()).is_ok());
    let url = format!("redis://seawall:password@{}", rig.redis.address());
    let doctor = || {
        let variables = [("SEAWALL_STORE_URL", &*rig.store.url()), ("SEAWALL_BUS_URL", &*url)];
        let output = Setup::new().run_with(&["doctor", "--here"], &variables);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let gateways = ["gw-1", "gw-2"].map(|name| rig.setup(name).env("SEAWALL_BUS_URL", &url).start());
    settled(&[&gateways[0], &gateways[1]]);
    until(SOON, "the bus delivers", || {
        gateways.iter().all(|gateway| gateway.metric("seawall_bus_delivering") > 0.0)
    });
    let log = rig.redis.command(&["ACL", "LOG"]);
    assert_eq!(log, crate::servers::Reply::List(Vec::new()), "nothing was refused");
    let said = doctor();
    assert!(!said.contains("lease") && !said.contains("maxmemory-policy"), "{said}");
    for (name, value) in [("maxmemory", "512mb"), ("maxmemory-policy", "allkeys-lru")] {
        assert!(rig.redis.command(&["CONFIG", "SET", name, value]).is_ok());
    }
    let said = doctor();
    assert!(said.contains("maxmemory-policy is allkeys-lru"), "{said}");
    assert!(rig.redis.command(&["ACL", "SETUSER", "seawall", "-hset"]).is_ok());
    let said = doctor();
    assert!(said.contains("other instances do not see this one's lease"), "{said}");
}
