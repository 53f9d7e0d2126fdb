//! The room on the disk: publications are refused before it is full, because deletes and retention need room, too.
//!
//! The file never becomes shorter. What retention freed inside of it counts as free, so publications continue there.

use super::space::{self, Space};
use crate::metrics::store::StoreCounters;
use crate::store::columns::natural;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The pause between two looks at the file system.
const PERIOD: Duration = Duration::from_secs(1);
/// The bound is at most this part of the file system.
const DISK_PART: u64 = 20;

/// The state of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoomState {
    Enough,
    Short,
}

/// Looks at the disk of the data folder.
#[derive(Debug)]
pub(super) struct RoomWatch {
    folder: PathBuf,
    free_bytes_min: u64,
    room: RoomState,
    due: Option<Instant>,
}

impl RoomWatch {
    pub(super) fn new(folder: &Path, free_bytes_min: u64) -> RoomWatch {
        RoomWatch { folder: folder.to_owned(), free_bytes_min, room: RoomState::Enough, due: None }
    }

    /// Looks if a look is due, logs a change, and returns the state. A disk that cannot be looked at has enough room: SQLite
    /// reports it if it has none.
    pub(super) fn look(
        &mut self,
        connection: &Connection,
        now: Instant,
        counters: &StoreCounters,
    ) -> RoomState {
        if self.due.is_some_and(|due| now < due) {
            return self.room;
        }
        self.due = Some(now + PERIOD);
        let Ok(space) = space::of(&self.folder) else { return self.room };
        let spare = unused_bytes(connection).unwrap_or(0);
        counters.free_bytes.store(space.free, Ordering::Relaxed);
        let room = judge(space, spare, self.free_bytes_min);
        if room != self.room {
            let min = bound(space, self.free_bytes_min);
            match room {
                RoomState::Enough => tracing::info!(free = space.free, spare, min, "store has room again"),
                RoomState::Short => {
                    let advice =
                        "free disk space, or set retention.bytes; publications are refused until then";
                    tracing::error!(free = space.free, spare, min, advice, "store short of disk space");
                }
            }
        }
        counters.short_of_room.store(u64::from(room == RoomState::Short), Ordering::Relaxed);
        self.room = room;
        room
    }
}

fn bound(space: Space, free_bytes_min: u64) -> u64 {
    free_bytes_min.min(space.total / DISK_PART)
}

/// `spare` are unused bytes inside of the file. The write-ahead log cannot use them, so half of the bound must be free outside.
fn judge(space: Space, spare: u64, free_bytes_min: u64) -> RoomState {
    let min = bound(space, free_bytes_min);
    if space.free < min / 2 || space.free.saturating_add(spare) < min {
        RoomState::Short
    } else {
        RoomState::Enough
    }
}

/// Bytes of the file that hold nothing.
fn unused_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages: u64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0).map(natural))?;
    Ok(pages * page_bytes(connection)?)
}

/// Bytes of the file that hold something.
pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages: u64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0).map(natural))?;
    Ok((pages * page_bytes(connection)?).saturating_sub(unused_bytes(connection)?))
}

fn page_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("PRAGMA page_size", [], |row| row.get(0).map(natural))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_short_below_the_bound_or_a_twentieth_of_the_disk() {
        const GB: u64 = 1 << 30;
        let table = [
            (100 * GB, GB, 0, RoomState::Enough),
            (100 * GB, GB - 1, 0, RoomState::Short),
            (100 * GB, GB - 1, 1, RoomState::Enough),
            (100 * GB, GB / 2 - 1, 9 * GB, RoomState::Short),
            (GB, GB / 20, 0, RoomState::Enough),
            (GB, GB / 20 - 1, 0, RoomState::Short),
        ];
        for (total, free, spare, expected) in table {
            assert_eq!(judge(Space { free, total }, spare, GB), expected, "{free} of {total}, {spare}");
        }
        assert_eq!(judge(Space { free: 0, total: GB }, 0, 0), RoomState::Enough, "off");
    }
}
