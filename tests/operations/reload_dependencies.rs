//! Reloads that add, remove and change dependencies, and one that changes the auth service.

use crate::operations::reload::{reload, says};
use crate::servers::{Answer, Http};
use crate::support::token::claims;
use crate::support::wait::LATE;
use crate::support::{Client, Gateway, Operator, SOON, Setup, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The configuration of an HTTP dependency with a short probe interval.
pub fn table(name: &str, service: &Http, more: &str) -> String {
    format!(
        "[[dependency]]\nname = \"{name}\"\nkind = \"http\"\nurl = \"{}\"\ninterval_ms = 200\ntimeout_ms = 1000\n{more}\n",
        service.url("/")
    )
}

/// The state of a dependency on the admin listener.
pub fn state(operator: &Operator, name: &str) -> Value {
    operator.get(&format!("/health/dependencies/{name}")).json()["state"].clone()
}

#[test]
fn reload_adds_removes_and_changes_dependencies_and_kept_ones_keep_their_state() {
    let (well, mut broken) = (Http::start(), Http::start());
    broken.stop();
    let start = table("mail", &well, "") + &table("search", &broken, "lost = [\"search\"]");
    let gateway = Setup::new().with_admin().toml(&start).start();
    let operator = Operator::of(&gateway);
    let mut client = Client::connect(&gateway);
    until(SOON, "both were probed", || {
        (state(&operator, "mail"), state(&operator, "search")) == (json!("ok"), json!("down"))
    });
    let search = operator.get("/health/dependencies/search").json();

    // `mail` is removed, `assistant` added, and the outage of `search`, now critical, refuses new clients.
    let next = table("search", &broken, "lost = [\"search\", \"find\"]\ncriticality = \"critical\"")
        + &table("assistant", &well, "");
    reload(&gateway, &next, "applied");
    let after = operator.get("/health/dependencies/search").json();
    assert_eq!(after["state"], "down");
    assert_eq!((&after["reference"], &after["since"]), (&search["reference"], &search["since"]), "{after}");
    assert_eq!(after["criticality"], "critical");
    assert_eq!(operator.get("/health/dependencies/mail").status, 404);
    until(SOON, "the new dependency was probed", || state(&operator, "assistant") == "ok");
    let metrics = gateway.metrics();
    assert!(metrics.contains_key("seawall_dependency_up{dependency=\"assistant\"}"), "{metrics:?}");
    assert!(!metrics.contains_key("seawall_dependency_up{dependency=\"mail\"}"), "{metrics:?}");
    assert_eq!(client.next_status("down", SOON)["level"], "down");
    Client::open(&gateway).expect_close().is(1011, "unavailable");

    // The same name at another address: the state stays until the new address was probed.
    reload(&gateway, &table("search", &well, "criticality = \"critical\""), "applied");
    assert_eq!(client.next_status("ok", SOON)["level"], "ok");
    Client::connect(&gateway);
    for line in
        ["key=\"dependency.mail\" change=\"optional http -> (removed)\"", "dependency.search.criticality"]
    {
        says(&gateway, line);
    }
    let threads = || probes(&gateway);
    until(SOON, "removed dependencies have no probe thread", || threads() == ["probe-search"]);
}

/// The names of the probe threads.
fn probes(gateway: &Gateway) -> Vec<String> {
    let folder = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("it runs");
    let names = folder.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("probe-")).collect()
}

#[test]
fn token_waiting_for_a_replaced_auth_service_is_checked_by_the_new_one() {
    let service = Http::start();
    let mut answer = claims("ann");
    answer["active"] = json!(true);
    // The gateway's own probe introspects a token that was never issued.
    let of = |answer: Answer| {
        Answer::by(move |request| match request.body.contains("token=opaque") {
            true => answer.clone(),
            false => Answer::json(200, r#"{"active":false}"#),
        })
    };
    let ann = Answer::json(200, &answer.to_string());
    service.answer("/new", of(ann.clone()));
    service.answer("/old", of(ann.after(Duration::from_secs(60))));
    let auth =
        |path: &str| format!("[auth]\nintrospection_url = \"{}\"\ntimeout_ms = 3000", service.url(path));
    let gateway = Setup::new().toml(&auth("/old")).start();
    let mut waiting = Client::open(&gateway);
    let begun = Instant::now();
    waiting.send(json!({"connect": {"token": "opaque"}}));
    let asked = || service.requests().iter().any(|request| request.body.contains("token=opaque"));
    until(SOON, "the service was called", asked);
    reload(&gateway, &auth("/new"), "applied");
    assert!(begun.elapsed() < Duration::from_secs(3), "{LATE}: a reload while the token waits");
    assert_eq!(waiting.reply(1)["connected"]["user"], "ann");
    assert_eq!(gateway.metric("seawall_tokens_unjudged_total"), 0.0);
}
