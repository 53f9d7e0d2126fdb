//! SIGHUP with changed routes of the relay, while questions flow.

use crate::operations::reload::reload;
use crate::support::admin::Operator;
use crate::support::relay::{ASSISTANT, RelayBackend, SECRET, ask, ended, view};
use crate::support::stream;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, Setup};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// Channels of the route that stays, and of the one that comes and goes.
const KEPT: &str = "thread.1";
const OTHER: &str = "other.1";

/// A route, as lines of the configuration. A request waits as long as it may: only the test causes repeats.
fn route(name: &str, pattern: &str, backend: &RelayBackend) -> String {
    format!(
        "[[relay]]\nname = \"{name}\"\npattern = \"{pattern}\"\nurl = \"http://127.0.0.1:{}/seawall\"\nsecrets = [\"{SECRET}\"]\n\
         user = \"{ASSISTANT}\"\ntimeout_ms = 60000\n",
        backend.port()
    )
}

fn kept(backend: &RelayBackend) -> String {
    route("kept", "thread.*", backend)
}

fn other(backend: &RelayBackend) -> String {
    route("other", "other.*", backend)
}

fn start(routes: &str) -> Gateway {
    let setup: Setup = stream::setup().with_admin();
    setup.toml(routes).start()
}

/// A user that asks in a channel and reads it.
#[track_caller]
fn asker(gateway: &Gateway, channel: &str) -> Client {
    let mut asker = stream::user(gateway, "ann", &["subscribe", "publish"]);
    asker.subscribe(channel);
    asker
}

/// Asks, and waits for the answer. Returns the offset of the question.
#[track_caller]
fn answered(asker: &mut Client, channel: &str, text: &str) -> u64 {
    let (question, answer) = ask(asker, channel, text);
    assert_eq!(ended(asker, &mut view(channel, answer), "completed"), "so it is", "{channel}, {text}");
    question
}

fn answering() -> RelayBackend {
    let backend = RelayBackend::start();
    backend.mode(json!({"mode": "text", "pieces": ["so ", "it is"]}));
    backend
}

/// `seawall relay status` as an operator reads it.
#[track_caller]
fn status(gateway: &Gateway) -> String {
    let address = Operator::of(gateway).address.to_string();
    let output = gateway.setup().run_with(&["relay", "status"], &[("SEAWALL_ADMIN_LISTEN", &address)]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn routes_that_come_change_and_go_lose_no_question_of_the_others() {
    let (backend, successor) = (answering(), answering());
    let gateway = start(&kept(&backend));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asker = asker(&gateway, KEPT);
            let mut questions = Vec::new();
            while !is_over.load(Ordering::Relaxed) || questions.is_empty() {
                questions.push(answered(&mut asker, KEPT, &format!("question {}", questions.len())));
            }
            questions
        });
        let mut asker = asker(&gateway, OTHER);
        // Without a route, it is a message like any other.
        let plain = json!({"publish": {"channel": OTHER, "key": "plain", "data": "plain"}});
        let published = asker.ask_again(&plain, "published");
        assert!(published.get("answer").is_none(), "{published}");
        reload(&gateway, &[kept(&backend), other(&backend)].concat(), "applied");
        let first = answered(&mut asker, OTHER, "to the added route");
        reload(&gateway, &[kept(&backend), other(&successor)].concat(), "applied");
        let second = answered(&mut asker, OTHER, "to the changed route");
        reload(&gateway, &kept(&backend), "applied");
        let plain = json!({"publish": {"channel": OTHER, "key": "again", "data": "again"}});
        let published = asker.ask_again(&plain, "published");
        assert!(published.get("answer").is_none(), "{published}");
        is_over.store(true, Ordering::Relaxed);
        let questions = asking.join().expect("all were answered");
        assert_eq!(backend.kept_order(OTHER, &[first]).len(), 1);
        assert_eq!(successor.kept_order(OTHER, &[second]).len(), 1);
        let requests = backend.kept_order(KEPT, &questions);
        // A repeat has a number of its own.
        let mut attempts: Vec<(u64, u64)> = requests.iter().map(place).collect();
        attempts.sort_unstable();
        let count = attempts.len();
        attempts.dedup();
        assert_eq!(attempts.len(), count, "{requests:?}");
    });
}

/// The offset and the attempt of a request.
fn place(request: &Value) -> (u64, u64) {
    let number = |name: &str| request[name].as_u64().unwrap_or_else(|| panic!("no {name} in {request}"));
    (number("offset"), number("attempt"))
}

#[test]
fn removed_route_leaves_what_waits_to_the_route_that_comes_back() {
    let backend = RelayBackend::start();
    backend.mode(json!({"mode": "status", "status": 503}));
    let gateway = start(&other(&backend));
    let mut asker = asker(&gateway, OTHER);
    let asked = ["one", "two"].map(|text| ask(&mut asker, OTHER, text));
    backend.has_requests(1);
    reload(&gateway, "", "applied");
    let said = || status(&gateway);
    until(SOON, "also without any route", || said().contains("1 channel waiting without a route"));
    let answering = answering();
    reload(&gateway, &kept(&answering), "applied");
    until(SOON, "the status counts the channel", || said().contains("1 channel waiting without a route"));
    assert!(!said().contains("\nother\n"), "{}", said());
    answered(&mut self::asker(&gateway, KEPT), KEPT, "meanwhile");
    reload(&gateway, &[kept(&answering), other(&backend)].concat(), "applied");
    until(SOON, "it waits for the route again", || {
        let said = said();
        let (_, of_route) = said.split_once("\nother\n").unwrap_or_default();
        of_route.starts_with("  waiting    1 channel, ") && !said.contains("without a route")
    });
    let page = asker.ask(json!({"history": {"channel": OTHER}}), "history");
    let publications = page["publications"].as_array().expect("a page");
    assert_eq!(publications.len(), 4, "two questions and their answers, of which none has ended: {page}");
    backend.kept_order(OTHER, &[asked[0].0]);
}
