//! `connect` comes first, and its answer says what a client needs to know.

use crate::support::{Client, Gateway};
use serde_json::json;

#[test]
fn connected_tells_who_where_and_which_limits() {
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
fn every_connection_has_a_name_of_its_own() {
    let gateway = Gateway::start();
    let (a, b) = (Client::connect(&gateway), Client::connect(&gateway));
    assert_ne!(a.connected["connection"], b.connected["connection"]);
    assert_eq!(a.connected["instance"], b.connected["instance"]);
}

#[test]
fn another_command_first_is_not_authenticated() {
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
