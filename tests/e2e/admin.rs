//! The admin listener: authorization, the answers of each path, and slow or silent clients.

use crate::support::wait::SOON;
use crate::support::{Gateway, Operator, Setup, until};
use rustix::process::Signal;
use serde_json::json;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const PATHS: [(&str, &str); 10] = [
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/health/dependencies"),
    ("GET", "/health/dependencies/gateway"),
    ("POST", "/health/dependencies/gateway/probe"),
    ("POST", "/health/dependencies/gateway/force"),
    ("PUT", "/health/admission"),
    ("GET", "/nowhere"),
];

fn start() -> (Gateway, Operator) {
    let gateway = Setup::new().with_admin().start();
    let operator = Operator::of(&gateway);
    (gateway, operator)
}

#[test]
fn request_without_the_token_is_refused_and_does_nothing() {
    let (gateway, operator) = start();
    let right = format!("Authorization: Bearer {}", operator.token);
    let longer = format!("{right}x");
    let shorter = &right[..right.len() - 1];
    let basic = format!("Authorization: Basic {}", operator.token);
    let wrong: [&[&str]; 6] =
        [&[], &[&longer], &[shorter], &[&basic], &["Authorization: Bearer"], &[&right, &right]];
    for (method, path) in PATHS {
        for lines in wrong {
            let refused = operator.send_lines(method, path, lines, None);
            assert_eq!(refused.status, 401, "{method} {path} {lines:?}");
            assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
            assert!(refused.json()["message"].as_str().is_some_and(|text| text.contains("admin.token")));
        }
    }
    let refusals = (PATHS.len() * wrong.len()) as f64;
    gateway.shows("seawall_admin_unauthorized_total", refusals);
    until(SOON, "it is logged", || gateway.output().contains("admin token refused"));
    assert_eq!(gateway.output().matches("admin token refused").count(), 1, "once a minute and address");
    assert_eq!(gateway.metric("seawall_admin_actions_total"), 0.0);
    assert_eq!(operator.get("/health").status, 200);
}

#[test]
fn generated_token_is_kept_private_to_its_owner_and_never_shown() {
    let (gateway, operator) = start();
    let file = gateway.setup().data().join("admin.token");
    assert_eq!(file.metadata().expect("the token file exists").mode() & 0o7777, 0o600);
    gateway.logs("admin.token");
    assert!(!gateway.output().contains(&operator.token));
    let setup = gateway.kill9();
    let again = setup.clone().start();
    assert_eq!(Operator::of(&again).token, operator.token);
    assert_eq!(Operator { address: Operator::of(&again).address, ..operator }.get("/health").status, 200);
    drop(again);

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("set");
    let Err(refused) = setup.try_start() else { panic!("the gateway accepted a token that others may read") };
    assert!(refused.output.contains("chmod 600"), "{}", refused.output);
}

#[test]
fn configured_token_is_not_written_to_a_file() {
    let token = "an-operators-own-token-of-enough-letters";
    let gateway = Setup::new().with_admin().env("SEAWALL_ADMIN_TOKEN", token).start();
    let operator = Operator { address: crate::support::admin::address(&gateway), token: token.into() };
    assert_eq!(operator.get("/health/ready").status, 200);
    assert!(!gateway.setup().data().join("admin.token").exists());
    assert!(!gateway.output().contains(token));
}

#[test]
fn each_path_answers_and_names_its_allowed_methods() {
    let (gateway, operator) = start();
    for path in ["/health", "/health/live", "/livez", "/health/ready", "/readyz"] {
        let response = operator.get(path);
        assert_eq!((response.status, &response.json()["status"]), (200, &json!("pass")), "{path}");
        assert_eq!(operator.send("HEAD", path, None).status, 200, "{path}");
    }
    assert!(operator.get("/metrics").body.contains("seawall_admin_requests_total"));
    until(SOON, "the gateway has probed itself", || {
        operator.get("/health/dependencies").json()["checks"]["gateway"][0]["state"] == "ok"
    });
    let all = operator.get("/health/dependencies").json();
    assert_eq!(all["checks"]["gateway"][0]["address"], "this process");
    assert!(operator.get("/health/dependencies/gateway").json()["probes"][0]["ok"] == true);
    let asked = operator.send("POST", "/health/dependencies/gateway/probe", None);
    assert_eq!((asked.status, &asked.json()["name"]), (202, &json!("gateway")));
    let order = json!({"to": "open", "minutes": 1});
    assert_eq!(operator.send("POST", "/health/dependencies/gateway/force", Some(order)).status, 409);
    let unknown = operator.get("/health/dependencies/stoer");
    assert_eq!(unknown.status, 404);
    assert!(unknown.json()["message"].as_str().is_some_and(|text| text.contains("gateway")), "{unknown:?}");
    for (method, path, allow) in [
        ("OPTIONS", "/health", "GET, HEAD"),
        ("DELETE", "/health/dependencies", "GET, HEAD"),
        ("GET", "/health/dependencies/gateway/probe", "POST"),
        ("PUT", "/health/dependencies/gateway/force", "POST, DELETE"),
        ("POST", "/health/admission", "GET, HEAD, PUT"),
        ("BREW", "/health", "GET, HEAD, POST, PUT, DELETE"),
    ] {
        let refused = operator.send(method, path, None);
        assert_eq!((refused.status, refused.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    let wrong = operator.send("PUT", "/health/admission", Some(json!({"mode": "off"})));
    assert_eq!(wrong.status, 400);
    let large = operator.send("PUT", "/health/admission", Some(json!({"mode": "x".repeat(5_000)})));
    assert_eq!(large.status, 413);
    assert!(operator.get("/health").header("access-control-allow-origin").is_none());

    // The public listener serves none of this.
    let public = gateway.fetch("/health/dependencies").json();
    assert_eq!(public["checks"]["gateway"][0]["state"], "ok");
    assert!(public["checks"]["gateway"][0].get("address").is_none(), "{public}");
    for path in ["/health/dependencies/gateway", "/health/dependencies/gateway/probe", "/health/admission"] {
        assert_eq!(gateway.fetch(path).status, 404, "{path}");
    }
}

#[test]
fn silent_and_slow_clients_do_not_block_others() {
    // Longer than the wait for an answer.
    let gateway = Setup::new().with_admin().limit("head_ms", 120_000).start();
    let operator = Operator::of(&gateway);
    let mut slow: Vec<_> = (0..30).map(|_| operator.connect()).collect();
    for (index, client) in slow.iter_mut().enumerate() {
        // Some send nothing, some half a head. Clients that were already disconnected cannot be written to.
        if index % 2 == 0 {
            let _ = client.try_write(b"GET /health/live HTTP/1.1\r\nHost: loc");
        }
        assert_eq!(operator.get("/health/live").status, 200);
    }
    assert!(gateway.metric("seawall_admin_turned_out_total") > 0.0);
}

#[test]
fn late_request_is_answered_with_408() {
    let gateway = Setup::new().with_admin().limit("head_ms", 200).start();
    let operator = Operator::of(&gateway);
    let mut client = operator.connect();
    client.write(b"GET /health HTTP/1.1\r\n");
    assert_eq!(client.response().status, 408);
    let mut client = operator.connect();
    let token = &operator.token;
    let head = format!(
        "PUT /health/admission HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\n"
    );
    client.write(head.as_bytes());
    assert_eq!(client.response().status, 408, "the deadline of the body is that of the head");
}

#[test]
fn taken_default_address_is_a_warning_and_taken_configured_address_is_an_error() {
    // The address is taken, either by this test or by another process.
    let _held = TcpListener::bind("127.0.0.1:8081");
    let gateway = Setup::new().with_default_admin().start();
    assert_eq!(gateway.fetch("/health/ready").status, 200);
    until(SOON, "the warning is logged", || {
        let said = gateway.output();
        said.contains("admin listener unavailable")
            && said.contains("127.0.0.1:8081")
            && said.contains("unavailable: see the log")
    });
    assert!(!gateway.setup().data().join("admin.token").exists());

    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = held.local_addr().expect("an address").to_string();
    let Err(refused) = Setup::new().env("SEAWALL_ADMIN_LISTEN", &address).try_start() else {
        panic!("the gateway started although its configured address is taken")
    };
    assert_eq!(refused.status.code(), Some(1), "{}", refused.output);
    assert!(
        refused.output.contains(&format!("cannot listen on {address} (admin.listen)")),
        "{}",
        refused.output
    );
}

#[test]
fn address_outside_loopback_is_served_with_a_warning() {
    let gateway = Setup::new().env("SEAWALL_ADMIN_LISTEN", "0.0.0.0:0").start();
    let operator = Operator::of(&gateway);
    assert_eq!(operator.send_lines("GET", "/health", &[], None).status, 401);
    assert_eq!(operator.get("/health").status, 200);
    gateway.logs("not on loopback");
    let warned = gateway.output().lines().filter(|line| line.contains("not on loopback")).count();
    assert_eq!(warned, 1, "{}", gateway.output());
}

#[test]
fn open_connection_does_not_delay_the_exit() {
    let (mut gateway, operator) = start();
    let _silent = operator.connect();
    assert_eq!(gateway.ends_after(Signal::TERM).0, Some(0));
    until(SOON, "nothing listens", || std::net::TcpStream::connect(operator.address).is_err());
}
