//! The members that a view has room for.

use super::{MEMBER_BYTES, View, ViewRoom};
use crate::id::UserName;
use std::collections::BTreeSet;

impl View {
    /// The memory of its members, in bytes.
    pub(in super::super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps numbers alone from now on. Returns the users that it knew.
    pub(in super::super) fn drop_members(&mut self) -> BTreeSet<UserName> {
        let users = self.users();
        self.room = ViewRoom::ForNumbers;
        self.held.clear();
        self.segments.values_mut().for_each(|segment| segment.members.clear());
        self.bytes = 0;
        users
    }

    /// Keeps members again, if those of these fields fit into `room` bytes.
    pub(in super::super) fn keep_members_within(&mut self, room: usize, fields: &[(Vec<u8>, Vec<u8>)]) {
        let bytes: usize = fields.iter().map(|(name, value)| MEMBER_BYTES + name.len() + value.len()).sum();
        if self.room == ViewRoom::ForNumbers && bytes <= room {
            self.room = ViewRoom::ForMembers;
        }
    }
}
