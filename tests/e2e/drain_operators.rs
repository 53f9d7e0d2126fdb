//! Drains that operators start and watch, by the admin listener and by `seawall drain`.

use crate::support::admin::Operator;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, RawClient, Setup};
use rustix::process::Signal;
use seawall_fault::HeldPort;
use serde_json::Value;
use std::process::Output;

fn moving_for_long() -> Setup {
    Setup::new().drain("spread", 60_000).drain("close", 90_000).drain("exit", 120_000).with_admin()
}

/// Runs `seawall drain` with the data folder of this gateway, which names the port of its admin listener.
fn drain(gateway: &Gateway, arguments: &[&str]) -> Output {
    let arguments: Vec<&str> = ["drain"].into_iter().chain(arguments.iter().copied()).collect();
    gateway.setup().run_with(&arguments, &[])
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn operator_starts_a_drain_and_a_second_request_changes_nothing() {
    let mut gateway = moving_for_long().start();
    let operator = Operator::of(&gateway);
    let mut client = RawClient::connected(&gateway);
    let serving = operator.get("/drain").json();
    assert_eq!((&serving["phase"], serving.get("since")), (&"serving".into(), None));
    assert_eq!((&serving["plan"]["close_ms"], &serving["connections"]), (&90_000.into(), &1.into()));
    let first = operator.send("POST", "/drain", None);
    assert_eq!(first.status, 200);
    let first = first.json();
    assert_eq!(first["cause"], "operator", "{first}");
    assert!(client.next_json()["drain"]["slot_ms"].is_u64());
    let second = operator.send("POST", "/drain", None).json();
    assert_eq!((&second["since"], &second["phase"]), (&first["since"], &"moving".into()));
    assert_eq!((&second["told"], &second["connections"]), (&1.into(), &1.into()));
    assert_eq!(operator.send("DELETE", "/drain", None).header("allow"), Some("GET, HEAD, POST"));
    assert_eq!(operator.send_lines("POST", "/drain", &[], None).status, 401);
    drop(client);
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
}

#[test]
fn first_signal_after_an_operators_drain_changes_nothing_and_the_second_ends_it() {
    let mut gateway = moving_for_long().start();
    let mut client = Client::connect(&gateway);
    assert_eq!(Operator::of(&gateway).send("POST", "/drain", None).status, 200);
    client.next_push("drain");
    // Kubernetes sends SIGTERM after a preStop hook, which may have started a drain.
    gateway.signal(Signal::TERM);
    until(SOON, "the signal is logged", || gateway.output().contains("drain already running"));
    assert!(client.is_open());
    gateway.signal(Signal::TERM);
    client.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(0));
}

#[test]
fn command_starts_a_drain_and_watches_it_to_the_end() {
    let mut gateway = moving_for_long().start();
    let clients: Vec<RawClient> = (0..3).map(|_| RawClient::connected(&gateway)).collect();
    let serving = drain(&gateway, &["--status"]);
    assert_eq!(serving.status.code(), Some(0), "{}", text(&serving));
    assert!(text(&serving).starts_with("serving, 3 connections; not draining"), "{}", text(&serving));
    let began = drain(&gateway, &[]);
    assert_eq!(began.status.code(), Some(0), "{}", text(&began));
    assert!(text(&began).starts_with("draining: "), "{}", text(&began));
    assert!(text(&drain(&gateway, &[])).starts_with("already draining: moving, 3 connections"));
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| drain(&gateway, &["--status"]));
        // The watch begins before a client leaves: each poll is a request to the admin listener.
        let operator = Operator::of(&gateway);
        let (before, mut own) = (gateway_requests(&operator), 0);
        until(SOON, "the drain is watched", || {
            own += 1;
            gateway_requests(&operator) >= before + own + 2
        });
        drop(clients);
        let watched = watch.join().expect("no panic");
        assert_eq!(watched.status.code(), Some(0), "{}", text(&watched));
        assert!(text(&watched).starts_with("moving: 3 connections left, 0 moved"), "{}", text(&watched));
        assert!(text(&watched).contains("\nexited after "), "{}", text(&watched));
    });
    assert_eq!(gateway.ends_within(SOON), Some(0));
}

fn gateway_requests(operator: &Operator) -> u64 {
    let metrics = operator.get("/metrics").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("seawall_admin_requests_total "));
    line.and_then(|count| count.parse().ok()).expect("requests are counted")
}

#[test]
fn failed_command_names_the_cause_and_the_remedy() {
    let gateway = moving_for_long().start();
    let address = Operator::of(&gateway).address.to_string();
    let elsewhere = Setup::new();
    let run = |variables: &[(&str, &str)]| {
        let output = elsewhere.run_with(&["drain"], variables);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    };
    let wrong = "a".repeat(40);
    let unused = HeldPort::loopback().expect("a port");
    let at = |address: &str| run(&[("SEAWALL_ADMIN_LISTEN", address), ("SEAWALL_ADMIN_TOKEN", &wrong)]);
    let cases = [
        (run(&[("SEAWALL_ADMIN_LISTEN", "off")]), "send its process SIGTERM"),
        (run(&[("SEAWALL_ADMIN_LISTEN", "127.0.0.1:0")]), "has port 0"),
        (run(&[("SEAWALL_ADMIN_LISTEN", &address)]), "admin.token (the admin token)"),
        (at(&address), "rejects this token (admin.token)"),
        (at(&gateway.address.to_string()), "is not a gateway, or is an older version"),
        (at(&unused.address().to_string()), "no process answers at"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let ready: Value = gateway.fetch("/health/ready").json();
    assert_eq!(ready["status"], "pass", "no failed command started a drain");
}
