//! Surroundings that other servers of this kind fail in: a working folder that is gone, a user without a name, a signal during the start,
//! both families of addresses at one port.

use crate::support::token::{SECRET, token_of};
use crate::support::{Client, Gateway, SOON, Setup, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;

/// A user that no system knows.
const UNKNOWN: &str = "54321";

/// Publishes, reads, and ends the gateway in order.
fn serves(mut gateway: Gateway) {
    let mut client = Client::connect(&gateway);
    let offset = client.publish("lobby", json!("hello"));
    let page = client.ask(json!({"history": {"channel": "lobby"}}), "history");
    assert_eq!(page["head"], offset);
    until(SOON, "it is counted", || gateway.metric("seawall_published_total") >= 1.0);
    let (code, _) = gateway.ends_after(Signal::TERM);
    assert_eq!(code, Some(0), "{}", gateway.output());
}

#[test]
fn gateway_serves_after_its_working_folder_is_removed() {
    let data = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new().plain().data_at(data.path().to_owned()).start();
    std::fs::remove_dir_all(gateway.setup().folder()).expect("removed");
    assert!(std::fs::read_link(format!("/proc/{}/cwd", gateway.pid())).is_ok_and(|cwd| !cwd.exists()));
    serves(gateway);
}

#[test]
fn gateway_serves_as_a_user_that_the_system_does_not_know() {
    let setup = Setup::new();
    let script = setup.folder().join("as-unknown");
    let run = format!(
        "#!/bin/sh\nunset HOME USER LOGNAME\nexec unshare --map-user={UNKNOWN} --map-group={UNKNOWN} {} \"$@\"\n",
        setup.binary().display()
    );
    std::fs::write(&script, run).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("changed");
    let gateway = setup.program(&script).start();
    let users = std::fs::read_to_string(format!("/proc/{}/uid_map", gateway.pid())).expect("readable");
    assert_eq!(users.split_whitespace().next(), Some(UNKNOWN));
    serves(gateway);
}

/// Sends SIGTERM to a process that starts, once its data folder has this file. The next start must work.
fn signalled_once_it_has(file: Option<&str>) {
    let setup = Setup::new();
    let mut child = setup.spawn();
    if let Some(file) = file {
        let path = setup.data().join(file);
        until(SOON, "it has the file", || path.exists());
    }
    let pid = Pid::from_raw(child.id() as i32).expect("a process");
    kill_process(pid, Signal::TERM).expect("it runs");
    let mut status = None;
    until(SOON, "it ends", || {
        status = child.try_wait().expect("a child can be waited for");
        status.is_some()
    });
    let status = status.expect("ended");
    // Before it listens to signals, the kernel ends it.
    assert!(status.success() || status.signal() == Some(15), "{status} with {file:?}");
    serves(setup.start());
}

#[test]
fn signal_during_the_start_ends_the_gateway_and_the_next_start_works() {
    for file in [None, Some("lock"), Some("seawall.db"), Some("seawall.db-wal")] {
        signalled_once_it_has(file);
    }
}

#[test]
fn both_families_of_addresses_are_served_at_one_port() {
    let setup = Setup::new().plain().env("SEAWALL_AUTH_SECRET", SECRET);
    let gateway = setup.listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).start();
    let port = gateway.address.port();
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        let mut client = Client::open_with(SocketAddr::from((address, port)), &Default::default());
        client = client.with_connect(json!({"token": token_of("ann")}));
        client.publish("lobby", json!("hello"));
    }
}
