//! Every kind of frame that the gateway sends conforms to `docs/asyncapi.yaml`.
//!
//! Every [`Client`] checks its first frames against the schema; this test makes sure that each kind is among them.

use crate::support::token::{self, SECRET, token_of};
use crate::support::{Client, Setup};
use crate::support_schema::Schemas;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Kinds that need an outage, a slow socket, a drain, a reload or a stream.
const SEEN_ELSEWHERE: [&str; 10] =
    ["status", "lag", "drain", "flags", "appended", "restarted", "ended", "cancelling", "cancel", "stream"];

#[test]
fn conversation_has_every_documented_kind_of_frame() {
    let schemas = Schemas::load();
    let gateway = Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).limit("ping_ms", 200).start();
    let mut client = Client::open(&gateway);
    let mut claims = token::claims("ann");
    claims["channels"][0]["rights"] = json!(["subscribe", "publish", "present", "presence"]);
    let commands = [
        json!({"connect": {"token": token::token(&claims), "client": "schema/1", "recover":
            [{"channel": "a", "epoch": "0", "offset": 3}]}}),
        json!({"subscribe": {"channel": "c", "last": 5, "present": {"state": "active"}, "watch": "members"}}),
        json!({"present": {"channel": "c", "state": "away"}}),
        json!({"presence": {"channel": "c", "limit": 10}}),
        json!({"absent": {"channel": "c"}}),
        json!({"publish": {"channel": "c", "key": "k", "data": {"text": "hi"}}}),
        json!({"publish": {"channel": "c", "key": "k", "data": {"text": "hi"}}}),
        json!({"publish": {"channel": "c", "key": "k", "data": "other"}}),
        json!({"publish": {"channel": "c", "edits": 1, "data": [1, 2]}}),
        json!({"publish": {"channel": "c", "deletes": 1, "data": null}}),
        json!({"history": {"channel": "c", "before": 9, "limit": 2}}),
        json!({"refresh": {"token": token_of("ann")}}),
        json!({"subscribe": {"channel": "d", "recover": {"epoch": "zzz", "offset": 1}}}),
        json!({"unsubscribe": {"channel": "d"}}),
        json!({"report": {"errors": [{"name": "TypeError", "message": "m", "level": "message"}], "dropped": 1}}),
    ];
    let mut kinds = BTreeSet::new();
    for (index, command) in commands.into_iter().enumerate() {
        let mut whole = command.clone();
        whole["id"] = json!(index + 1);
        schemas.check_client(&whole.to_string()).unwrap_or_else(|fault| panic!("{fault}"));
        let reply = client.command(command);
        kinds.extend(kind(&reply));
    }
    client.send_text(r#"{"signal":{"channel":"c","data":1}}"#);
    let mut other = Client::open(&gateway).with_connect(json!({"token": token_of("bob")}));
    other.subscribe("c");
    other.send_text(r#"{"signal":{"channel":"c","data":{"typing":true}}}"#);
    for expected in ["publication", "synced", "signal", "beat"] {
        client.next_push(expected);
        kinds.insert(expected.to_string());
    }
    let mut late = Client::open(&gateway);
    late.send(json!({"history": {"channel": "c"}}));
    assert!(late.expect_close().bye.is_some());
    kinds.insert("bye".into());
    let unseen: Vec<&str> = schemas
        .server_kinds()
        .filter(|kind| !kinds.contains(*kind) && !SEEN_ELSEWHERE.contains(kind))
        .collect();
    assert!(unseen.is_empty(), "documented but never seen: {unseen:?}");
}

fn kind(frame: &Value) -> Option<String> {
    frame.as_object()?.keys().find(|key| *key != "id").cloned()
}
