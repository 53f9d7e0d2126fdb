//! Answers of the server API: outcomes of publications, pages and positions of logs, as JSON.

use super::problem::ApiProblem;
use crate::id::ChannelName;
use crate::wire::json;
use crate::wire::push::{self, LogPosition, PublishedReply, published_members};
use serde::Deserialize;

/// Appends a stored publication.
pub fn published(out: &mut Vec<u8>, published: &PublishedReply<'_>) {
    json::object(out, |out| published_members(out, published));
}

/// Appends a publication that was stored for a user.
pub fn published_to_user(out: &mut Vec<u8>, published: &PublishedReply<'_>, is_online: Option<bool>) {
    json::object(out, |out| {
        published_members(out, published);
        online(out, is_online);
    });
}

/// Appends if the user is connected somewhere; `None`: that is not known.
pub fn online(out: &mut Vec<u8>, is_online: Option<bool>) {
    match is_online {
        Some(is_online) => json::truth(out, "online", is_online),
        None => json::raw(out, "online", "null"),
    }
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

    pub fn published(&mut self, stored: &PublishedReply<'_>) {
        self.separate();
        published(&mut self.out, stored);
        match stored.duplicate {
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

/// The numbers of a channel's roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct RosterNumbers {
    users: u32,
    connections: u32,
    complete: bool,
}

impl RosterNumbers {
    /// Reads them from a page of the roster, as [`wire::presence`](crate::wire::presence) writes it.
    pub fn of(page: &[u8]) -> Option<RosterNumbers> {
        serde_json::from_slice(page).ok()
    }
}

/// Appends the position of a log, and the numbers of its roster if they are known and may be seen: `GET /v1/channels/C`.
pub fn channel(out: &mut Vec<u8>, position: LogPosition, roster: Option<RosterNumbers>) {
    json::object(out, |out| {
        push::position(out, position);
        if let Some(RosterNumbers { users, connections, complete }) = roster {
            json::integer(out, "users", users.into());
            json::integer(out, "connections", connections.into());
            json::truth(out, "complete", complete);
        }
    });
    out.push(b'\n');
}

/// Appends a page of a log. `publications` are `{…},{…}` in ascending order.
pub fn history(out: &mut Vec<u8>, channel: &ChannelName, position: LogPosition, publications: &[u8]) {
    json::object(out, |out| {
        json::text(out, "channel", channel.as_str());
        push::position(out, position);
        json::key(out, "publications");
        out.push(b'[');
        out.extend_from_slice(publications);
        out.push(b']');
    });
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::problem::ProblemCode;
    use super::*;
    use crate::id::{Epoch, Offset};
    use serde_json::{Value, json};

    #[test]
    fn results_are_counted_and_in_order() {
        let channel = ChannelName::parse("room.7").expect("a name");
        let reply = |duplicate| PublishedReply {
            channel: &channel,
            key: Some("k"),
            epoch: Epoch(36),
            offset: Offset(3),
            time_ms: 5,
            duplicate,
            stream: None,
            answer: None,
        };
        let mut results = ResultsWriter::new(3);
        results.published(&reply(false));
        results.failed(&ApiProblem::lasting(ProblemCode::Forbidden, "no"));
        results.published(&reply(true));
        let answer: Value = serde_json::from_slice(&results.end()).expect("JSON");
        let stored = |duplicate: bool| json!({"channel": "room.7", "key": "k", "epoch": "10", "offset": 3, "time": 5, "duplicate": duplicate});
        let failed = json!({"error": {"code": "forbidden", "message": "no"}});
        assert_eq!(
            answer,
            json!({"results": [stored(false), failed, stored(true)], "stored": 1, "duplicates": 1, "failed": 1})
        );
        let mut personal = Vec::new();
        published_to_user(&mut personal, &reply(false), None);
        assert_eq!(serde_json::from_slice::<Value>(&personal).expect("JSON")["online"], Value::Null);
    }
}
