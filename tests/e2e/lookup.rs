//! Looking up sessions: why was a user disconnected?

use crate::support::token::{SECRET, token_of};
use crate::support::wait::SOON;
use crate::support::{Client, Gateway, Operator, Setup, until};
use serde_json::{Value, json};

fn setup() -> Setup {
    Setup::new()
        .with_admin()
        .env("SEAWALL_AUTH_SECRET", SECRET)
        .env("SEAWALL_SERVER_INSTANCE", "blue")
        .env("SEAWALL_LOG_LEVEL", "debug")
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": token_of(user), "client": "lookup/1"}))
}

fn name(client: &Client) -> String {
    client.connected["connection"].as_str().expect("a name").to_owned()
}

/// The sessions that the admin listener lists.
fn sessions(gateway: &Gateway, path: &str) -> Vec<Value> {
    let mut response = Operator::of(gateway).get(path);
    // The reactors of a busy machine may not answer within a second.
    until(SOON, "the reactors answer", || {
        let is_late = response.status == 503;
        if is_late {
            response = Operator::of(gateway).get(path);
        }
        !is_late
    });
    let body = response.json();
    assert_eq!(body["instance"], "blue", "{body}");
    body["sessions"].as_array().expect("a list").clone()
}

fn run(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let output = gateway.setup().run_with(arguments, &[]);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn session_is_found_by_connection_and_user_while_it_is_open_and_after_its_end() {
    let gateway = setup().start();
    let mut ann = connect(&gateway, "ann");
    let (lost, misused) = (name(&ann), connect(&gateway, "ann b/c"));
    let open = sessions(&gateway, &format!("/lookup/connection/{lost}"));
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((&open[0]["user"], &open[0]["client"]), (&json!("ann"), &json!("lookup/1")));
    assert_eq!((&open[0]["state"], &open[0]["address"]), (&json!("open"), &json!("127.0.0.1")));
    ann.close();
    drop(ann);
    let mut misused = misused;
    let other = name(&misused);
    misused.send_text("not JSON");
    for _ in 0..10 {
        misused.send_text("[]");
    }
    misused.expect_close().is(4500, "misuse");
    let has_ended = |path: &str| sessions(&gateway, path).iter().all(|session| session["state"] == "ended");
    until(SOON, "both have ended", || has_ended("/lookup/user/ann") && has_ended("/lookup/user/ann%20b%2Fc"));
    let ended = sessions(&gateway, "/lookup/user/ann%20b%2Fc");
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!((&ended[0]["code"], &ended[0]["reason"]), (&json!(4500), &json!("misuse")));
    assert!(ended[0]["ended_unix_ms"].as_u64() >= ended[0]["opened_unix_ms"].as_u64(), "{ended:?}");
    let (code, text) = run(&gateway, &["connection", "show", &other]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&other) && text.contains("4500 misuse"), "{text}");
    let (code, text) = run(&gateway, &["user", "sessions", "ann b/c"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("client lookup/1") && text.contains("4500 misuse"), "{text}");
    let (code, text) = run(&gateway, &["user", "sessions", "nobody"]);
    assert_eq!((code, text.contains("blue has no open session")), (Some(0), true), "{text}");
}

#[test]
fn connection_that_is_not_known_is_refused_with_a_reason() {
    let gateway = setup().start();
    let ann = connect(&gateway, "ann");
    let own = u64::from_str_radix(&name(&ann), 16).expect("hexadecimal");
    let unknown = format!("{:016x}", own ^ 0xFF00);
    let (code, text) = run(&gateway, &["connection", "show", &unknown]);
    assert_eq!((code, text.contains("blue does not know this connection")), (Some(1), true), "{text}");
    let elsewhere = format!("{:016x}", own ^ 1 << 63);
    let (code, text) = run(&gateway, &["connection", "show", &elsewhere]);
    assert_eq!((code, text.contains("of another instance than blue")), (Some(1), true), "{text}");
    let response = Operator::of(&gateway).get("/lookup/connection/ann");
    assert_eq!(response.status, 400, "{}", response.body);
}

#[test]
fn log_names_its_instance_and_at_debug_each_session() {
    let gateway = setup().start();
    let mut ann = connect(&gateway, "ann");
    let connection = name(&ann);
    ann.close();
    drop(ann);
    let line = |event: &str| {
        let log = gateway.output();
        log.lines().find(|line| line.contains(event) && line.contains(&connection)).map(str::to_owned)
    };
    until(SOON, "both are logged", || line("session opened").is_some() && line("session closed").is_some());
    let (opened, closed) =
        (line("session opened").expect("it is there"), line("session closed").expect("too"));
    for part in ["user=", "ann", "client=", "lookup/1", "address=127.0.0.1"] {
        assert!(opened.contains(part) && closed.contains(part), "{opened}\n{closed}");
    }
    for part in ["code=1000", "reason=\"closed\"", "duration_ms="] {
        assert!(closed.contains(part), "{closed}");
    }
    let log = gateway.output();
    let lines = log.lines().filter(|line| line.contains("INFO") || line.contains("DEBUG"));
    assert!(lines.clone().count() > 2 && lines.clone().all(|line| line.ends_with("instance=blue")), "{log}");
}
