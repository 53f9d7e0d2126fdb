//! A watcher's view of a roster: snapshots and differences, applied as the protocol says.

use super::message::Presence;
use super::role::user_number;
use std::collections::BTreeMap;

/// A roster as a watcher knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub complete: bool,
    /// The connections of each user.
    pub members: BTreeMap<u32, u64>,
    /// The revision of the last frame; `None` until a snapshot has come.
    pub revision: Option<u64>,
}

/// The effect of a frame on a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The view is up to date; these users left.
    Current(Vec<u32>),
    /// Members are missing: the client reads the roster, at a random time within this number of milliseconds.
    Read(u64),
}

impl View {
    /// Applies a push.
    pub fn push(&mut self, frame: &Presence<'_>) -> Applied {
        let is_next = self.revision.is_some_and(|revision| frame.revision == revision + 1);
        self.complete = frame.complete;
        if let Some(members) = &frame.members {
            self.members = members.iter().filter_map(numbered).collect();
            self.revision = Some(frame.revision);
            return if frame.more { Applied::Read(0) } else { Applied::Current(Vec::new()) };
        }
        if let Some(within) = frame.refresh_ms {
            self.revision = None;
            return Applied::Read(within);
        }
        if !is_next {
            self.revision = None;
            return Applied::Read(0);
        }
        self.revision = Some(frame.revision);
        self.members.extend(frame.joined.iter().chain(&frame.changed).filter_map(numbered));
        let left: Vec<u32> = frame.left.iter().filter_map(|name| user_number(name)).collect();
        left.iter().for_each(|user| _ = self.members.remove(user));
        Applied::Current(left)
    }

    /// Applies the first page of the reply to `presence`. Rosters here are small, so there is only one.
    pub fn replace(&mut self, page: &Presence<'_>) {
        self.complete = page.complete;
        self.revision = Some(page.revision);
        self.members = page.members.iter().flatten().filter_map(numbered).collect();
    }
}

fn numbered(member: &super::message::Member<'_>) -> Option<(u32, u64)> {
    Some((user_number(member.user)?, member.connections))
}

#[cfg(test)]
mod tests {
    use super::super::message::read;
    use super::*;

    fn push(view: &mut View, members: &str) -> Applied {
        let text = format!(
            "{{\"presence\":{{\"channel\":\"ledger-1\",\"complete\":true,\"users\":1,\"connections\":1,{members}}}}}"
        );
        view.push(&read(text.as_bytes()).and_then(|message| message.presence).expect("a frame"))
    }

    #[test]
    fn snapshot_and_differences_make_the_roster() {
        let mut view = View::default();
        let first = r#""revision":3,"members":[{"user":"u1","connections":2},{"user":"u2","connections":1}]"#;
        assert_eq!(push(&mut view, first), Applied::Current(vec![]));
        let next = r#""revision":4,"joined":[{"user":"u3","connections":1}],"changed":[{"user":"u1","connections":1}],"left":["u2"]"#;
        assert_eq!(push(&mut view, next), Applied::Current(vec![2]));
        assert_eq!(view.members, [(1, 1), (3, 1)].into());
        assert_eq!(push(&mut view, r#""revision":5"#), Applied::Current(vec![]), "numbers alone");
    }

    #[test]
    fn missed_revision_and_large_change_are_read_again() {
        let mut view = View::default();
        assert_eq!(push(&mut view, r#""revision":3,"joined":[]"#), Applied::Read(0), "no snapshot yet");
        push(&mut view, r#""revision":3,"members":[]"#);
        assert_eq!(push(&mut view, r#""revision":5,"left":["u2"]"#), Applied::Read(0));
        push(&mut view, r#""revision":6,"members":[]"#);
        assert_eq!(push(&mut view, r#""revision":7,"refresh_ms":1500"#), Applied::Read(1_500));
        assert_eq!(push(&mut view, r#""revision":8,"members":[],"more":true"#), Applied::Read(0));
    }
}
