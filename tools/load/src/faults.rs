//! What was not as expected, by kind, with the first example of each.

use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Kinds and counts.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    kinds: BTreeMap<Cow<'static, str>, (u64, String)>,
}

impl Faults {
    /// Counts one; the first of a kind is described.
    pub(crate) fn add(&mut self, kind: impl Into<Cow<'static, str>>, describe: impl FnOnce() -> String) {
        self.add_many(kind, 1, describe);
    }

    /// Counts several at once.
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

    /// True exactly when all was as expected.
    pub(crate) fn none(&self) -> bool {
        self.kinds.is_empty()
    }

    /// As the report has it.
    pub(crate) fn json(&self) -> Value {
        let entry = |(kind, (count, first)): (&Cow<'static, str>, &(u64, String))| {
            (kind.to_string(), json!({ "count": count, "first": first }))
        };
        Value::Object(self.kinds.iter().map(entry).collect::<Map<_, _>>())
    }
}

/// A message shortened for people.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
