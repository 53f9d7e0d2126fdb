//! `connect` is the first command, and its reply has the settings that a client needs.

use crate::support::{Client, Gateway};
use serde_json::json;

#[test]
fn connected_names_user_connection_instance_and_limits() {
    let gateway = Gateway::start();
    let client = Client::connect(&gateway);
    let connected = &client.connected;
    assert_eq!(connected["user"], "anonymous");
    assert_eq!(connected["ping_ms"], 25_000);
    assert_eq!(connected["stable_ms"], 10_000);
    assert!(connected["connection"].as_str().is_some_and(|name| !name.is_empty()), "{connected}");
    assert!(connected["instance"].as_str().is_some_and(|name| !name.is_empty()), "{connected}");
    let limits =
        json!({"frame_bytes": 65536, "publishes_per_s": 20, "publishes_burst": 40, "subscriptions": 128});
    assert_eq!(connected["limits"], limits);
    assert_eq!(connected["status"]["level"], "ok");
    assert!(connected["status"]["revision"].is_u64(), "{connected}");
}

#[test]
fn each_connection_has_a_unique_name() {
    let gateway = Gateway::start();
    let (a, b) = (Client::connect(&gateway), Client::connect(&gateway));
    assert_ne!(a.connected["connection"], b.connected["connection"]);
    assert_eq!(a.connected["instance"], b.connected["instance"]);
}

#[test]
fn command_before_connect_is_unauthenticated() {
    let gateway = Gateway::start();
    for command in [
        json!({"subscribe": {"channel": "a"}}),
        json!({"publish": {"channel": "a", "data": 1}}),
        json!({"history": {"channel": "a"}}),
        json!({"refresh": {"token": "x"}}),
    ] {
        let mut client = Client::open(&gateway);
        client.send(command);
        client.expect_close().is(4501, "unauthenticated");
    }
    let mut client = Client::open(&gateway);
    client.send_text(r#"{"signal":{"channel":"a","data":1}}"#);
    client.expect_close().is(4501, "unauthenticated");
}
