//! What one client sees: each frame is held against what the protocol promises.

use super::store::{EPOCH, Store};
use seawall::id::ChannelName;
use seawall::wire::command::{Command, From, Request};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Errors that say when to try again.
const WITH_RETRY: [&str; 4] = ["rate_limited", "unavailable", "overloaded", "unconfirmed"];
/// Errors that are final for their command.
const FINAL: [&str; 8] = [
    "malformed",
    "unknown_command",
    "unauthorized",
    "forbidden",
    "not_subscribed",
    "too_large",
    "not_found",
    "key_conflict",
];

/// A subscription as a client counts it.
#[derive(Debug)]
pub struct Following {
    /// The last offset it has; `None` when `last` left it open where the replay begins.
    pub last: u64,
    pub synced: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct View {
    /// Commands that must still be answered once.
    owed: BTreeSet<u64>,
    /// Signals with an id: answered at most once, and only by an error.
    signals: BTreeSet<u64>,
    /// Where each `subscribe`, and each cursor of `connect`, wanted to begin.
    begins: BTreeMap<(u64, String), From>,
    pub following: BTreeMap<String, Following>,
    saw_bye: bool,
    saw_close: bool,
}

impl View {
    /// A command is sent.
    pub fn asks(&mut self, request: &Request<'_>) {
        let Some(id) = request.id else { return };
        let id = id.0;
        match &request.command {
            Command::Signal { .. } => {
                self.signals.insert(id);
                return;
            }
            Command::Subscribe { channel, from } => {
                self.begins.insert((id, channel.to_string()), *from);
            }
            Command::Connect(connect) => {
                for cursor in &connect.recover {
                    let from = From::After { epoch: cursor.epoch, offset: cursor.offset };
                    self.begins.insert((id, cursor.channel.to_string()), from);
                }
            }
            Command::Refresh { .. }
            | Command::Unsubscribe { .. }
            | Command::Publish(_)
            | Command::History { .. } => {}
        }
        self.owed.insert(id);
    }

    /// A frame is sent that is refused, with this id.
    pub fn owes(&mut self, id: u64) {
        self.owed.insert(id);
    }

    pub fn owed(&self) -> &BTreeSet<u64> {
        &self.owed
    }

    pub fn is_closed(&self) -> bool {
        self.saw_close
    }

    /// The socket gave these bytes: whole frames of a server.
    pub fn read(&mut self, bytes: &[u8], store: &Store) {
        let mut rest = bytes;
        while let [first, second, after @ ..] = rest {
            assert!(!self.saw_close, "nothing comes after a close frame");
            let (length, payload) = match second {
                0..=125 => (usize::from(*second), after),
                126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
                127 => (
                    usize::try_from(u64::from_be_bytes(*after.first_chunk().expect("a length")))
                        .expect("small"),
                    &after[8..],
                ),
                _ => panic!("a server masks nothing"),
            };
            let (payload, after) = payload.split_at(length);
            rest = after;
            match first {
                0x81 => self.text(payload, store),
                0x88 => self.close(payload),
                other => panic!("frame {other:#x}"),
            }
        }
        assert!(rest.is_empty(), "half a frame");
    }

    fn close(&mut self, payload: &[u8]) {
        let (code, reason) = payload.split_first_chunk::<2>().expect("a code");
        assert!((1000..5000).contains(&u16::from_be_bytes(*code)) && reason.len() <= 123);
        assert!(std::str::from_utf8(reason).is_ok() && self.saw_bye, "a close says why");
        self.saw_close = true;
    }

    fn text(&mut self, payload: &[u8], store: &Store) {
        assert!(!self.saw_bye, "nothing but the close comes after bye");
        let frame: Value = serde_json::from_slice(payload).expect("a frame is JSON");
        let members = frame.as_object().expect("an object");
        let (name, body) = members.iter().find(|(name, _)| *name != "id").expect("a name");
        let id = members.get("id").map(|id| id.as_u64().expect("an integer"));
        assert_eq!(members.len(), 1 + usize::from(id.is_some()), "{frame}");
        if let Some(id) = id {
            let is_error = name == "error";
            let expected = self.owed.remove(&id) || (is_error && self.signals.remove(&id));
            assert!(expected, "answered twice, or unasked: {frame}");
        }
        match (name.as_str(), id) {
            ("connected", Some(id)) => self.connected(id, body, store),
            ("subscribed", Some(id)) => self.begin(id, body, store),
            ("unsubscribed", Some(_)) => {
                self.following.remove(text(body, "channel"));
            }
            ("published", Some(_)) => check_published(body, store),
            ("history", Some(_)) => check_history(body, store),
            ("refreshed", Some(_)) => {}
            ("error", _) => check_error(body),
            ("publication", None) => self.publication(body, store),
            ("signal", None) => assert!(self.following.contains_key(text(body, "channel")), "{body}"),
            ("synced", None) => {
                let following = self.followed(body);
                assert_eq!(body["offset"].as_u64(), Some(following.last), "{body}");
                assert!(!std::mem::replace(&mut following.synced, true), "synced once: {body}");
            }
            ("lag", None) => {
                let following = self.followed(body);
                assert_eq!(body["from"].as_u64(), Some(following.last + 1), "lag names the first it lacks");
                let head = body["head"].as_u64().expect("a head");
                assert!(head > following.last);
                following.last = head;
            }
            ("beat", None) => {
                for (channel, head) in body["heads"].as_object().expect("heads") {
                    assert!(head.as_u64() <= Some(store.head(&channel_of(channel))), "{body}");
                }
            }
            ("bye", None) => self.saw_bye = true,
            (name, id) => panic!("{name} with {id:?}: {frame}"),
        }
    }

    fn connected(&mut self, id: u64, body: &Value, store: &Store) {
        for recovered in body["recovered"].as_array().into_iter().flatten() {
            if recovered.get("head").is_some() {
                self.begin(id, recovered, store);
            } else {
                assert!(["forbidden", "unavailable"].contains(&text(recovered, "because")), "{body}");
                self.begins.remove(&(id, text(recovered, "channel").to_owned()));
            }
        }
        assert!(self.begins.keys().all(|(other, _)| *other != id), "every cursor is answered: {body}");
    }

    /// Where the subscription begins, by the protocol's own arithmetic.
    fn begin(&mut self, id: u64, body: &Value, store: &Store) {
        let name = text(body, "channel");
        let from = self.begins.remove(&(id, name.to_owned())).expect("it was asked for");
        let number = |key: &str| body[key].as_u64().expect("a number");
        let (head, floor) = (number("head"), number("floor"));
        assert!(head <= store.head(&channel_of(name)), "a head that is not in the store: {body}");
        let last = match from {
            From::Now => head,
            From::Last(count) => head.saturating_sub(count.into()).max(floor.saturating_sub(1)).min(head),
            From::After { epoch, offset } => match body["recovered"].as_bool() {
                Some(true) => {
                    assert!(epoch == Some(EPOCH) && offset.0 <= head, "{body}");
                    assert!(head - offset.0 <= 300 && (offset.0 == head || offset.0 + 1 >= floor), "{body}");
                    offset.0
                }
                Some(false) => head,
                None => panic!("a recovery is answered: {body}"),
            },
        };
        self.following.insert(name.to_owned(), Following { last, synced: false });
    }

    fn followed(&mut self, body: &Value) -> &mut Following {
        self.following.get_mut(text(body, "channel")).unwrap_or_else(|| panic!("not subscribed: {body}"))
    }

    fn publication(&mut self, body: &Value, store: &Store) {
        let following = self.followed(body);
        let offset = body["offset"].as_u64().expect("an offset");
        assert_eq!(offset, following.last + 1, "a gap or a duplicate: {body}");
        following.last = offset;
        check_data(body, store, &channel_of(text(body, "channel")));
    }
}

fn text<'a>(body: &'a Value, key: &str) -> &'a str {
    body[key].as_str().unwrap_or_else(|| panic!("{key} is text: {body}"))
}

fn channel_of(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a channel's name")
}

fn check_data(body: &Value, store: &Store, channel: &ChannelName) {
    let offset = body["offset"].as_u64().expect("an offset");
    let data = store.data(channel, offset).expect("it is in the store");
    // What serde_json cannot hold as a value (1e999, half a surrogate pair) it cannot read in a frame either.
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(body["data"], data, "{body}");
}

fn check_published(body: &Value, store: &Store) {
    let offset = body["offset"].as_u64().expect("an offset");
    let channel = channel_of(text(body, "channel"));
    assert!(store.data(&channel, offset).is_some(), "published means stored: {body}");
}

fn check_history(body: &Value, store: &Store) {
    let channel = channel_of(text(body, "channel"));
    let mut last = 0;
    for publication in body["publications"].as_array().expect("an array") {
        let offset = publication["offset"].as_u64().expect("an offset");
        assert!(offset > last, "ascending: {body}");
        last = offset;
        check_data(publication, store, &channel);
    }
}

fn check_error(body: &Value) {
    let code = text(body, "code");
    assert!(!text(body, "message").is_empty());
    assert!(WITH_RETRY.contains(&code) || FINAL.contains(&code), "{body}");
    assert_eq!(body["retry_ms"].is_u64(), WITH_RETRY.contains(&code), "{body}");
}
