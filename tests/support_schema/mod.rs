//! Checks frames against `docs/asyncapi.yaml`, so that the document describes exactly the wire.
//!
//! Call `Schemas::load()` once, then `check_server` or `check_client` for each frame's payload.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The schemas of all frames, by the key other than `id`.
pub struct Schemas {
    client: BTreeMap<String, Validator>,
    server: BTreeMap<String, Validator>,
}

impl Schemas {
    /// Reads the document. Panics with the fault if it is invalid.
    pub fn load() -> Schemas {
        Schemas::from_document(document())
    }

    fn from_document(document: Value) -> Schemas {
        let mut closed = document.clone();
        close_objects(&mut closed);
        let client = messages(&document, &["/operations/commands/messages"]);
        let server =
            messages(&closed, &["/operations/commands/reply/messages", "/operations/pushes/messages"]);
        Schemas { client, server }
    }

    /// The kinds of frame a client sends.
    pub fn client_kinds(&self) -> impl Iterator<Item = &str> {
        self.client.keys().map(String::as_str)
    }

    /// The kinds of frame a server sends.
    pub fn server_kinds(&self) -> impl Iterator<Item = &str> {
        self.server.keys().map(String::as_str)
    }

    /// Checks that `text` is a valid server frame with documented keys only. `Err` names the fault.
    pub fn check_server(&self, text: &str) -> Result<(), String> {
        check(&self.server, text)
    }

    /// Checks that `text` is a valid command. `Err` names the fault.
    pub fn check_client(&self, text: &str) -> Result<(), String> {
        check(&self.client, text)
    }
}

/// The document as JSON.
pub fn document() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/asyncapi.yaml");
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_yaml_ng::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn check(validators: &BTreeMap<String, Validator>, text: &str) -> Result<(), String> {
    let frame: Value = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
    let keys: Vec<_> = frame.as_object().into_iter().flat_map(|object| object.keys()).collect();
    let known: Vec<_> = keys.iter().filter_map(|key| validators.get(*key)).collect();
    let [validator] = known[..] else {
        return Err(format!("not exactly one known key among {keys:?}: {text}"));
    };
    let faults: Vec<_> =
        validator.iter_errors(&frame).map(|e| format!("{}: {e}", e.instance_path())).collect();
    if faults.is_empty() { Ok(()) } else { Err(format!("{}: {text}", faults.join("; "))) }
}

fn messages(document: &Value, lists: &[&str]) -> BTreeMap<String, Validator> {
    let mut found = BTreeMap::new();
    for list in lists {
        for entry in document.pointer(list).and_then(Value::as_array).expect("a list of messages") {
            let message = resolve(document, resolve(document, entry));
            let name = message["name"].as_str().expect("a message's name");
            let mut schema = message["payload"].clone();
            schema["components"] = json!({ "schemas": document["components"]["schemas"] });
            let validator = jsonschema::options()
                .with_draft(Draft::Draft7)
                .build(&schema)
                .unwrap_or_else(|e| panic!("the schema of {name}: {e}"));
            found.insert(name.to_owned(), validator);
        }
    }
    found
}

fn resolve<'a>(document: &'a Value, entry: &'a Value) -> &'a Value {
    match entry.get("$ref").and_then(Value::as_str) {
        Some(path) => document.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path}")),
        None => entry,
    }
}

/// Forbids undocumented keys. Clients ignore unknown keys, but the server must not send them.
fn close_objects(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let lists_keys =
                object.get("type") == Some(&json!("object")) && object.contains_key("properties");
            if lists_keys && !object.contains_key("additionalProperties") {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            object.values_mut().for_each(close_objects);
        }
        Value::Array(array) => array.iter_mut().for_each(close_objects),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}
