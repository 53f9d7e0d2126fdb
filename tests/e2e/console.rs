//! The data of the console, and the links and sessions that open it.

use crate::support::admin::Operator;
use crate::support::raw::Response;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, Setup};
use serde_json::{Value, json};

/// Runs `seawall console` with the data folder of this gateway, and returns the code in the link that it prints.
#[track_caller]
fn code(gateway: &Gateway, arguments: &[&str]) -> String {
    let all: Vec<&str> = ["console"].into_iter().chain(arguments.iter().copied()).collect();
    let printed = gateway.setup().run(&all);
    let link = String::from_utf8(printed.stdout).expect("text");
    let (page, code) = link.trim().split_once("#code=").expect(&link);
    assert_eq!(page, format!("http://{}/console/", Operator::of(gateway).address));
    code.into()
}

/// Sends a request without the token.
fn send(operator: &Operator, method: &str, path: &str, lines: &[&str], body: Option<Value>) -> Response {
    let response = operator.send_lines(method, path, lines, body);
    assert_eq!(response.header("set-cookie"), None, "{method} {path}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{method} {path}");
    response
}

/// Exchanges a code, and returns the header line of the session.
#[track_caller]
fn log_in(operator: &Operator, code: &str) -> String {
    let opened = send(operator, "POST", "/console/session", &[], Some(json!({ "code": code })));
    assert_eq!(opened.status, 201, "{opened:?}");
    format!("Seawall-Session: {}", opened.json()["session"].as_str().expect("a key"))
}

#[test]
fn page_is_served_without_a_token_to_names_of_this_listener_only() {
    let gateway = Setup::new().with_admin().start();
    let operator = Operator::of(&gateway);
    for path in ["/", "/console"] {
        let lead = operator.send_lines("GET", path, &["Sec-Fetch-Site: cross-site"], None);
        assert_eq!((lead.status, lead.header("location")), (303, Some("console/")), "{path}");
        assert_eq!(operator.send_lines("POST", path, &[], None).status, 401, "{path}");
    }
    let page = operator.send_lines("GET", "/console/", &["Sec-Fetch-Site: cross-site"], None);
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-cache")));
    assert!(
        page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'"))
    );
    for (start, kind) in [("src=\"", "text/javascript"), ("href=\"", "image/svg+xml")] {
        let path = page.body.split(start).nth(1).and_then(|rest| rest.split('"').next()).expect("a file");
        let file = operator.send_lines("GET", &format!("/console/{path}"), &[], None);
        assert_eq!(file.status, 200, "{path}");
        assert!(file.header("content-type").is_some_and(|form| form.starts_with(kind)), "{path}");
    }
    assert_eq!(operator.send_lines("GET", "/console/assets/none.js", &[], None).status, 401);
    let mut rebound = operator.connect();
    rebound.write(b"GET /console/ HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
    assert_eq!(rebound.response().status, 403);
    assert_eq!(gateway.fetch("/console/").status, 404, "the public listener has none of it");
}

#[test]
fn live_state_has_the_history_of_a_second_and_the_changes() {
    let gateway = Setup::new().with_admin().start();
    let operator = Operator::of(&gateway);
    let _client = Client::connect(&gateway);
    assert_eq!(operator.send("POST", "/health/dependencies/gateway/probe", None).status, 202);
    let since = operator.get("/console/live").json()["tick"].as_u64().expect("a tick");
    let mut live = Value::Null;
    // The row of a second is there a moment before the changes in it.
    until(SOON, "a second with the connection is sampled, and its changes are", || {
        live = operator.get(&format!("/console/live?since={since}")).json();
        let is_sampled =
            live["series"]["rows"].as_array().is_some_and(|rows| rows.iter().any(|row| row[0] == 1.0));
        let kinds = live["changes"].as_array().into_iter().flatten().map(|one| &one["kind"]);
        is_sampled && ["start", "action"].iter().all(|kind| kinds.clone().any(|known| known == kind))
    });
    assert_eq!(live["series"]["step_ms"], 1_000);
    assert_eq!(live["series"]["names"][0], "connections");
    assert_eq!((&live["status"]["level"], &live["scope"]), (&"ok".into(), &"operate".into()), "{live}");
    assert!(
        live["health"]["checks"]["gateway"].is_array() && live["cluster"]["instances"].is_array(),
        "{live}"
    );
    let last = live["changes"].as_array().and_then(|all| all.last()).expect("a change")["id"].clone();
    let later = operator.get(&format!("/console/live?since={since}&changes={last}")).json();
    // A busy machine may change its state meanwhile.
    let mut repeated = later["changes"].as_array().expect("a list").iter();
    assert!(repeated.all(|one| one["id"].as_u64() > last.as_u64()), "{last}: {later}");
    let series = operator.get("/console/series?names=connections,memory_bytes&step=1&points=60").json();
    let newest = series["series"]["rows"].as_array().and_then(|rows| rows.last()).expect("a row").clone();
    assert!(newest[1].as_f64().is_some_and(|bytes| bytes > 1_000_000.0), "{series}");
    assert_eq!(operator.get("/console/series?names=connections&step=7&points=400").status, 400);
}

#[test]
fn link_opens_one_session_and_other_sites_get_nothing() {
    let gateway = Setup::new().with_admin().start();
    let operator = Operator::of(&gateway);
    let code = code(&gateway, &[]);
    let session = log_in(&operator, &code);
    let again = send(&operator, "POST", "/console/session", &[], Some(json!({ "code": code })));
    assert_eq!((again.status, &again.json()["error"]), (401, &"link_used".into()));
    assert_eq!(send(&operator, "GET", "/console/live", &[&session], None).status, 200);
    assert_eq!(send(&operator, "POST", "/health/dependencies/gateway/probe", &[&session], None).status, 202);
    until(SOON, "the action is logged", || gateway.output().contains("action of a console session"));
    let links = send(&operator, "POST", "/console/links", &[&session], Some(json!({"scope": "read"})));
    assert_eq!(links.status, 401, "a session makes no links");

    for line in ["Origin: http://localhost:1", "Sec-Fetch-Site: cross-site"] {
        let foreign = send(&operator, "GET", "/console/live", &[&session, line], None);
        assert_eq!((foreign.status, &foreign.json()["error"]), (403, &"origin_forbidden".into()), "{line}");
    }
    let mut rebound = operator.connect();
    let head = format!("GET /console/live HTTP/1.1\r\nHost: rebound.example\r\n{session}\r\n\r\n");
    rebound.write(head.as_bytes());
    let answer = rebound.response();
    assert_eq!((answer.status, &answer.json()["error"]), (403, &"host_forbidden".into()));
    assert_eq!(operator.get("/console/live").header("access-control-allow-origin"), None);

    assert_eq!(send(&operator, "DELETE", "/console/session", &[&session], None).status, 204);
    let over = send(&operator, "GET", "/metrics", &[&session], None);
    assert_eq!((over.status, &over.json()["error"]), (401, &"session_over".into()));
    assert!(!gateway.output().contains(&code), "a code is never logged");
}

#[test]
fn read_only_link_changes_nothing_and_wrong_keys_are_limited_without_locking_it_out() {
    let gateway = Setup::new().with_admin().start();
    let operator = Operator::of(&gateway);
    let session = log_in(&operator, &code(&gateway, &["--read-only"]));
    assert_eq!(send(&operator, "GET", "/alerts", &[&session], None).status, 200);
    for (method, path) in [("POST", "/drain"), ("DELETE", "/health/dependencies/store/force")] {
        let refused = send(&operator, method, path, &[&session], None);
        assert_eq!((refused.status, &refused.json()["error"]), (403, &"read_only".into()), "{path}");
    }
    let mut seen: Vec<u16> = Vec::new();
    // Written before any is answered, because the limit is one of a second. The listener has eight seats.
    until(SOON, "wrong keys are limited", || {
        let mut clients: Vec<_> = (0..7).map(|_| operator.connect()).collect();
        for client in &mut clients {
            client.write(b"GET /console/live HTTP/1.1\r\nHost: localhost\r\nSeawall-Session: wrong\r\n\r\n");
        }
        seen = clients.iter_mut().map(|client| client.response().status).collect();
        clients.iter_mut().for_each(|client| client.expect_end());
        assert_eq!(send(&operator, "GET", "/console/live", &[&session], None).status, 200);
        seen.contains(&429)
    });
    assert!(seen.iter().all(|status| matches!(status, 401 | 429)), "{seen:?}");
}
