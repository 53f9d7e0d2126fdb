//! `presence.json`: the forms of the object `presence`, and what a client makes of them.

use super::{names_differ, read};
use crate::support_schema::Schemas;
use seawall::id::ChannelName;
use seawall::wire::presence::{self, Listing, PageEnd, RosterHead, RosterKnowledge, ShownMember};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    frames: Vec<Frame>,
    views: Vec<View>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    name: String,
    head: Head,
    value: FrameValue,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    channel: String,
    revision: u64,
    complete: bool,
    users: u32,
    connections: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
enum FrameValue {
    Page { members: Vec<MemberValue>, more: bool },
    Difference { joined: Vec<MemberValue>, changed: Vec<MemberValue>, left: Vec<String> },
    Numbers { counted: bool, refresh_ms: Option<u32> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberValue {
    user: String,
    connections: u32,
    since: u64,
    state: Option<String>,
    info: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct View {
    name: String,
    pushes: Vec<String>,
    view: ViewValue,
    events: Vec<String>,
    asks: u32,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ViewValue {
    complete: bool,
    users: u64,
    connections: u64,
    counted: bool,
    members: BTreeMap<String, Value>,
}

#[test]
fn roster_is_encoded_as_in_the_examples() {
    let file: File = read("presence.json");
    assert!(!file.about.is_empty());
    names_differ(file.frames.iter().map(|frame| frame.name.as_str()));
    let schemas = Schemas::load();
    for frame in &file.frames {
        let object = frame.encode();
        assert_eq!(String::from_utf8_lossy(&object), frame.text, "{}", frame.name);
        let pushed = format!(r#"{{"presence":{}}}"#, frame.text);
        schemas.check_server(&pushed).unwrap_or_else(|fault| panic!("{}: {fault}", frame.name));
    }
}

fn members(entries: &[MemberValue]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let info = entry.info.as_ref().map(Value::to_string);
        let shown = ShownMember {
            user: &entry.user,
            connections: entry.connections,
            since_unix_ms: entry.since,
            state: entry.state.as_deref(),
            info: info.as_deref(),
        };
        presence::member(&mut out, &shown);
    }
    out
}

impl Frame {
    fn encode(&self) -> Vec<u8> {
        let Head { channel, revision, complete, users, connections } = &self.head;
        let is_counted = matches!(self.value, FrameValue::Numbers { counted: true, .. });
        let head = RosterHead {
            channel: &ChannelName::parse(channel).expect("a channel name"),
            revision: *revision,
            knowledge: if *complete { RosterKnowledge::Complete } else { RosterKnowledge::Incomplete },
            users: *users,
            connections: *connections,
            listing: if is_counted { Listing::Counted } else { Listing::Listed },
            missing: &[],
        };
        match &self.value {
            FrameValue::Page { members: entries, more } => {
                presence::page(&head, &members(entries), if *more { PageEnd::More } else { PageEnd::Last })
            }
            FrameValue::Difference { joined, changed, left } => {
                let mut gone = Vec::new();
                left.iter().for_each(|user| presence::left(&mut gone, user));
                presence::difference(&head, &members(joined), &members(changed), &gone)
            }
            FrameValue::Numbers { refresh_ms, .. } => presence::numbers(&head, *refresh_ms),
        }
    }
}

/// A client as the protocol describes it.
#[derive(Default)]
struct Client {
    members: BTreeMap<String, Value>,
    revision: Option<u64>,
    complete: bool,
    counted: bool,
    numbers: (u64, u64),
    events: Vec<String>,
    asks: u32,
}

impl Client {
    fn set(&mut self, member: &Value) {
        let user = member["user"].as_str().expect("a user").to_owned();
        match self.members.insert(user.clone(), member.clone()) {
            None => self.events.push(format!("join {user}")),
            Some(before) if before["state"] != member["state"] => self.events.push(format!("state {user}")),
            Some(_) => {}
        }
    }

    fn remove(&mut self, user: &str) {
        if self.members.remove(user).is_some() {
            self.events.push(format!("leave {user}"));
        }
    }

    fn take(&mut self, text: &str) {
        if text == "lost" {
            (self.complete, self.revision) = (false, None);
            return;
        }
        let object: Value = serde_json::from_str(text).expect("JSON");
        if object.get("ended").is_some() {
            (self.complete, self.revision) = (false, None);
            return;
        }
        let revision = object["revision"].as_u64().expect("a revision");
        let list = |name: &str| object[name].as_array().cloned();
        let is_difference = ["joined", "changed", "left"].iter().any(|name| object.get(*name).is_some());
        match (list("members"), is_difference) {
            (Some(members), _) => {
                let users: Vec<&str> = members.iter().filter_map(|member| member["user"].as_str()).collect();
                let gone: Vec<String> =
                    self.members.keys().filter(|user| !users.contains(&user.as_str())).cloned().collect();
                gone.iter().for_each(|user| self.remove(user));
                members.iter().for_each(|member| self.set(member));
            }
            (None, true) if self.revision.is_some_and(|known| revision <= known) => return,
            (None, true) if self.revision.is_some_and(|known| revision > known + 1) => self.asks += 1,
            (None, true) => {
                list("joined").iter().chain(&list("changed")).flatten().for_each(|member| self.set(member));
                for user in list("left").iter().flatten() {
                    self.remove(user.as_str().expect("a user"));
                }
            }
            (None, false) => self.asks += u32::from(object.get("refresh_ms").is_some()),
        }
        self.counted = object.get("counted").is_some();
        if self.counted {
            self.members.clear();
        }
        self.revision = Some(revision);
        // No page is answered here, so a list that lacks something stays incomplete.
        self.complete = object["complete"] == true && self.asks == 0;
        let number = |name: &str| object[name].as_u64().expect("a number");
        self.numbers = (number("users"), number("connections"));
    }
}

#[test]
fn client_makes_of_its_pushes_what_the_examples_say() {
    let file: File = read("presence.json");
    names_differ(file.views.iter().map(|view| view.name.as_str()));
    let schemas = Schemas::load();
    for view in &file.views {
        let mut client = Client::default();
        for text in &view.pushes {
            if text != "lost" {
                let pushed = format!(r#"{{"presence":{text}}}"#);
                schemas.check_server(&pushed).unwrap_or_else(|fault| panic!("{}: {fault}", view.name));
            }
            client.take(text);
        }
        let Client { members, complete, counted, numbers, events, asks, .. } = client;
        let (users, connections) = numbers;
        assert_eq!(ViewValue { complete, users, connections, counted, members }, view.view, "{}", view.name);
        let (mut found, mut wanted) = (events, view.events.clone());
        found.sort();
        wanted.sort();
        assert_eq!((found, asks), (wanted, view.asks), "{}", view.name);
    }
}
