//! The echoed subprotocol, and the answer to versions that the gateway does not speak.

use crate::support::raw::UPGRADE;
use crate::support::{Client, Gateway, RawClient, Upgrade};
use serde_json::json;

fn open(gateway: &Gateway, offered: &str) -> Client {
    Client::open_with(gateway.address, &Upgrade::default().subprotocols(offered))
}

fn echoed(client: &Client) -> Option<&str> {
    client.response.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok())
}

#[test]
fn v1_is_echoed_and_a_client_without_a_subprotocol_is_served() {
    let gateway = Gateway::start();
    for offered in ["seawall.v1", "chat, seawall.v1", "seawall.v9, seawall.v1", "seawall.v1, seawall.token.x"]
    {
        let client = open(&gateway, offered);
        assert_eq!(echoed(&client), Some("seawall.v1"), "{offered}");
    }
    let client = Client::connect(&gateway);
    assert_eq!(echoed(&client), None);
}

#[test]
fn unknown_version_is_echoed_then_closed_for_good() {
    let gateway = Gateway::start();
    for offered in ["seawall.v2", "seawall.v2, seawall.token.x", "chat, seawall.v10"] {
        let mut client = open(&gateway, offered);
        assert!(echoed(&client).is_some_and(|own| offered.contains(own)), "{offered}");
        client.expect_close().is(4505, "unsupported_version");
    }
}

#[test]
fn only_foreign_subprotocols_are_a_bad_request() {
    let gateway = Gateway::start();
    for offered in ["chat", "seawall.token.x", "seawall", "Seawall.V1"] {
        let mut client = RawClient::to(&gateway);
        let header = format!("\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n");
        client.write(UPGRADE.replace("\r\n\r\n", &header).as_bytes());
        let response = client.response();
        assert_eq!(response.status, 400, "{offered}");
        assert!(response.body.contains("seawall.v1"), "the body says what to offer: {response:?}");
    }
}

#[test]
fn offers_in_several_header_lines_are_combined() {
    let gateway = Gateway::start();
    let upgrade = Upgrade::default().subprotocols("seawall.v1");
    let mut client = Client::open_with(gateway.address, &upgrade).with_connect(json!({}));
    assert!(client.is_open());
    let mut raw = RawClient::to(&gateway);
    let lines = "\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: seawall.v1\r\n\r\n";
    raw.write(UPGRADE.replace("\r\n\r\n", lines).as_bytes());
    let response = raw.response();
    assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, Some("seawall.v1")));
}
