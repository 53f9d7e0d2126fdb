//! One open transaction: each append is looked up, checked and written, in the order of arrival.
//!
//! Channel rows read or changed in the batch stay in the batch until its commit. A refused append has changed nothing, because
//! every check comes before the first write.

use super::batch_relay::BatchRelay;
use super::batch_streams::{BatchStreams, StreamLedger};
use super::erasures;
use super::keys::{self, Claim, Owned};
use super::place::{ChannelNumber, RowKey};
use super::rows::{self, ChannelRow, RowMemory};
use crate::auth::account::ChannelCharge;
use crate::id::{ChannelName, Epoch, Offset};
use crate::job::{Append, AppendChange, AppendError, Appended, Attempt, Authority};
use crate::relay::route::{RelayRoute, RouteTable};
use crate::store::columns::{self, integer};
use crate::store::idempotency::{ContentDigest, digest};
use crate::store::outcome::{Outcome, change_of, charge};
use crate::wire::publication::Change;
use crate::wire::stream::{BegunStream, StreamMark};
use ahash::AHashMap;
use rusqlite::{Connection, OptionalExtension as _, params};

/// An open transaction and its changes so far.
pub(crate) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    committed: &'a RowMemory,
    epoch: Epoch,
    pub(super) now_ms: u64,
    room: ChannelRoom,
    edits_max: u32,
    /// Rows as this transaction sees them.
    pub(crate) touched: AHashMap<ChannelName, TouchedRow>,
    /// The number of channels created in it.
    pub(crate) created: u64,
    /// The channels among them that count against a share.
    pub(crate) charges: Vec<ChannelCharge>,
    /// The number of keys claimed in it, at most one more for each append that is undone.
    pub(crate) claimed: u64,
    pub(super) streams: BatchStreams<'a>,
    pub(super) relay: BatchRelay<'a>,
}

/// A publication that a transaction writes.
pub(super) struct NewRow<'r> {
    pub(super) user: &'r str,
    pub(super) key: Option<&'r str>,
    pub(super) change: Change,
    pub(super) mark: StreamMark,
    pub(super) data: &'r str,
}

/// The room for new channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelRoom {
    /// The number that may be created.
    pub(crate) left: u64,
    /// The offset after which they start.
    pub(crate) base: Offset,
}

/// A channel's row inside the transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TouchedRow {
    pub(crate) row: ChannelRow,
    pub(crate) head: HeadState,
}

/// The state of a channel's head in this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadState {
    /// Unchanged.
    AsStored,
    /// Moved: it has to be written.
    Moved,
}

impl<'a> Batch<'a> {
    /// A batch in the transaction that is open on `connection`.
    pub(crate) fn new(
        connection: &'a Connection,
        committed: &'a RowMemory,
        epoch: Epoch,
        now_ms: u64,
        room: ChannelRoom,
        bounds: (u32, StreamLedger<'a>, Option<&'a RouteTable>),
    ) -> Batch<'a> {
        let (edits_max, streams, routes) = bounds;
        Batch {
            connection,
            committed,
            epoch,
            now_ms,
            room,
            edits_max,
            touched: AHashMap::new(),
            created: 0,
            charges: Vec::new(),
            claimed: 0,
            streams: BatchStreams::new(streams),
            relay: BatchRelay::new(routes),
        }
    }

    /// Does one append or refuses it. After an error of SQLite the batch must be rolled back.
    pub(crate) fn append(&mut self, job: &Append) -> rusqlite::Result<Outcome> {
        let existing = self.row(&job.channel)?;
        let change = change_of(job.change);
        let keyed = job.key.as_ref().map(|key| (key.as_str(), digest(change, &job.data)));
        let answering = self.relay.answering(job);
        // A repeated change must be recognised by its key even if its target is gone, and a repeated begin or question even if no stream
        // may begin, so its key is looked up first. Another publication finds a repeat when it claims its key.
        if (change != Change::None || job.stream.is_some() || answering.is_some())
            && let (Some(row), Some((key, digest))) = (existing, &keyed)
            && let Some(earlier) = self.earlier(row.id, job.user.as_str(), key, digest)?
        {
            return self.repeated(row.id, earlier, answering);
        }
        if let Err(refusal) = self.check_target(existing, job)? {
            return Ok(Err(refusal));
        }
        if existing.is_none() && self.created >= self.room.left {
            return Ok(Err(AppendError::TooManyChannels));
        }
        let offset = existing.map_or(self.room.base, |row| row.head).next();
        let begun = match self.begin_stream(job, offset) {
            Ok(begun) => begun,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(route) = answering
            && let Err(refusal) = self.begin_answer(job, route, offset)
        {
            return Ok(Err(refusal));
        }
        let row = match existing {
            Some(row) => row,
            None => match charge(&job.creation) {
                Ok(charged) => {
                    self.charges.extend(charged);
                    self.created += 1;
                    rows::create(self.connection, job.channel.as_str(), self.room.base)?
                }
                Err(refusal) => {
                    if begun.is_some() || answering.is_some() {
                        self.withdraw_stream();
                    }
                    return Ok(Err(refusal));
                }
            },
        };
        let next = row.advanced(self.now_ms);
        if let Some((key, digest)) = &keyed {
            let owned = Owned { channel: row.id, user: job.user.as_str(), key };
            if keys::claim(self.connection, owned, next.head, next.time_ms, digest)? == Claim::Known {
                let earlier = self.earlier(row.id, job.user.as_str(), key, digest)?;
                return earlier.ok_or(rusqlite::Error::QueryReturnedNoRows);
            }
            self.claimed += 1;
        }
        self.put((row, next), job, (change, begun), answering).map(Ok)
    }

    /// Stores the publication of an append that is checked, and its part in a stream.
    fn put(
        &mut self,
        (row, next): (ChannelRow, ChannelRow),
        job: &Append,
        (change, begun): (Change, Option<BegunStream>),
        answering: Option<&RelayRoute>,
    ) -> rusqlite::Result<Appended> {
        let mark = match begun {
            Some(_) => StreamMark::Begun,
            None => self.ends_stream(&job.channel, change)?,
        };
        let (user, key) = (job.user.as_str(), job.key.as_ref().map(|key| key.as_str()));
        let row = self.store(row, next, &NewRow { user, key, change, mark, data: &job.data })?;
        let (last, answer) =
            if self.relay.is_off() { (row, None) } else { self.relay(row, job, answering, mark)? };
        self.touched.insert(job.channel.clone(), TouchedRow { row: last, head: HeadState::Moved });
        if mark != StreamMark::None {
            self.note_mark(job, RowKey::of(row.id, row.head), change, mark)?;
        }
        Ok(Appended {
            epoch: self.epoch,
            offset: row.head,
            time_ms: row.time_ms,
            attempt: Attempt::First,
            stream: begun,
            answer,
        })
    }

    /// Writes the heads that moved: once per channel, not once per publication.
    pub(crate) fn write_heads(&self) -> rusqlite::Result<()> {
        let moved = self.touched.values().filter(|touched| touched.head == HeadState::Moved);
        moved.map(|touched| &touched.row).try_for_each(|row| rows::raise_head(self.connection, row))
    }

    pub(super) fn row(&mut self, name: &ChannelName) -> rusqlite::Result<Option<ChannelRow>> {
        if let Some(touched) = self.touched.get(name) {
            return Ok(Some(touched.row));
        }
        if let Some(row) = self.committed.recall(name) {
            return Ok(Some(row));
        }
        let found = rows::find(self.connection, name.as_str())?;
        if let Some(row) = found {
            self.touched.insert(name.clone(), TouchedRow { row, head: HeadState::AsStored });
        }
        Ok(found)
    }

    /// The answer to an append whose key was used before.
    fn earlier(
        &self,
        channel: ChannelNumber,
        user: &str,
        key: &str,
        digest: &ContentDigest,
    ) -> rusqlite::Result<Option<Outcome>> {
        let known = keys::find(self.connection, channel, user, key)?;
        Ok(known.map(|known| {
            if known.digest.as_ref() != Some(digest) {
                return Err(AppendError::KeyConflict);
            }
            Ok(Appended {
                epoch: self.epoch,
                offset: known.offset,
                time_ms: known.time_ms,
                attempt: Attempt::Repeat,
                stream: None,
                answer: None,
            })
        }))
    }

    /// Checks that the target of an edit or a delete exists and that the append may change it.
    fn check_target(
        &mut self,
        existing: Option<ChannelRow>,
        job: &Append,
    ) -> rusqlite::Result<Result<(), AppendError>> {
        let (target, authority) = match job.change {
            AppendChange::Original => return Ok(Ok(())),
            AppendChange::Edit(target, authority) | AppendChange::Delete(target, authority) => {
                (target, authority)
            }
        };
        let Some(row) = existing.filter(|row| row.floor <= target && target <= row.head) else {
            return Ok(Err(AppendError::NotFound));
        };
        let mut statement = self.connection.prepare_cached(
            "SELECT kind = 0 AND deleted_by IS NULL, user = ?2, stream IS 1 FROM publications WHERE place = ?1",
        )?;
        let found: Option<(bool, bool, bool)> = statement
            .query_row(params![RowKey::of(row.id, target).0, job.user.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let allowed = match (found, authority) {
            (None | Some((false, ..)), _) => Err(AppendError::NotFound),
            (Some((true, false, _)), Authority::Author) => Err(AppendError::NotAuthor),
            (Some((true, true, _)), Authority::Author) | (Some((true, ..)), Authority::Moderator) => Ok(()),
        };
        if allowed.is_ok()
            && let (AppendChange::Delete(..), Some((.., true))) = (job.change, found)
        {
            self.streams.changes.deletes_begin = true;
        }
        if allowed.is_ok()
            && let AppendChange::Edit(..) = job.change
            && self.edits(RowKey::of(row.id, target), self.edits_max)? >= self.edits_max
        {
            return Ok(Err(AppendError::TooManyEdits));
        }
        Ok(allowed)
    }

    /// Writes the publication that turns `before` into `row`. Its key is already claimed.
    pub(super) fn store(
        &self,
        before: ChannelRow,
        mut row: ChannelRow,
        new: &NewRow<'_>,
    ) -> rusqlite::Result<ChannelRow> {
        let NewRow { user, key, change, mark, data } = *new;
        let target = match change {
            Change::None => None,
            Change::Edits(target) | Change::Deletes(target) => Some(RowKey::of(row.id, target)),
        };
        self.connection
            .prepare_cached(
                "INSERT INTO publications (place, user, key, time, kind, target, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                RowKey::of(row.id, row.head).0,
                user,
                key,
                integer(row.time_ms),
                columns::kind(change),
                target.map(|place| place.0),
                data
            ])?;
        if mark != StreamMark::None {
            // Apart, so that no other publication pays for it.
            self.connection
                .prepare_cached("UPDATE publications SET stream = ?2 WHERE place = ?1")?
                .execute(params![RowKey::of(row.id, row.head).0, mark.code()])?;
        }
        if before.retained() == 0 {
            row.floor = row.head;
            rows::set_floor(self.connection, &row, Some(row.time_ms))?;
        }
        if let (Change::Deletes(_), Some(target)) = (change, target) {
            self.erase(target, row.head)?;
        }
        Ok(row)
    }

    /// Removes the text of an original, and has the text of its edits removed in slices: pages show neither from now on. The
    /// rows stay, because offsets have no gaps.
    fn erase(&self, original: RowKey, by: Offset) -> rusqlite::Result<()> {
        let by = integer(by.0);
        self.connection
            .prepare_cached("UPDATE publications SET data = NULL, deleted_by = ?2 WHERE place = ?1")?
            .execute(params![original.0, by])?;
        if self.edits(original, 1)? > 0 {
            erasures::begin(self.connection, original, by)?;
        }
        Ok(())
    }

    /// The number of retained edits of an original, counted up to `most`. A delete has no successors, so all rows with the
    /// target are edits.
    fn edits(&self, original: RowKey, most: u32) -> rusqlite::Result<u32> {
        self.connection
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM publications WHERE target = ?1 AND kind = 1 LIMIT ?2)",
            )?
            .query_row(params![original.0, most], |row| row.get(0))
    }
}
