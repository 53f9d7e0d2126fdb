//! `docs/asyncapi.yaml` matches every example and rejects invalid frames.

use super::{closes, commands, pushes, read};
use crate::support_schema::{Schemas, document};
use seawall::clock::{Moment, Now};
use seawall::health::board::Board;
use seawall::health::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate};
use seawall::health::finding::{Cause, Fault, Finding};
use seawall::health::snapshot::AdmissionMode;
use seawall::wire::command::{CommandBounds, parse};
use seawall::wire::push;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn every_server_frame_example_matches_its_schema() {
    let schemas = Schemas::load();
    let pushes: pushes::File = read("pushes.json");
    let closes: closes::File = read("closes.json");
    let pushed = pushes.cases.into_iter().map(|case| (case.name, case.text));
    let byes = closes.cases.into_iter().filter_map(|case| Some((case.name, case.bye?)));
    let mut kinds = BTreeSet::new();
    for (name, text) in pushed.chain(byes) {
        schemas.check_server(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let frame: Value = serde_json::from_str(&text).unwrap();
        kinds.extend(frame.as_object().unwrap().keys().filter(|key| *key != "id").cloned());
    }
    let documented: Vec<_> = schemas.server_kinds().map(str::to_owned).collect();
    assert_eq!(documented, Vec::from_iter(kinds), "every documented frame has an example");
}

#[test]
fn status_of_an_outage_matches_its_schema() {
    let schemas = Schemas::load();
    let optional = |name: &str, sentence: &str| Definition {
        name: name.into(),
        kind: DependencyKind::Tcp,
        address: "a:1".into(),
        criticality: Criticality::Optional,
        gate: Gate::Handshake,
        ended_by: EndedBy::Probes,
        lost: vec!["replies".into()],
        sentence: sentence.into(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        failures: 1,
        successes: 1,
    };
    let definitions = vec![optional("assistant", "Replies are \"paused\"."), optional("silent", "")];
    let mut board = Board::new(definitions, AdmissionMode::Enforce, Now::default());
    let check = |board: &Board| {
        let mut frame = Vec::new();
        push::status(&mut frame, &board.snapshot().status);
        let text =
            String::from_utf8(frame.split_off(frame.iter().position(|byte| *byte == b'{').unwrap())).unwrap();
        schemas.check_server(&text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    };
    check(&board);
    while let Some(due) = board.due(Moment::ZERO) {
        let result = Err(Cause::new(Fault::Refused, "refused", "whether it runs"));
        board.observe(&due, Finding { latency: Duration::ZERO, result }, Now::default(), 1);
        check(&board);
    }
    assert_eq!(board.snapshot().revision, 3);
}

#[test]
fn every_accepted_command_matches_its_schema() {
    let schemas = Schemas::load();
    let file: commands::File = read("commands.json");
    let mut kinds = BTreeSet::new();
    for case in file.cases.iter().filter(|case| case.request.is_some()) {
        // Half a surrogate pair is valid JSON grammar, but serde_json cannot represent it.
        let Ok(frame) = serde_json::from_str::<Value>(&case.text) else {
            assert!(case.text.contains("\\ud800"), "{}", case.name);
            continue;
        };
        schemas.check_client(&case.text).unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
        let verbs = schemas.client_kinds().filter(|kind| frame.get(kind).is_some());
        kinds.extend(verbs.map(str::to_owned));
    }
    assert_eq!(kinds.len(), schemas.client_kinds().count(), "every documented command has an example");
}

#[test]
fn invalid_frame_fails_its_schema() {
    let schemas = Schemas::load();
    for (text, words) in [
        (r#"{"synced":{"channel":"c1"}}"#, "offset"),
        (r#"{"synced":{"channel":"c 1","offset":1}}"#, "/synced/channel"),
        (r#"{"synced":{"channel":"c1","offset":-1}}"#, "/synced/offset"),
        (r#"{"synced":{"channel":"c1","offset":1,"extra":1}}"#, "extra"),
        (r#"{"id":1,"unsubscribed":{"channel":"c1"},"extra":1}"#, "extra"),
        (r#"{"unsubscribed":{"channel":"c1"}}"#, "because"),
        (r#"{"unsubscribed":{"channel":"c1","because":"oops"}}"#, "/unsubscribed/because"),
        (r#"{"id":1,"unsubscribed":{"channel":"c1","because":"forbidden"}}"#, "/unsubscribed"),
        (r#"{"dance":{}}"#, "dance"),
        (r#"{"error":{"code":"unavailable","message":"no"}}"#, "retry_ms"),
        (r#"{"error":{"code":"forbidden","retry_ms":1,"message":"no"}}"#, "/error"),
        (r#"{"error":{"code":"oops","message":"no"}}"#, "/error/code"),
        (r#"{"id":1,"subscribed":{"channel":"c1"}}"#, "epoch"),
        (r#"{"id":1,"subscribed":{"channel":"c1","recovered":false}}"#, "because"),
        (r#"{"beat":{"revision":1,"heads":{"c1":"58"}}}"#, "/beat/heads/c1"),
        (r#"{"publication":{"channel":"c","offset":1,"user":"u","time":1,"deleted_by":2,"data":1}}"#, "data"),
        ("{", "EOF"),
    ] {
        let fault = schemas.check_server(text).expect_err(text);
        assert!(fault.contains(words), "{fault}");
    }
    for text in [
        r#"{"id":1,"subscribe":{"channel":"c1","last":1,"recover":{"epoch":"0","offset":1}}}"#,
        r#"{"id":1,"publish":{"channel":"c1"}}"#,
        r#"{"id":1,"publish":{"channel":"c1","edits":1,"deletes":1,"data":1}}"#,
        r#"{"id":1,"publish":{"channel":"c1","key":"a b","data":1}}"#,
        r#"{"id":0,"connect":{}}"#,
        r#"{"connect":{}}"#,
    ] {
        schemas.check_client(text).expect_err(text);
    }
    schemas.check_client(r#"{"id":1,"connect":{"later":1},"trace":2}"#).expect("unknown keys are open");
}

#[test]
fn every_reference_in_the_document_resolves() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for path in &found {
        assert!(document.pointer(path.trim_start_matches('#')).is_some(), "{path}");
    }
    let messages = document["components"]["messages"].as_object().unwrap();
    for name in messages.keys() {
        let path = format!("#/channels/session/messages/{name}");
        assert!(found.contains(&path.as_str()), "{name} is part of no operation");
    }
}

/// The complete frames shown in `docs/protocol.md`, each with its sender.
fn frames_of_the_manual() -> Vec<(char, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let whole = |line: &str| {
        let (side, frame) = (line.chars().next()?, line.get(2..)?);
        let frame = frame.split("   ").next()?.trim();
        let shown = matches!(side, 'C' | 'S') && !frame.contains('…');
        (shown && serde_json::from_str::<Value>(frame).is_ok()).then(|| (side, frame.to_owned()))
    };
    text.lines().filter_map(whole).collect()
}

#[test]
fn frames_in_the_manual_are_valid() {
    let schemas = Schemas::load();
    let frames = frames_of_the_manual();
    assert!(frames.len() > 20, "{frames:?}");
    for (place, (side, frame)) in frames.iter().enumerate() {
        if *side == 'S' {
            schemas.check_server(frame).unwrap_or_else(|fault| panic!("{fault}"));
            continue;
        }
        match parse(frame, CommandBounds { json_depth: 32, subscriptions: 128 }) {
            Ok(_) => schemas.check_client(frame).unwrap_or_else(|fault| panic!("{fault}")),
            Err(rejected) => {
                let reply: Value = serde_json::from_str(&frames[place + 1].1).unwrap();
                assert_eq!(reply["id"].as_u64(), rejected.id.map(|id| id.0), "{frame}");
                assert_eq!(reply["error"]["message"], rejected.message, "{frame}");
            }
        }
    }
}
