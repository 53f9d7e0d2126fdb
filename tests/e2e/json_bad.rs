//! Malformed commands: each error names the field and the bound, and the connection continues.

use crate::support::{Client, Gateway};
use serde_json::json;

/// A frame, true if its id can be read, the error code, and a word that the message must contain.
const MALFORMED: &[(&str, bool, &str, &str)] = &[
    ("", false, "malformed", ""),
    ("nonsense", false, "malformed", ""),
    ("[]", false, "malformed", ""),
    ("null", false, "malformed", ""),
    ("{}", false, "malformed", ""),
    ("{\"id\":1}x", false, "malformed", ""),
    (r#"{"id":777}"#, true, "malformed", ""),
    (r#"{"id":0,"history":{"channel":"c"}}"#, false, "malformed", "id"),
    (r#"{"id":-1,"history":{"channel":"c"}}"#, false, "malformed", "id"),
    (r#"{"id":1.5,"history":{"channel":"c"}}"#, false, "malformed", "id"),
    (r#"{"id":"7","history":{"channel":"c"}}"#, false, "malformed", "id"),
    (r#"{"id":9007199254740992,"history":{"channel":"c"}}"#, false, "malformed", "id"),
    (r#"{"history":{"channel":"c"}}"#, false, "malformed", "id"),
    (r#"{"id":777,"history":{"channel":"c"},"publish":{"channel":"c","data":1}}"#, true, "malformed", ""),
    (r#"{"id":777,"dance":{}}"#, true, "unknown_command", "dance"),
    (r#"{"id":777,"history":[]}"#, true, "malformed", "history"),
    (r#"{"id":777,"history":{}}"#, true, "malformed", "channel"),
    (r#"{"id":777,"history":{"channel":""}}"#, true, "malformed", "channel"),
    (r#"{"id":777,"history":{"channel":"a b"}}"#, true, "malformed", "channel"),
    (r#"{"id":777,"history":{"channel":"$status"}}"#, true, "malformed", "channel"),
    (r#"{"id":777,"history":{"channel":7}}"#, true, "malformed", "channel"),
    (r#"{"id":777,"publish":{"channel":"c"}}"#, true, "malformed", "data"),
    (r#"{"id":777,"publish":{"channel":"c","data":}}"#, false, "malformed", ""),
    (r#"{"id":777,"publish":{"channel":"c","key":"","data":1}}"#, true, "malformed", "key"),
    (r#"{"id":777,"publish":{"channel":"c","key":"a b","data":1}}"#, true, "malformed", "key"),
    (r#"{"id":777,"publish":{"channel":"c","key":7,"data":1}}"#, true, "malformed", "key"),
    (r#"{"id":777,"publish":{"channel":"c","edits":"x","data":1}}"#, true, "malformed", "edits"),
    (r#"{"id":777,"subscribe":{"channel":"c","recover":{"epoch":"a"}}}"#, true, "malformed", "offset"),
    (r#"{"id":777,"subscribe":{"channel":"c","last":-1}}"#, true, "malformed", "last"),
    (r#"{"id":777,"publish":{"channel":"c","data":"\ud800"}"#, false, "malformed", ""),
];

#[test]
fn malformed_command_is_answered_and_the_connection_continues() {
    let gateway = Gateway::start();
    for (index, (text, has_id, code, word)) in MALFORMED.iter().enumerate() {
        let mut client = Client::connect(&gateway);
        client.send_text(text);
        let error = if *has_id {
            let reply = client.reply(777);
            reply.get("error").cloned().unwrap_or_else(|| panic!("{index} {text}: {reply}"))
        } else {
            client.next_push_within("error", crate::support::SOON).unwrap_or_else(|| panic!("{index} {text}"))
        };
        assert_eq!(error["code"], *code, "{text}: {error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty() && message.contains(word), "{text}: {message}");
        assert_eq!(client.ask(json!({"history": {"channel": "c"}}), "history")["head"], 0, "{text}");
    }
}

#[test]
fn name_over_its_bound_is_malformed() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    let error = client.refused(json!({"history": {"channel": "x".repeat(129)}}), "malformed");
    assert!(error["message"].as_str().unwrap().contains("128"), "{error}");
    let key = "k".repeat(65);
    let error = client.refused(json!({"publish": {"channel": "c", "key": key, "data": 1}}), "malformed");
    assert!(error["message"].as_str().unwrap().contains("64"), "{error}");
    let longest = "x".repeat(128);
    assert_eq!(client.publish(&longest, json!(1)), 1);
}

#[test]
fn nesting_over_its_bound_is_malformed() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    for depth in [33, 1_000, 30_000] {
        let data = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        client.send_text(&format!(r#"{{"id":{depth},"publish":{{"channel":"c","data":{data}}}}}"#));
        // Its answer comes after the error, whether that is an answer as well or a push.
        client.ask(json!({"history": {"channel": "c"}}), "history");
        let error = match client.next_push_within("error", std::time::Duration::ZERO) {
            Some(error) => error,
            None => client.reply(depth as u64)["error"].clone(),
        };
        assert_eq!(error["code"], "malformed", "{depth}");
    }
    let data = format!("{}{}", "[".repeat(20), "]".repeat(20));
    client.send_text(&format!(r#"{{"id":500,"publish":{{"channel":"c","data":{data}}}}}"#));
    assert_eq!(client.reply(500)["published"]["offset"], 1);
}

#[test]
fn unknown_keys_are_ignored() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.send_text(r#"{"later":[1,{"id":3}],"id":500,"publish":{"new":{},"channel":"c","data":1}}"#);
    assert_eq!(client.reply(500)["published"]["offset"], 1);
}
