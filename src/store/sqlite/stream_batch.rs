//! Streams in an open transaction: begins, the contents of a flush, and ends.

use super::batch::{Batch, HeadState, NewRow, TouchedRow};
use super::place::RowKey;
use super::stream_end::WrittenEnd;
use super::streams::{self, NewStream};
use crate::id::{ChannelName, Offset};
use crate::job::{Append, AppendError};
use crate::store::open_streams::Output;
use crate::stream::{EndFate, EndRow, Flush, StreamBegin};
use crate::wire::publication::Change;
use crate::wire::stream::{BeginStream, BegunStream, StreamEnd, StreamId, StreamMark};

impl Batch<'_> {
    /// Opens the stream that a publication at this offset begins, or refuses it.
    pub(super) fn begin_stream(
        &mut self,
        job: &Append,
        offset: Offset,
    ) -> Result<Option<BegunStream>, AppendError> {
        let Some(begin) = &job.stream else { return Ok(None) };
        let BeginStream { options, producer } = (**begin).clone();
        let id = StreamId { channel: job.channel.clone(), offset };
        let begin = StreamBegin {
            id,
            author: job.user.clone(),
            options,
            begun: job.data.clone(),
            producer: Some(producer),
        };
        let begun = self.streams.open.begin(begin).map_err(AppendError::Stream)?;
        self.streams.changes.begun = true;
        Ok(Some(begun))
    }

    /// Takes the last begin back.
    pub(super) fn withdraw_stream(&self) {
        self.forget_streams(self.beginning_streams().saturating_sub(1));
    }

    /// How many streams begin and end in this transaction so far.
    pub(super) fn stream_mark(&self) -> (usize, usize) {
        (self.beginning_streams(), self.streams.changes.ended.len())
    }

    /// Goes back to a mark: what came after it is undone.
    pub(super) fn undo_streams(&mut self, (beginning, ended): (usize, usize)) {
        self.streams.changes.ended.truncate(ended);
        if self.streams.changes.begun {
            self.forget_streams(beginning);
        }
    }

    fn beginning_streams(&self) -> usize {
        if self.streams.changes.begun { self.streams.open.beginning() } else { 0 }
    }

    /// Forgets the streams that begin in this transaction, except the first `keep`.
    fn forget_streams(&self, keep: usize) {
        // Their producers are not answered before the commit, so there is no output.
        self.streams.open.forget_beginning(keep, &mut Output::default());
    }

    /// The mark of a change: it ends a stream if its target is the begin of an open one.
    pub(super) fn ends_stream(
        &mut self,
        channel: &ChannelName,
        change: Change,
    ) -> rusqlite::Result<StreamMark> {
        let (target, end) = match change {
            Change::None => return Ok(StreamMark::None),
            Change::Edits(target) => (target, StreamEnd::Replaced),
            Change::Deletes(target) => (target, StreamEnd::Deleted),
        };
        let open = self.streams.open;
        if open.is_empty() && open.beginning() == 0 {
            return Ok(StreamMark::None);
        }
        let id = StreamId { channel: channel.clone(), offset: target };
        if !open.is_open(&id) {
            return Ok(StreamMark::None);
        }
        // In memory a stream is open until the commit of its end, which may be in this transaction.
        let is_open = match self.place(&id)? {
            Some(place) => streams::progress(self.connection, place)?.is_some(),
            None => false,
        };
        Ok(if is_open { StreamMark::Ended(end) } else { StreamMark::None })
    }

    /// Writes or removes the row of the stream that a publication has begun or ended.
    pub(super) fn note_mark(
        &mut self,
        job: &Append,
        place: RowKey,
        change: Change,
        mark: StreamMark,
    ) -> rusqlite::Result<()> {
        match (mark, change) {
            (StreamMark::Begun, _) => {
                let Some(begin) = &job.stream else { return Ok(()) };
                let (options, first_part) = (&begin.options, self.streams.changes.next_part);
                let (channel, author, since_ms) = (&job.channel, &job.user, self.now_ms);
                let new = NewStream { place, channel, author, options, first_part, since_ms };
                streams::open(self.connection, &new)
            }
            (StreamMark::Ended(end), Change::Edits(target) | Change::Deletes(target)) => {
                let id = StreamId { channel: job.channel.clone(), offset: target };
                streams::close(self.connection, place.of_same_channel(target))?;
                self.streams.changes.ended.push((id, EndFate { end, edit: place.offset() }));
                Ok(())
            }
            (StreamMark::Ended(_), Change::None) | (StreamMark::None, _) => Ok(()),
        }
    }

    /// Writes the contents of a flush, and returns its ends.
    pub(super) fn flush(&mut self, flush: &Flush) -> rusqlite::Result<Vec<WrittenEnd>> {
        for row in &flush.restarts {
            if let Some(place) = self.place(&row.id)? {
                streams::set_generation(
                    self.connection,
                    place,
                    row.generation,
                    self.streams.changes.next_part,
                )?;
            }
        }
        for row in &flush.rows {
            if let Some(place) = self.place(&row.id)? {
                streams::add_part(self.connection, self.streams.changes.next_part, place, row)?;
                self.streams.changes.next_part += 1;
            }
        }
        for row in &flush.states {
            if let Some(place) = self.place(&row.id)? {
                streams::set_state(self.connection, place, row.state, self.now_ms)?;
            }
        }
        flush.ends.iter().map(|row| self.end_stream(row)).collect()
    }

    fn place(&mut self, id: &StreamId) -> rusqlite::Result<Option<RowKey>> {
        Ok(self.row(&id.channel)?.map(|row| RowKey::of(row.id, id.offset)))
    }

    /// Writes the edit that ends a stream.
    fn end_stream(&mut self, end: &EndRow) -> rusqlite::Result<WrittenEnd> {
        let EndRow { id, author, end, data, .. } = end;
        let lost = WrittenEnd { fate: EndFate { end: StreamEnd::Deleted, edit: id.offset }, time_ms: None };
        let Some(row) = self.row(&id.channel)? else { return Ok(lost) };
        let begin = RowKey::of(row.id, id.offset);
        if !streams::close(self.connection, begin)? {
            let known = streams::end_of(self.connection, begin)?;
            return Ok(known.map_or(lost, |known| WrittenEnd { time_ms: None, ..known }));
        }
        let next = row.advanced(self.now_ms);
        let new = NewRow {
            user: author.as_str(),
            key: None,
            change: Change::Edits(id.offset),
            mark: StreamMark::Ended(*end),
            data,
        };
        let row = self.store(row, next, &new)?;
        self.touched.insert(id.channel.clone(), TouchedRow { row, head: HeadState::Moved });
        Ok(WrittenEnd { fate: EndFate { end: *end, edit: row.head }, time_ms: Some(row.time_ms) })
    }
}
