//! Commands find the running gateway by the file that it keeps in its data folder.

use crate::support::wait::{SOON, until};
use crate::support::{Operator, Setup};
use rustix::process::Signal;
use serde_json::Value;

fn run(setup: &Setup, arguments: &[&str]) -> (Option<i32>, String) {
    let output = setup.run_with(arguments, &[]);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn running_gateway_is_described_in_its_data_folder_until_it_ends() {
    let mut gateway = Setup::new().with_admin().env("SEAWALL_SERVER_INSTANCE", "blue").start();
    let file = gateway.setup().data().join("gateway.json");
    let text = std::fs::read_to_string(&file).expect("the file");
    let described: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&described["instance"], &described["pid"]), (&"blue".into(), &gateway.pid().into()));
    assert_eq!(described["admin"], Operator::of(&gateway).address.to_string());
    assert!(!text.contains(&Operator::of(&gateway).token), "it holds no secret");
    assert_eq!(gateway.ends_after(Signal::TERM).0, Some(0));
    assert!(!file.exists());
}

#[test]
fn health_and_doctor_ask_the_running_gateway() {
    let gateway = Setup::new().with_admin().env("SEAWALL_SERVER_INSTANCE", "blue").start();
    let pid = gateway.pid();
    assert_eq!(run(gateway.setup(), &["health"]), (Some(0), "alive\n".into()));
    assert_eq!(run(gateway.setup(), &["health", "--ready"]), (Some(0), "ready\n".into()));
    let mut seen = String::new();
    // A busy machine may degrade the gateway for a moment.
    until(SOON, "the doctor finds nothing", || {
        let (code, said) = run(gateway.setup(), &["doctor"]);
        seen = said;
        code == Some(0)
    });
    assert!(seen.starts_with(&format!("as blue (pid {pid}; no file, ")), "{seen}");
    assert!(seen.contains(" gateway  gateway ") && seen.contains("Everything answers."), "{seen}");
    assert_eq!(run(gateway.setup(), &["health", "--instance", "blue"]).0, Some(0));
    let (code, other) = run(gateway.setup(), &["health", "--instance", "green"]);
    assert_eq!(code, Some(1), "another gateway is not asked instead: {other}");
    let (code, here) = run(gateway.setup(), &["doctor", "--here"]);
    assert_eq!(code, Some(0), "{here}");
    assert!(here.starts_with("probed from here; read: no file, "), "{here}");
    for row in ["data folder", "free space", "descriptors", "listener", "admin"] {
        assert!(here.contains(row), "{row}: {here}");
    }
    let setup = gateway.kill9();
    let (code, gone) = run(&setup, &["health"]);
    assert_eq!(code, Some(1), "the file of a killed gateway is ignored: {gone}");
    assert!(run(&setup, &["doctor"]).1.starts_with("probed from here"), "the same");
}

#[test]
fn health_reports_a_drain_as_not_ready() {
    let mut gateway = Setup::new()
        .with_admin()
        .drain("accept", 60_000)
        .drain("close", 90_000)
        .drain("exit", 120_000)
        .start();
    gateway.signal(Signal::TERM);
    until(SOON, "it is not ready", || run(gateway.setup(), &["health", "--ready"]).0 == Some(1));
    assert_eq!(run(gateway.setup(), &["health"]).0, Some(0), "it is alive");
    gateway.signal(Signal::TERM);
    assert!(gateway.ends_within(SOON).is_some());
}
