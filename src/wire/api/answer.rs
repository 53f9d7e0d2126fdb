//! Answers of the server API: outcomes of publications, pages and positions of logs, as JSON.

use super::problem::ApiProblem;
use crate::id::{ChannelName, Epoch, Key, Offset};
use crate::wire::json;
use crate::wire::push::LogPosition;

/// A stored publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiPublished<'a> {
    pub channel: &'a ChannelName,
    pub key: Option<&'a Key>,
    pub epoch: Epoch,
    pub offset: Offset,
    /// The time of its commit in Unix milliseconds.
    pub time_ms: u64,
    /// True exactly when an earlier request stored it.
    pub duplicate: bool,
}

impl ApiPublished<'_> {
    /// Appends the object.
    pub fn object(&self, out: &mut Vec<u8>) {
        json::object(out, |out| self.members(out));
    }

    /// Appends the object of a publication to a user.
    pub fn personal(&self, out: &mut Vec<u8>) {
        json::object(out, |out| {
            self.members(out);
            online(out);
        });
    }

    fn members(&self, out: &mut Vec<u8>) {
        json::text(out, "channel", self.channel.as_str());
        if let Some(key) = self.key {
            json::text(out, "key", key.as_str());
        }
        epoch(out, self.epoch);
        json::integer(out, "offset", self.offset.0);
        json::integer(out, "time", self.time_ms);
        json::truth(out, "duplicate", self.duplicate);
    }
}

/// Appends that it is not known if the user is connected somewhere.
pub fn online(out: &mut Vec<u8>) {
    json::raw(out, "online", "null");
}

/// The answer to several publications, item by item.
#[derive(Debug)]
pub struct ResultsWriter {
    out: Vec<u8>,
    stored: u64,
    duplicates: u64,
    failed: u64,
}

impl ResultsWriter {
    /// Begins an answer with this many results.
    pub fn new(count: usize) -> ResultsWriter {
        let mut out = Vec::with_capacity(64 + count * 112);
        out.extend_from_slice(b"{\"results\":[");
        ResultsWriter { out, stored: 0, duplicates: 0, failed: 0 }
    }

    pub fn published(&mut self, published: &ApiPublished<'_>) {
        self.separate();
        published.object(&mut self.out);
        match published.duplicate {
            true => self.duplicates += 1,
            false => self.stored += 1,
        }
    }

    pub fn failed(&mut self, problem: &ApiProblem) {
        self.separate();
        json::object(&mut self.out, |out| problem.error(out));
        self.failed += 1;
    }

    /// The complete answer.
    pub fn end(mut self) -> Vec<u8> {
        self.out.push(b']');
        json::integer(&mut self.out, "stored", self.stored);
        json::integer(&mut self.out, "duplicates", self.duplicates);
        json::integer(&mut self.out, "failed", self.failed);
        self.out.extend_from_slice(b"}\n");
        self.out
    }

    fn separate(&mut self) {
        if self.out.last() != Some(&b'[') {
            self.out.push(b',');
        }
    }
}

/// Appends the position of a log: `GET /v1/channels/C`. Its numbers of users and connections are not known.
pub fn channel(out: &mut Vec<u8>, position: LogPosition) {
    json::object(out, |out| log(out, position));
    out.push(b'\n');
}

/// Appends a page of a log. `publications` are `{…},{…}` in ascending order.
pub fn history(out: &mut Vec<u8>, channel: &ChannelName, position: LogPosition, publications: &[u8]) {
    json::object(out, |out| {
        json::text(out, "channel", channel.as_str());
        log(out, position);
        json::key(out, "publications");
        out.push(b'[');
        out.extend_from_slice(publications);
        out.push(b']');
    });
    out.push(b'\n');
}

fn log(out: &mut Vec<u8>, position: LogPosition) {
    epoch(out, position.epoch);
    json::integer(out, "head", position.head.0);
    json::integer(out, "floor", position.floor.0);
}

fn epoch(out: &mut Vec<u8>, epoch: Epoch) {
    let (digits, at) = epoch.digits();
    json::text(out, "epoch", std::str::from_utf8(digits.get(at..).unwrap_or_default()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::super::problem::ProblemCode;
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn results_are_counted_and_in_order() {
        let channel = ChannelName::parse("room.7").expect("a name");
        let key = Key::parse("k").expect("a key");
        let published = |duplicate| ApiPublished {
            channel: &channel,
            key: Some(&key),
            epoch: Epoch(36),
            offset: Offset(3),
            time_ms: 5,
            duplicate,
        };
        let mut results = ResultsWriter::new(3);
        results.published(&published(false));
        results.failed(&ApiProblem::lasting(ProblemCode::Forbidden, "no"));
        results.published(&published(true));
        let answer: Value = serde_json::from_slice(&results.end()).expect("JSON");
        let stored = |duplicate: bool| json!({"channel": "room.7", "key": "k", "epoch": "10", "offset": 3, "time": 5, "duplicate": duplicate});
        let failed = json!({"error": {"code": "forbidden", "message": "no"}});
        assert_eq!(
            answer,
            json!({"results": [stored(false), failed, stored(true)], "stored": 1, "duplicates": 1, "failed": 1})
        );
        let mut personal = Vec::new();
        published(false).personal(&mut personal);
        assert_eq!(serde_json::from_slice::<Value>(&personal).expect("JSON")["online"], Value::Null);
    }
}
