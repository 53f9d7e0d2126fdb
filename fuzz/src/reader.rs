//! An independent reader of JSON, which keeps each member as it was written: a number may be greater than any type holds.

use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The members of an object; of a name that occurs twice, the last.
pub struct Members(BTreeMap<String, Box<RawValue>>);

impl Members {
    /// Reads an object.
    pub fn read(json: &[u8]) -> Option<Members> {
        serde_json::from_slice(json).ok().map(Members)
    }

    /// The member as it was written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.get())
    }

    /// The member, if it is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|json| serde_json::from_str(json).ok())
    }

    /// The elements of the member, if it is a list.
    pub fn list(&self, name: &str) -> Option<Vec<Box<RawValue>>> {
        self.get(name).and_then(|json| serde_json::from_str(json).ok())
    }
}
