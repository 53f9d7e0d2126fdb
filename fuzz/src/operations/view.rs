//! The view of one client: checks each byte that it receives against what the protocol promises.

use super::store::EPOCH;
use super::workers::Workers;
use seawall::id::ChannelName;
use seawall::wire::command::{Command, CommandFrame, StartAt, Subscribe};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
/// The close code of a restart.
const RESTART: u64 = 1012;

/// A subscription as a client counts it.
#[derive(Debug)]
pub struct Following {
    /// The last publication that it has, or that `lag` said it lacks.
    pub last: u64,
    pub synced: bool,
}

/// The part of the stream that the next bytes belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Receives {
    #[default]
    Head,
    Frames,
    /// The response to a refused upgrade, until the end.
    Body,
}

/// The time at which the server read bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    InTime,
    /// It had said `bye` before.
    AfterBye,
}

/// See the module.
#[derive(Debug, Default)]
pub struct View {
    /// Every id ever used: a client counts up.
    pub used: BTreeSet<u64>,
    sent_bytes: usize,
    read_bytes: usize,
    /// Commands that the server has not read: where their bytes end, and their ids.
    unread: VecDeque<(usize, u64)>,
    /// Commands that the server has read and must answer once.
    owed: BTreeSet<u64>,
    /// Signals with an id: answered at most once, and only by an error.
    signals: BTreeSet<u64>,
    /// The start that each `subscribe`, and each cursor of `connect`, asked for.
    begins: BTreeMap<(u64, String), StartAt>,
    pub following: BTreeMap<String, Following>,
    /// Subscriptions that a refresh took away, until the server says so.
    losing: BTreeSet<String>,
    receives: Receives,
    received: Vec<u8>,
    /// The client sent bytes that are no commands, so its responses are not matched to commands.
    pub is_wild: bool,
    /// The client sent a close frame first.
    pub closes: bool,
    /// The client came when everything was at rest, so it must get nothing that was erased.
    pub is_late: bool,
    pub is_connected: bool,
    revision: u64,
    saw_drain: bool,
    /// The code of `bye`.
    pub bye: Option<u64>,
    pub saw_close: bool,
}

impl View {
    /// The client sends `bytes`, which end with a command if there is one.
    pub fn sends(&mut self, bytes: usize, request: Option<&CommandFrame<'_>>, id: Option<u64>) {
        self.sent_bytes += bytes;
        let Some(id) = id else { return };
        let mut is_answered = true;
        match request.map(|request| &request.command) {
            Some(Command::Signal { .. } | Command::Append(_)) => is_answered = false,
            Some(Command::Subscribe(Subscribe { channel, from, .. })) => {
                self.begins.insert((id, channel.to_string()), *from);
            }
            Some(Command::Connect(connect)) => {
                for cursor in &connect.recover {
                    let from = StartAt::After { epoch: cursor.epoch, offset: cursor.offset };
                    self.begins.insert((id, cursor.channel.to_string()), from);
                }
            }
            Some(
                Command::Refresh { .. }
                | Command::Unsubscribe { .. }
                | Command::Publish(_)
                | Command::History { .. }
                | Command::Present { .. }
                | Command::Absent { .. }
                | Command::Presence { .. }
                | Command::Report(_)
                | Command::Restart { .. }
                | Command::End(_)
                | Command::CancelStream { .. }
                | Command::ReadStream { .. },
            )
            | None => {}
        }
        if is_answered {
            self.unread.push_back((self.sent_bytes, id));
        } else {
            self.signals.insert(id);
        }
    }

    /// The server read bytes.
    pub fn is_read(&mut self, bytes: usize, timing: Timing) {
        self.read_bytes += bytes;
        while let Some((_, id)) = self.unread.pop_front_if(|(end, _)| *end <= self.read_bytes) {
            if timing == Timing::InTime {
                self.owed.insert(id);
            }
        }
    }

    /// True exactly when the client may still send commands.
    pub fn is_served(&self) -> bool {
        self.receives != Receives::Body && self.bye.is_none() && !self.saw_close && !self.closes
    }

    /// True exactly when every subscription has everything.
    pub fn is_settled(&self, workers: &Workers) -> bool {
        let has_all = |(channel, following): (&String, &Following)| {
            following.synced && following.last == workers.store.head(&channel_of(channel))
        };
        (self.owed.is_empty() || self.is_wild) && self.losing.is_empty() && self.following.iter().all(has_all)
    }

    /// The client receives bytes. Returns the frames that it owes the server for them.
    pub fn receives(&mut self, bytes: &[u8], workers: &Workers) -> Vec<(u8, Vec<u8>)> {
        self.received.extend_from_slice(bytes);
        let received = std::mem::take(&mut self.received);
        let mut rest: &[u8] = &received;
        let mut owes = Vec::new();
        if self.receives == Receives::Head
            && let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n")
        {
            rest = &received[end + 4..];
            let status = std::str::from_utf8(&received[9..12]).expect("a status");
            assert!(["101", "400", "408", "429", "503"].contains(&status), "{}", received.escape_ascii());
            self.receives = if status == "101" { Receives::Frames } else { Receives::Body };
        }
        while self.receives == Receives::Frames
            && let Some((kind, payload, after)) = split(rest)
        {
            assert!(!self.saw_close, "nothing comes after a close frame");
            match kind {
                0x81 => self.text(payload, workers),
                0x88 => {
                    self.close(payload);
                    owes.push((0x88, payload[..payload.len().min(2)].to_vec()));
                }
                0x89 => owes.push((0x8A, payload.to_vec())),
                0x8A => assert!(self.is_wild, "a pong without a ping"),
                other => panic!("frame {other:#x}"),
            }
            rest = after;
        }
        self.received = rest.to_vec();
        owes
    }

    fn close(&mut self, payload: &[u8]) {
        let (code, reason) = payload.split_first_chunk::<2>().expect("a code");
        let code = u64::from(u16::from_be_bytes(*code));
        assert!(
            (1000..5000).contains(&code) && std::str::from_utf8(reason).is_ok_and(|text| text.len() <= 123)
        );
        match self.bye {
            Some(said) => assert_eq!(said, code, "`bye` and the close frame agree"),
            None => assert!(self.is_wild || self.closes, "a close {code} without `bye`"),
        }
        self.saw_close = true;
    }

    fn text(&mut self, payload: &[u8], workers: &Workers) {
        assert!(self.bye.is_none(), "nothing but the close comes after `bye`");
        let frame: Value = serde_json::from_slice(payload).expect("a frame is JSON");
        let members = frame.as_object().expect("an object");
        let (name, body) = members.iter().find(|(name, _)| *name != "id").expect("a name");
        let id = members.get("id").map(|id| id.as_u64().expect("an integer"));
        assert_eq!(members.len(), 1 + usize::from(id.is_some()), "{frame}");
        if let Some(id) = id {
            let is_error = name == "error";
            let expected = self.owed.remove(&id) || (is_error && self.signals.remove(&id));
            assert!(expected || self.is_wild, "answered twice, or unasked: {frame}");
        }
        let is_early = ["connected", "error", "bye"].contains(&name.as_str());
        assert!(self.is_connected || is_early, "before `connected`: {frame}");
        match (name.as_str(), id) {
            ("connected", Some(id)) => self.connected(id, body, workers),
            ("subscribed", Some(id)) => self.begin(id, body, workers),
            ("unsubscribed", Some(_)) => {
                self.following.remove(text(body, "channel"));
            }
            ("published", Some(_)) => check_published(body, workers),
            ("history", Some(_)) => self.check_history(body, workers),
            ("unsubscribed", None) => {
                assert_eq!(body["because"], "forbidden", "{body}");
                let channel = text(body, "channel");
                assert!(self.losing.remove(channel), "no token took it away: {body}");
                self.following.remove(channel);
            }
            ("refreshed", Some(id)) => {
                if workers.is_restricted(&format!("t{id}")) {
                    self.losing.extend(self.following.keys().filter(|channel| *channel != "a").cloned());
                }
            }
            ("error", id) => {
                check_error(body);
                self.forget_refused(id, text(body, "code"));
            }
            ("publication", None) => self.publication(body, workers),
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
                    assert!(head.as_u64() <= Some(workers.store.head(&channel_of(channel))), "{body}");
                }
            }
            ("status", None) => self.status(body),
            ("drain", None) => {
                assert!(body["slot_ms"].as_u64() <= body["deadline_ms"].as_u64(), "{body}");
                assert!(!std::mem::replace(&mut self.saw_drain, true), "asked twice to move: {body}");
            }
            ("bye", None) => {
                let code = body["code"].as_u64().expect("a code");
                let is_complete = code != RESTART || !self.is_connected || self.owed.is_empty();
                assert!(is_complete || self.is_wild, "closed without an answer to {:?}", self.owed);
                self.bye = Some(code);
            }
            (name, id) => panic!("{name} with {id:?}: {frame}"),
        }
    }

    /// A `subscribe` that is refused has ended an earlier subscription to the channel, unless it was not even looked at.
    fn forget_refused(&mut self, id: Option<u64>, code: &str) {
        let keeps = ["malformed", "rate_limited", "forbidden"].contains(&code);
        let begin = self.begins.keys().find(|(begin, _)| Some(*begin) == id).cloned();
        if let Some(begin) = begin {
            self.begins.remove(&begin);
            if !keeps {
                self.following.remove(&begin.1);
            }
        }
    }

    fn status(&mut self, body: &Value) {
        let revision = body["revision"].as_u64().expect("a revision");
        assert!(revision >= self.revision, "a status older than the last one: {body}");
        self.revision = revision;
    }

    fn connected(&mut self, id: u64, body: &Value, workers: &Workers) {
        assert!(!std::mem::replace(&mut self.is_connected, true), "connected once: {body}");
        self.status(&body["status"]);
        for recovered in body["recovered"].as_array().into_iter().flatten() {
            if recovered.get("head").is_some() {
                self.begin(id, recovered, workers);
            } else {
                assert!(["forbidden", "unavailable"].contains(&text(recovered, "because")), "{body}");
                self.begins.remove(&(id, text(recovered, "channel").to_owned()));
            }
        }
        assert!(self.begins.keys().all(|(other, _)| *other != id), "every cursor is answered: {body}");
    }

    /// The subscription begins where the protocol's arithmetic says.
    fn begin(&mut self, id: u64, body: &Value, workers: &Workers) {
        let name = text(body, "channel");
        let from = self.begins.remove(&(id, name.to_owned())).expect("it was asked for");
        let number = |key: &str| body[key].as_u64().expect("a number");
        let (head, floor) = (number("head"), number("floor"));
        assert!(head <= workers.store.head(&channel_of(name)), "a head that is not in the store: {body}");
        let last = match from {
            StartAt::Now => head,
            StartAt::Last(count) => head.saturating_sub(count.into()).max(floor.saturating_sub(1)).min(head),
            StartAt::After { epoch, offset } => match body["recovered"].as_bool() {
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

    fn publication(&mut self, body: &Value, workers: &Workers) {
        let following = self.followed(body);
        let offset = body["offset"].as_u64().expect("an offset");
        assert_eq!(offset, following.last + 1, "a gap or a duplicate: {body}");
        following.last = offset;
        self.check_data(body, &channel_of(text(body, "channel")), workers);
    }

    fn check_history(&self, body: &Value, workers: &Workers) {
        let channel = channel_of(text(body, "channel"));
        let mut last = 0;
        for publication in body["publications"].as_array().expect("an array") {
            let offset = publication["offset"].as_u64().expect("an offset");
            assert!(offset > last, "ascending: {body}");
            last = offset;
            self.check_data(publication, &channel, workers);
        }
    }

    fn check_data(&self, body: &Value, channel: &ChannelName, workers: &Workers) {
        let offset = body["offset"].as_u64().expect("an offset");
        let entry = workers.store.entry(channel, offset).expect("it is in the store");
        if body.get("deleted_by").is_some() {
            assert_eq!(
                (body["deleted_by"].as_u64(), &body["data"]),
                (entry.deleted_by, &Value::Null),
                "{body}"
            );
            return;
        }
        assert!(!self.is_late || entry.deleted_by.is_none(), "erased, and still given out: {body}");
        // A value that serde_json cannot hold (1e999, half a surrogate pair) cannot be read in a frame either.
        let data: Value = serde_json::from_str(&entry.data).expect("JSON");
        assert_eq!(body["data"], data, "{body}");
    }
}

/// Splits the first frame off: its first byte, its payload, and the rest; `None` if it is not complete.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, second], after) = bytes.split_first_chunk()?;
    let (length, after) = match second {
        0..=125 => (usize::from(second), after),
        126 => {
            let (length, after) = after.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), after)
        }
        127 => {
            let (length, after) = after.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*length)).expect("small"), after)
        }
        128..=255 => panic!("a server masks nothing"),
    };
    let (payload, after) = after.split_at_checked(length)?;
    Some((kind, payload, after))
}

fn text<'a>(body: &'a Value, key: &str) -> &'a str {
    body[key].as_str().unwrap_or_else(|| panic!("{key} is text: {body}"))
}

fn channel_of(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a channel's name")
}

fn check_published(body: &Value, workers: &Workers) {
    let offset = body["offset"].as_u64().expect("an offset");
    let channel = channel_of(text(body, "channel"));
    assert!(workers.store.entry(&channel, offset).is_some(), "published means stored: {body}");
}

fn check_error(body: &Value) {
    let code = text(body, "code");
    assert!(!text(body, "message").is_empty());
    assert!(WITH_RETRY.contains(&code) || FINAL.contains(&code), "{body}");
    assert_eq!(body["retry_ms"].is_u64(), WITH_RETRY.contains(&code), "{body}");
}
