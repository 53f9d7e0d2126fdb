//! The bytes of all streams, and each user's share of them.

use super::settings::StreamSettings;
use crate::id::UserName;
use ahash::AHashMap;

/// Bytes in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// Of committed pieces, begins and the streams themselves.
    pub(super) kept: usize,
    /// Of pieces that wait for a commit.
    pub(super) waiting: usize,
}

impl Bytes {
    fn all(self) -> usize {
        self.kept + self.waiting
    }
}

#[derive(Debug, Default)]
struct UserShare {
    streams: usize,
    bytes: Bytes,
}

/// The bytes of all streams and of each user that has begun one.
#[derive(Debug, Default)]
pub(super) struct StreamShares {
    total: Bytes,
    users: AHashMap<UserName, UserShare>,
}

impl StreamShares {
    pub(super) fn total(&self) -> Bytes {
        self.total
    }

    fn of(&self, user: &UserName) -> Bytes {
        self.users.get(user).map(|share| share.bytes).unwrap_or_default()
    }

    /// True if a stream of this user may begin. A quarter stays free, so that open streams can grow.
    pub(super) fn admits_begin(&self, user: &UserName, bytes: usize, settings: &StreamSettings) -> bool {
        let bound = settings.memory_bytes / 4 * 3;
        self.total.all() + bytes <= bound && self.of(user).all() + bytes <= bound / 2
    }

    /// True if so much more of this user fits into the memory of all and into the user's half of it.
    pub(super) fn has_memory(&self, user: &UserName, bytes: usize, settings: &StreamSettings) -> bool {
        self.total.all() + bytes <= settings.memory_bytes
            && self.of(user).all() + bytes <= settings.memory_bytes / 2
    }

    /// True if a piece of this user may wait.
    pub(super) fn admits_piece(&self, user: &UserName, bytes: usize, settings: &StreamSettings) -> bool {
        let own = self.of(user);
        self.total.waiting + bytes <= settings.pending_bytes
            && own.waiting + bytes <= settings.pending_bytes / 2
            && self.total.all() + bytes <= settings.memory_bytes
            && own.all() + bytes <= settings.memory_bytes / 2
    }

    /// True if more waits than half of the bound, for all or for this user.
    pub(super) fn is_full(&self, user: &UserName, settings: &StreamSettings) -> bool {
        self.total.waiting > settings.pending_bytes / 2 || self.of(user).waiting > settings.pending_bytes / 4
    }

    /// True if less than half of that waits.
    pub(super) fn has_room(&self, user: &UserName, settings: &StreamSettings) -> bool {
        self.total.waiting <= settings.pending_bytes / 4
            && self.of(user).waiting <= settings.pending_bytes / 8
    }

    pub(super) fn open(&mut self, user: &UserName, bytes: Bytes) {
        self.users.entry(user.clone()).or_default().streams += 1;
        self.change(user, Bytes::default(), bytes);
    }

    /// Replaces the bytes of a stream.
    pub(super) fn change(&mut self, user: &UserName, before: Bytes, after: Bytes) {
        let own = self.users.get_mut(user).map(|share| &mut share.bytes);
        for bytes in own.into_iter().chain([&mut self.total]) {
            bytes.kept = (bytes.kept + after.kept).saturating_sub(before.kept);
            bytes.waiting = (bytes.waiting + after.waiting).saturating_sub(before.waiting);
        }
    }

    pub(super) fn close(&mut self, user: &UserName, bytes: Bytes) {
        self.change(user, bytes, Bytes::default());
        if let Some(share) = self.users.get_mut(user) {
            share.streams = share.streams.saturating_sub(1);
            if share.streams == 0 {
                self.users.remove(user);
            }
        }
    }
}
