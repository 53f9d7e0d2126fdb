//! Objectives: what the gateway counts, over restarts and a kill.

use crate::support::relay::{ask, ended, view};
use crate::support::{Client, Gateway, Operator, RelayBackend, SOON, Setup, stream, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A part of an objective, as the admin listener reports it.
fn part(operator: &Operator, objective: &str, part: &str) -> Value {
    let report = operator.get(&format!("/slo/{objective}"));
    assert_eq!(report.status, 200, "{}", report.body);
    let report = report.json();
    let parts = report["objectives"][0]["parts"].as_array().cloned().unwrap_or_default();
    parts.into_iter().find(|found| found["part"] == part).unwrap_or_else(|| panic!("{part} of {report}"))
}

fn restarted(mut gateway: Gateway) -> Gateway {
    let (code, _) = gateway.ends_after(Signal::INT);
    assert_eq!(code, Some(0));
    gateway.setup().clone().start()
}

#[test]
fn counts_survive_a_restart_and_are_printed() {
    let gateway = Setup::new().with_admin().start();
    let mut client = Client::connect(&gateway);
    for index in 0..3 {
        client.publish("c", json!(index));
    }
    client.close();
    until(SOON, "the client has left", || gateway.metric("seawall_connections") <= 1.0);
    let gateway = restarted(gateway);
    let operator = Operator::of(&gateway);
    until(SOON, "the first judgement", || operator.get("/slo").status == 200);
    let published = part(&operator, "delivery", "publish");
    assert_eq!((&published["good"], &published["state"]), (&json!(3), &json!("kept")));
    assert_eq!(part(&operator, "connection", "attempt")["good"], 1);
    assert_eq!(part(&operator, "explained", "endings")["state"], "no_events", "the client ended it");

    let unknown = operator.get("/slo/other");
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("there are: connection, delivery, latency, health, explained, recovery"));
    let text = gateway.metrics();
    let of_answers = |name: &&String| name.contains("promptness") || name.starts_with("seawall_relay");
    assert_eq!(text.keys().find(of_answers), None, "there is no route");

    let printed = gateway.setup().run(&["slo"]);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    assert!(text.contains("delivery    99.9 % / 7 d"), "{text}");
    assert!(text.contains("0 of 0 messages"), "three messages a day allow no whole one: {text}");
    let json = gateway.setup().run(&["slo", "delivery", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["objectives"][0]["parts"][0]["good"], 3);
    check_report(gateway.setup(), &operator);
}

/// The report of this week has the counts of both processes, in each form.
fn check_report(setup: &Setup, operator: &Operator) {
    let print = |arguments: &[&str]| {
        let printed = setup.run(&[&["slo", "report"], arguments].concat());
        let text = String::from_utf8_lossy(&[printed.stdout, printed.stderr].concat()).into_owned();
        (printed.status.code(), text)
    };
    let (code, text) = print(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("Seawall seawall, week ") && text.contains(" so far ("), "{text}");
    assert!(text.contains("delivery    99.9 %   100 %      kept"), "{text}");
    let (_, markdown) = print(&["--format", "markdown"]);
    assert!(markdown.contains("| delivery | 99.9 % | 100 % | kept |"), "{markdown}");
    let json = operator.get("/slo/report").json();
    assert_eq!(json["objectives"][1]["parts"][0]["good"], 3, "{json}");
    let (code, text) = print(&["--week", "2020-W01"]);
    assert!(code == Some(2) && text.contains("no counts of 2020-W01 are kept"), "{text}");
    let (code, text) = print(&["--week", "48"]);
    assert!(code == Some(2) && text.contains("like 2026-W48"), "{text}");
}

#[test]
fn sessions_of_a_killed_process_ended_without_a_reason() {
    let gateway = Setup::new().with_admin().start();
    let _clients = [Client::connect(&gateway), Client::connect(&gateway)];
    let operator = Operator::of(&gateway);
    // The next ten seconds write that they are open.
    until(2 * SOON, "the attempts are stored", || part(&operator, "connection", "attempt")["good"] == 2);
    let gateway = gateway.kill9().start();
    let operator = Operator::of(&gateway);
    until(SOON, "the first judgement", || operator.get("/slo").status == 200);
    let endings = part(&operator, "explained", "endings");
    assert_eq!((&endings["bad"], &endings["state"]), (&json!(2), &json!("spent")));
    assert_eq!(part(&operator, "connection", "attempt")["good"], 2, "a kill loses at most ten seconds");
    assert_eq!(gateway.setup().run(&["slo"]).status.code(), Some(1), "a budget is spent");
    until(SOON, "it is logged", || gateway.output().contains("previous process ended without a word"));
}

#[test]
fn objective_that_is_off_is_not_judged_and_none_are_without_the_thread() {
    let gateway = Setup::new().with_admin().env("SEAWALL_SLO_DELIVERY", "off").start();
    let operator = Operator::of(&gateway);
    until(SOON, "the first judgement", || operator.get("/slo").status == 200);
    assert_eq!(operator.get("/slo/delivery").status, 404);

    let gateway = Setup::new().with_admin().env("SEAWALL_SLO_ENABLED", "false").start();
    let operator = Operator::of(&gateway);
    let off = operator.get("/slo");
    assert!(off.status == 404 && off.body.contains("slo.enabled"), "{}", off.body);
    assert_eq!(gateway.setup().run(&["slo"]).status.code(), Some(2));
    assert!(!gateway.setup().data().join("slo.db").exists());

    let variable = ("SEAWALL_SLO_LATENCY", "90 % over 30 d");
    let refused = Setup::new().run_with(&["check-config"], &[variable]);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("slo.latency") && text.contains("99.9 % over 7 d"), "{text}");
}

#[test]
fn answers_of_a_backend_are_judged_by_their_ends_and_their_first_pieces() {
    let thread = "thread.1";
    let backend = RelayBackend::start();
    // A busy machine is no late answer.
    let gateway = backend.setup("").with_admin().env("SEAWALL_SLO_PROMPTNESS_MS", "3600000").start();
    let mut asker = stream::user(&gateway, "ann", &["subscribe", "publish"]);
    asker.subscribe(thread);
    backend.mode(json!({"mode": "text", "pieces": ["Hi"]}));
    let (_, answer) = ask(&mut asker, thread, "good");
    assert_eq!(ended(&mut asker, &mut view(thread, answer), "completed"), "Hi");
    backend.mode(json!({"mode": "status", "status": 400}));
    let (_, answer) = ask(&mut asker, thread, "bad");
    ended(&mut asker, &mut view(thread, answer), "failed");

    gateway.shows("seawall_relay_answers_total", 2.0);
    gateway.shows("seawall_relay_first_piece_seconds_count", 1.0);
    let counted = |labels: &str| gateway.metrics().get(labels).copied();
    for (labels, count) in [
        (r#"seawall_relay_answers_total{state="completed",cause="none"}"#, 1.0),
        (r#"seawall_relay_answers_total{state="failed",cause="refused"}"#, 1.0),
        (r#"seawall_slo_bad_total{slo="answers",part="answer",cause="failed"}"#, 1.0),
        (r#"seawall_slo_excluded_total{slo="promptness",part="piece",reason="left"}"#, 1.0),
    ] {
        until(SOON, labels, || counted(labels) == Some(count));
    }
    let operator = Operator::of(&gateway);
    until(SOON, "the first judgement", || operator.get("/slo").status == 200);
    let is_counted = |objective, of: &str, counts: [u64; 3]| {
        until(2 * SOON, "the next judgement has both answers", || {
            let found = part(&operator, objective, of);
            ["good", "bad", "excluded"].map(|outcome| found[outcome].as_u64()) == counts.map(Some)
        });
    };
    is_counted("answers", "answer", [1, 1, 0]);
    is_counted("promptness", "piece", [1, 0, 1]);
    let printed = gateway.setup().run(&["slo"]);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(text.contains("answers     99 % / 7 d") && text.contains("promptness  95 % / 1 d"), "{text}");
}
