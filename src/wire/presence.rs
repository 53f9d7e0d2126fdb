//! Rosters as JSON: the object `presence` of pushes, of replies and of the server API, in the form of `docs/protocol.md`.

use super::json;
use super::server_frame::{self, Opcode};
use crate::id::{ChannelName, CommandId};

/// The head of each object.
#[derive(Clone, Copy, Debug)]
pub struct RosterHead<'a> {
    pub channel: &'a ChannelName,
    pub revision: u64,
    pub knowledge: RosterKnowledge,
    pub users: u32,
    pub connections: u32,
    pub listing: Listing,
    /// The names of instances whose members are not known: `"missing":[…]`.
    pub missing: &'a [String],
}

/// The part of a roster that this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RosterKnowledge {
    /// All of it: `"complete":true`.
    Complete,
    /// Its own connections, and what it heard of others; there may be more: `"complete":false`.
    Incomplete,
}

/// The form in which a roster is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    Listed,
    /// There are too many members: `"counted":true`.
    Counted,
}

/// A member as clients see it.
#[derive(Clone, Copy, Debug)]
pub struct ShownMember<'a> {
    pub user: &'a str,
    pub connections: u32,
    pub since_unix_ms: u64,
    pub state: Option<&'a str>,
    /// JSON of the token.
    pub info: Option<&'a str>,
}

/// Says that a page has members after its last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageEnd {
    More,
    Last,
}

/// The object with the numbers alone. With `refresh_ms`, clients that list members ask for them within that time.
pub fn numbers(head: &RosterHead<'_>, refresh_ms: Option<u32>) -> Vec<u8> {
    whole(head, |out| {
        if let Some(refresh_ms) = refresh_ms {
            json::integer(out, "refresh_ms", refresh_ms.into());
        }
    })
}

/// The object with a page of members, as [`member`] writes them, separated by commas.
pub fn page(head: &RosterHead<'_>, members: &[u8], end: PageEnd) -> Vec<u8> {
    whole(head, |out| {
        list(out, "members", members);
        if end == PageEnd::More {
            json::truth(out, "more", true);
        }
    })
}

/// The object with the differences to the revision before. `left` holds JSON strings, separated by commas.
pub fn difference(head: &RosterHead<'_>, joined: &[u8], changed: &[u8], left: &[u8]) -> Vec<u8> {
    whole(head, |out| {
        for (name, entries) in [("joined", joined), ("changed", changed), ("left", left)] {
            if !entries.is_empty() {
                list(out, name, entries);
            }
        }
    })
}

/// Appends one member, and a comma before it if it is not the first.
pub fn member(out: &mut Vec<u8>, member: &ShownMember<'_>) {
    if !out.is_empty() {
        out.push(b',');
    }
    json::object(out, |out| {
        json::text(out, "user", member.user);
        json::integer(out, "connections", member.connections.into());
        json::integer(out, "since", member.since_unix_ms);
        if let Some(state) = member.state {
            json::text(out, "state", state);
        }
        if let Some(info) = member.info {
            json::raw(out, "info", info);
        }
    });
}

/// Appends one user that left, and a comma before it if it is not the first.
pub fn left(out: &mut Vec<u8>, user: &str) {
    if !out.is_empty() {
        out.push(b',');
    }
    json::string(out, user);
}

/// The frame of a push of this object.
pub fn push(object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + 24);
    server_frame::write_with(&mut out, Opcode::Text, |out| json::object(out, |out| named(out, object)));
    out
}

/// Appends the reply to `presence` with this object.
pub fn reply(out: &mut Vec<u8>, id: CommandId, object: &[u8]) {
    server_frame::write_with(out, Opcode::Text, |out| {
        json::object(out, |out| {
            json::integer(out, "id", id.0);
            named(out, object);
        });
    });
}

/// Appends the reply to `present` or `absent`, which is `name`.
pub fn done(out: &mut Vec<u8>, id: CommandId, name: &'static str, channel: &ChannelName) {
    server_frame::write_with(out, Opcode::Text, |out| {
        json::object(out, |out| {
            json::integer(out, "id", id.0);
            json::key(out, name);
            json::object(out, |out| json::text(out, "channel", channel.as_str()));
        });
    });
}

/// Appends the push that the server sends no more of a roster, because the token does not grant it any more.
pub fn ended(out: &mut Vec<u8>, channel: &ChannelName) {
    server_frame::write_with(out, Opcode::Text, |out| {
        json::object(out, |out| {
            json::key(out, "presence");
            json::object(out, |out| {
                json::text(out, "channel", channel.as_str());
                json::text(out, "ended", "forbidden");
            });
        });
    });
}

fn named(out: &mut Vec<u8>, object: &[u8]) {
    json::key(out, "presence");
    out.extend_from_slice(object);
}

fn list(out: &mut Vec<u8>, name: &'static str, entries: &[u8]) {
    json::key(out, name);
    out.push(b'[');
    out.extend_from_slice(entries);
    out.push(b']');
}

fn whole(head: &RosterHead<'_>, rest: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    json::object(&mut out, |out| {
        json::text(out, "channel", head.channel.as_str());
        json::integer(out, "revision", head.revision);
        json::truth(out, "complete", head.knowledge == RosterKnowledge::Complete);
        json::integer(out, "users", head.users.into());
        json::integer(out, "connections", head.connections.into());
        if head.listing == Listing::Counted {
            json::truth(out, "counted", true);
        }
        if !head.missing.is_empty() {
            json::key(out, "missing");
            out.push(b'[');
            for (at, name) in head.missing.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                json::string(out, name);
            }
            out.push(b']');
        }
        rest(out);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_form_of_the_protocol() {
        let channel = ChannelName::parse("c1").expect("a name");
        let head = RosterHead {
            channel: &channel,
            revision: 8,
            knowledge: RosterKnowledge::Complete,
            users: 3,
            connections: 4,
            listing: Listing::Listed,
            missing: &[],
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let (mut one, mut gone) = (Vec::new(), Vec::new());
        let ann = ShownMember {
            user: "u1",
            connections: 2,
            since_unix_ms: 1_763_770_000_000,
            state: Some("away"),
            info: Some(r#"{"name":"Ann"}"#),
        };
        member(&mut one, &ann);
        left(&mut gone, "u2");
        left(&mut gone, "\"");
        let common = r#"{"channel":"c1","revision":8,"complete":true,"users":3,"connections":4"#;
        let listed =
            r#"{"user":"u1","connections":2,"since":1763770000000,"state":"away","info":{"name":"Ann"}}"#;
        assert_eq!(
            text(page(&head, &one, PageEnd::More)),
            format!(r#"{common},"members":[{listed}],"more":true}}"#)
        );
        assert_eq!(
            text(difference(&head, &[], &one, &gone)),
            format!(r#"{common},"changed":[{listed}],"left":["u2","\""]}}"#)
        );
        assert_eq!(text(numbers(&head, Some(1_500))), format!(r#"{common},"refresh_ms":1500}}"#));
        let counted =
            RosterHead { listing: Listing::Counted, knowledge: RosterKnowledge::Incomplete, ..head };
        assert!(
            text(numbers(&counted, None))
                .ends_with(r#""complete":false,"users":3,"connections":4,"counted":true}"#)
        );
        let missing = RosterHead { missing: &["gw-1".into(), "gw\"2".into()], ..counted };
        assert!(text(numbers(&missing, None)).ends_with(r#","missing":["gw-1","gw\"2"]}"#));
    }
}
