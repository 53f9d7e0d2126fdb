//! Dependencies that come, go and change under a running gateway, and an auth service that moves.

use crate::operations::reload::{reload, says};
use crate::servers::{Answer, Http};
use crate::support::token::claims;
use crate::support::{Client, Gateway, Operator, SOON, Setup, until};
use serde_json::{Value, json};
use std::time::Duration;

/// An HTTP service that is looked at often.
pub fn table(name: &str, service: &Http, more: &str) -> String {
    format!(
        "[[dependency]]\nname = \"{name}\"\nkind = \"http\"\nurl = \"{}\"\ninterval_ms = 200\ntimeout_ms = 1000\n{more}\n",
        service.url("/")
    )
}

/// How an operator sees it.
pub fn state(operator: &Operator, name: &str) -> Value {
    operator.get(&format!("/health/dependencies/{name}")).json()["state"].clone()
}

#[test]
fn dependencies_come_and_go_and_change_and_those_that_stay_keep_what_is_known_of_them() {
    let (well, mut broken) = (Http::start(), Http::start());
    broken.stop();
    let start = table("mail", &well, "") + &table("search", &broken, "lost = [\"search\"]");
    let gateway = Setup::new().with_admin().toml(&start).start();
    let operator = Operator::of(&gateway);
    let mut client = Client::connect(&gateway);
    until(SOON, "both were judged", || {
        (state(&operator, "mail"), state(&operator, "search")) == (json!("ok"), json!("down"))
    });
    let search = operator.get("/health/dependencies/search").json();

    // `mail` goes, `assistant` comes, and who searches is now refused at the door.
    let next = table("search", &broken, "lost = [\"search\", \"find\"]\ncriticality = \"critical\"")
        + &table("assistant", &well, "");
    reload(&gateway, &next, "applied");
    let after = operator.get("/health/dependencies/search").json();
    assert_eq!(after["state"], "down");
    assert_eq!((&after["reference"], &after["since"]), (&search["reference"], &search["since"]), "{after}");
    assert_eq!(after["criticality"], "critical");
    assert_eq!(operator.get("/health/dependencies/mail").status, 404);
    until(SOON, "the newcomer was judged", || state(&operator, "assistant") == "ok");
    let metrics = gateway.metrics();
    assert!(metrics.contains_key("seawall_dependency_up{dependency=\"assistant\"}"), "{metrics:?}");
    assert!(!metrics.contains_key("seawall_dependency_up{dependency=\"mail\"}"), "{metrics:?}");
    assert_eq!(client.next_status("down", SOON)["level"], "down");
    Client::open(&gateway).expect_close().is(1011, "unavailable");

    // The same name at another address: what is known stays until the new place was looked at.
    reload(&gateway, &table("search", &well, "criticality = \"critical\""), "applied");
    assert_eq!(client.next_status("ok", SOON)["level"], "ok");
    Client::connect(&gateway);
    for line in ["key=\"dependency.mail\" change=optional http -> (removed)", "dependency.search.criticality"]
    {
        says(&gateway, line);
    }
    let threads = || probes(&gateway);
    until(SOON, "nobody looks at what is gone", || threads() == ["probe-search"]);
}

/// Threads that look at dependencies.
fn probes(gateway: &Gateway) -> Vec<String> {
    let folder = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("it runs");
    let names = folder.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("probe-")).collect()
}

#[test]
fn who_waits_for_an_auth_service_is_judged_by_the_one_that_takes_its_place() {
    let service = Http::start();
    let mut answer = claims("ann");
    answer["active"] = json!(true);
    // The gateway's own probe asks about a token that nobody issued.
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
    waiting.send(json!({"connect": {"token": "opaque"}}));
    let asked = || service.requests().iter().any(|request| request.body.contains("token=opaque"));
    until(SOON, "it was asked", asked);
    reload(&gateway, &auth("/new"), "applied");
    assert_eq!(waiting.reply(1)["connected"]["user"], "ann");
    assert_eq!(gateway.metric("seawall_tokens_unjudged_total"), 0.0);
}
