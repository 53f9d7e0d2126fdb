//! Faults (anything not as expected), counted by kind, with the first example of each.

use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Faults {
    kinds: BTreeMap<Cow<'static, str>, (u64, String)>,
}

impl Faults {
    /// Counts one fault; the first of each kind is described.
    pub(crate) fn add(&mut self, kind: impl Into<Cow<'static, str>>, describe: impl FnOnce() -> String) {
        self.add_many(kind, 1, describe);
    }

    pub(crate) fn add_many(
        &mut self,
        kind: impl Into<Cow<'static, str>>,
        count: u64,
        describe: impl FnOnce() -> String,
    ) {
        if count > 0 {
            self.kinds.entry(kind.into()).or_insert_with(|| (0, describe())).0 += count;
        }
    }

    /// True exactly when everything was as expected.
    pub(crate) fn none(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Formats the faults for the report.
    pub(crate) fn json(&self) -> Value {
        let entry = |(kind, (count, first)): (&Cow<'static, str>, &(u64, String))| {
            (kind.to_string(), json!({ "count": count, "first": first }))
        };
        Value::Object(self.kinds.iter().map(entry).collect::<Map<_, _>>())
    }
}

/// Shortens a message for display.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
