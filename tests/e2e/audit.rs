//! Events that concern security are logged with the address that caused them: the first at once, the others of a minute as a count.

use crate::support::token::{SECRET, claims, signed, token, token_of, unix_s};
use crate::support::{Client, Gateway, SOON, Setup, Upgrade, until};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

fn with_secret() -> Setup {
    Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).env("SEAWALL_AUTH_LEEWAY_MS", "0")
}

/// The lines of one event.
fn lines(gateway: &Gateway, event: &str, field: &str) -> Vec<String> {
    let of_event = |line: &&str| line.contains(event) && line.contains(field);
    gateway.output().lines().filter(of_event).map(String::from).collect()
}

/// Waits for the only line of an event, and checks its fields.
#[track_caller]
fn logged_once(gateway: &Gateway, event: &str, field: &str, fields: &[&str]) -> String {
    until(SOON, event, || !lines(gateway, event, field).is_empty());
    let lines = lines(gateway, event, field);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let line = lines.into_iter().next().unwrap_or_default();
    for field in fields {
        assert!(line.contains(field), "{field}: {line}");
    }
    line
}

fn refused(gateway: &Gateway, token: &str) {
    let mut client = Client::open(gateway);
    client.send(json!({"connect": {"token": token}}));
    client.expect_close();
}

#[test]
fn refused_token_is_logged_with_its_fault_and_kid_and_with_its_user_only_if_it_was_signed() {
    let gateway = with_secret().start();
    let mut expired = claims("ann");
    expired["exp"] = json!(unix_s() - 10);
    let forged =
        signed(&claims("eve"), Algorithm::HS256, Some("k\n7"), &EncodingKey::from_secret(&[b'x'; 32]));
    for _ in 0..20 {
        refused(&gateway, &token(&expired));
        refused(&gateway, &forged);
    }
    let common = ["WARN", "command=\"connect\"", "address=\"127.0.0.1\"", "count=1"];
    let line = logged_once(&gateway, "token refused", "fault=\"expired\"", &common);
    assert!(line.contains("user=\"ann\"") && !line.contains("kid="), "{line}");
    let line = logged_once(&gateway, "token refused", "fault=\"bad_signature\"", &common);
    assert!(line.contains("kid=\"k\\n7\"") && !line.contains("user="), "{line}");
    let output = gateway.output();
    assert!(!output.contains("eve") && !output.contains(&forged), "{output}");
}

#[test]
fn refresh_with_the_token_of_another_user_is_logged_with_the_address_of_the_client_behind_a_proxy() {
    let gateway = with_secret().toml("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]").start();
    let upgrade = Upgrade::default().header("X-Forwarded-For", "192.0.2.7");
    let mut client =
        Client::open_with(gateway.address, &upgrade).with_connect(json!({"token": token_of("ann")}));
    let reply = client.command(json!({"refresh": {"token": token_of("bob")}}));
    assert_eq!(reply["error"]["code"], "unauthorized");
    let fields = ["command=\"refresh\"", "user=\"ann\"", "address=\"192.0.2.7\""];
    logged_once(&gateway, "token refused", "fault=\"other_user\"", &fields);
}

#[test]
fn client_over_a_limit_is_logged_with_the_limit_and_its_user() {
    let gateway = with_secret().limit("publishes_per_s", 1).limit("publishes_burst", 1).start();
    let mut client = Client::open(&gateway).with_connect(json!({"token": token_of("ann")}));
    for _ in 0..150 {
        if client.try_send(json!({"publish": {"channel": "c", "data": 1}})).is_err() {
            break;
        }
    }
    client.expect_close().is(4429, "rate_limited");
    let fields = ["user=\"ann\"", "address=\"127.0.0.1\""];
    logged_once(&gateway, "over limit", "limit=\"limits.publishes_per_s\"", &fields);
}

#[test]
fn user_with_too_many_connections_is_logged() {
    let gateway = with_secret().limit("connections_per_user", 1).start();
    let _first = Client::open(&gateway).with_connect(json!({"token": token_of("ann")}));
    refused(&gateway, &token_of("ann"));
    logged_once(&gateway, "over limit", "limit=\"limits.connections_per_user\"", &["user=\"ann\""]);
}

#[test]
fn session_that_is_ended_for_cause_is_logged_with_its_reason() {
    let gateway = with_secret().start();
    let mut client = Client::open(&gateway).with_connect(json!({"token": token_of("ann")}));
    for _ in 0..=10 {
        client.send_text("{");
    }
    client.expect_close().is(4500, "misuse");
    let fields = ["code=4500", "more than 10 malformed commands", "user=\"ann\"", "address=\"127.0.0.1\""];
    logged_once(&gateway, "session ended", "reason=\"misuse\"", &fields);
    let mut client = Client::open(&gateway);
    client.send(json!({"connect": {}}));
    client.expect_close().is(4501, "unauthenticated");
    let line = logged_once(&gateway, "session ended", "reason=\"unauthenticated\"", &["send a token"]);
    assert!(!line.contains("user="), "{line}");
}
