//! Incidents of a deployment: the leader sends, and the next one goes on.

use crate::cluster::rig::{Rig, settled};
use crate::servers::{Answer, Http};
use crate::support::Gateway;
use crate::support::wait::{SOON, until};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// A critical dependency is down for 15 s, waits 10 s for its cause, and its probes take a few; a busy machine needs more.
const NOTICED: Duration = Duration::from_secs(150);

/// The members of this name in what one path was sent.
fn sent(http: &Http, path: &str, name: &str) -> Vec<String> {
    let of = http.requests().into_iter().filter(|request| request.path.starts_with(path));
    of.map(|request| {
        let body: Value = serde_json::from_str(&request.body).expect("JSON");
        body[name].as_str().unwrap_or_default().to_owned()
    })
    .collect()
}

#[test]
fn next_leader_after_a_kill_sends_the_end_and_no_second_begin() {
    let (rig, http, mut shop) = (Rig::start(), Http::start(), Http::start());
    http.answer("/slack", Answer::json(200, "ok"));
    http.answer("/pagerduty", Answer::json(202, r#"{"status":"success"}"#));
    let table = format!(
        "[[dependency]]\nname = \"shop\"\nkind = \"http\"\ncriticality = \"critical\"\nurl = \"{}\"",
        shop.url("/")
    );
    let start = |name: &str| {
        rig.setup(name)
            .with_slow_store()
            .toml(&table)
            .env("SEAWALL_ALERT_SLACK_URL", &http.url("/slack"))
            .env("SEAWALL_ALERT_PAGERDUTY_URL", &http.url("/pagerduty"))
            .env("SEAWALL_ALERT_PAGERDUTY_KEY", "routing-key")
            .start()
    };
    let gateways = ["gw-1", "gw-2"].map(start);
    settled(&gateways.iter().collect::<Vec<_>>());
    shop.stop();
    let actions = || sent(&http, "/pagerduty", "event_action");
    until(NOTICED, "the incident is sent, and marked in the store", || {
        let marked = rig.store.sql("SELECT count(*) FROM seawall.notices WHERE fate = 'sent'");
        marked == "2" && actions() == ["trigger"] && sent(&http, "/slack", "text").len() == 1
    });
    let leads = |gateway: &Gateway| gateway.metric("seawall_cluster_leader") > 0.0;
    let (leader, mut others): (Vec<Gateway>, Vec<Gateway>) = gateways.into_iter().partition(leads);
    for gateway in leader {
        gateway.kill9();
    }
    let next = others.pop().expect("one that does not lead");
    next.logs("alerts taken over");

    // Without the dependency there is no incident about it.
    let path = next.setup().folder().join("seawall.toml");
    std::fs::write(path, "").expect("written");
    next.signal(Signal::HUP);
    until(SOON, "the end is sent", || {
        let over =
            sent(&http, "/slack", "text").last().is_some_and(|text| text.starts_with("OVER #1 shop is down"));
        over && actions().last().is_some_and(|last| last == "resolve")
    });
    assert_eq!(actions(), ["trigger", "resolve"]);
    assert_eq!(sent(&http, "/slack", "text").len(), 2);
    until(SOON, "it is closed in the store", || {
        rig.store.sql("SELECT count(*) FROM seawall.incidents WHERE open") == "0"
    });
}
