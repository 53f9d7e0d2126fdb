//! The clients of the model: a watcher, which checks that each frame fits to what it has, and pages.

use seawall::roster::{PushAudience, RosterPush};
use serde_json::Value;
use std::collections::BTreeMap;

/// A roster as a client was sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ModelRoster {
    /// Users, with their connections.
    pub(super) members: BTreeMap<String, u64>,
    pub(super) is_complete: bool,
}

/// The state that a watcher of one instance was sent.
#[derive(Debug, Default)]
pub(super) struct ModelWatcher {
    pub(super) roster: ModelRoster,
    revision: u64,
    is_current: bool,
}

fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object[name].as_array().map_or(&[], Vec::as_slice)
}

fn member(value: &Value) -> (String, u64) {
    let user = value["user"].as_str().expect("a user").to_owned();
    (user, value["connections"].as_u64().expect("a number"))
}

impl ModelRoster {
    /// The object `presence` of a page.
    pub(super) fn of_page(page: &[u8]) -> ModelRoster {
        let object: Value = serde_json::from_slice(page).expect("JSON");
        let members = list(&object, "members").iter().map(member).collect();
        ModelRoster { members, is_complete: object["complete"].as_bool().expect("a truth") }
    }
}

impl ModelWatcher {
    /// Takes a frame. Returns the users that left.
    pub(super) fn take(&mut self, push: &RosterPush) -> Vec<String> {
        let start = push.frame.windows(2).position(|bytes| bytes == b"{\"").expect("an object");
        let frame: Value = serde_json::from_slice(&push.frame[start..]).expect("JSON");
        let object = &frame["presence"];
        let revision = object["revision"].as_u64().expect("a revision");
        let mut left = Vec::new();
        match push.audience {
            PushAudience::Waiting if self.is_current => return left,
            PushAudience::Current if !self.is_current => return left,
            PushAudience::Waiting => {
                self.roster.members = list(object, "members").iter().map(member).collect();
                self.is_current = true;
            }
            PushAudience::Current => {
                assert_eq!(revision, self.revision + 1, "{object}");
                for (user, connections) in list(object, "joined").iter().map(member) {
                    assert!(
                        self.roster.members.insert(user.clone(), connections).is_none(),
                        "{user} joined twice"
                    );
                }
                for (user, connections) in list(object, "changed").iter().map(member) {
                    assert!(
                        self.roster.members.insert(user.clone(), connections).is_some(),
                        "{user} changed unknown"
                    );
                }
                for user in list(object, "left").iter().filter_map(Value::as_str) {
                    assert!(self.roster.members.remove(user).is_some(), "{user} left twice");
                    left.push(user.to_owned());
                }
            }
            PushAudience::Count | PushAudience::WaitingCount => panic!("no watcher of the numbers"),
        }
        self.revision = revision;
        self.roster.is_complete = object["complete"].as_bool().expect("a truth");
        assert_eq!(object["users"], self.roster.members.len(), "{object} and {:?}", self.roster.members);
        assert_eq!(object["connections"], self.roster.members.values().sum::<u64>(), "{object}");
        left
    }
}
