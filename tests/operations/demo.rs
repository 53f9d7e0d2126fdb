//! `seawall demo`: robots talk, a signal of the page unplugs the service, and Ctrl-C leaves nothing behind.

use crate::support::client::{Client, Upgrade};
use crate::support::wait::{SOON, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Killed if the test fails.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn demo_unplugs_its_service_on_a_signal_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("demo").env("TMPDIR", folder.path()).stdout(Stdio::piped());
    let mut demo = Demo(command.spawn().expect("the demo starts"));
    let lines = BufReader::new(demo.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let address: SocketAddr = lines
        .filter_map(|line| Some(line.trim().strip_prefix("http://")?.split('/').next()?.to_owned()))
        .find_map(|address| address.parse().ok())
        .expect("the link to the page");

    let mut page = Client::open_with(address, &Upgrade::default()).with_connect(json!({}));
    page.subscribe("lobby");
    let said = page.next_push("publication");
    assert_eq!((&said["channel"], &said["data"]["robot"]), (&json!("lobby"), &json!(true)));
    page.ask(json!({"subscribe": {"channel": "demo", "last": 1}}), "subscribed");
    page.send(json!({"signal": {"channel": "demo", "data": {"plug": "assistant", "out": true}}}));
    let status = page.next_status("degraded", SOON);
    assert_eq!(status["lost"], json!(["replies"]));

    page.send(json!({"signal": {"channel": "demo", "data": {"plug": "network", "out": true}}}));
    until(SOON, "the network is unplugged", || Client::try_open(address, &Upgrade::default()).is_err());

    let pid = i32::try_from(demo.0.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::INT).expect("it runs");
    let mut ended = None;
    until(SOON, "the demo ends", || {
        ended = demo.0.try_wait().expect("a child");
        ended.is_some()
    });
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("it exists").count(), 0, "files stay behind");
}
