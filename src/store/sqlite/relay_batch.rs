//! Publications for the relay in an open transaction, and the begins of their answers.

use super::batch::{Batch, NewRow};
use super::place::{ChannelNumber, RowKey};
use super::relay_rows;
use super::rows::ChannelRow;
use super::streams::{self, NewStream};
use crate::id::Offset;
use crate::job::{Append, AppendError, Appended};
use crate::relay::route::RelayRoute;
use crate::store::outcome::Outcome;
use crate::store::relay::{StoredAnswer, answer_data, answer_options, claims_of, published_answer, route_of};
use crate::stream::StreamBegin;
use crate::wire::publication::Change;
use crate::wire::stream::{StreamId, StreamMark};

impl Batch<'_> {
    /// Opens the stream of the answer to a question that will have this offset, or refuses the question.
    pub(super) fn begin_answer(
        &mut self,
        job: &Append,
        route: &RelayRoute,
        question: Offset,
    ) -> Result<(), AppendError> {
        let begin = StreamBegin {
            id: StreamId { channel: job.channel.clone(), offset: question.next() },
            author: route.user.clone(),
            options: answer_options(route, &job.user, question),
            begun: answer_data(question),
            producer: None,
        };
        self.streams.open.begin(begin).map_err(AppendError::Stream)?;
        self.streams.changes.begun = true;
        Ok(())
    }

    /// Notes a publication that is stored, if it is to be relayed, and stores the begin of its answer. Returns the channel's row
    /// after it, and the offset of the answer.
    pub(super) fn relay(
        &mut self,
        stored: ChannelRow,
        job: &Append,
        answering: Option<&RelayRoute>,
        mark: StreamMark,
    ) -> rusqlite::Result<(ChannelRow, Option<Offset>)> {
        let route = route_of(self.relay.table, job).filter(|_| mark == StreamMark::None);
        let Some(route) = route else { return Ok((stored, None)) };
        let question = stored.head;
        relay_rows::raise(self.connection, &job.channel, question, self.now_ms)?;
        if let Some(claims) = claims_of(route, job) {
            relay_rows::add_claims(self.connection, RowKey::of(stored.id, question), &claims)?;
        }
        if self.relay.changes.channels.last() != Some(&job.channel) {
            self.relay.changes.channels.push(job.channel.clone());
        }
        let Some(route) = answering else { return Ok((stored, None)) };
        let (data, next) = (answer_data(question), stored.advanced(self.now_ms));
        let (user, change, mark) = (route.user.as_str(), Change::None, StreamMark::Begun);
        let row = self.store(stored, next, &NewRow { user, key: None, change, mark, data: &data })?;
        let new = NewStream {
            place: RowKey::of(row.id, row.head),
            channel: &job.channel,
            author: &route.user,
            options: &answer_options(route, &job.user, question),
            first_part: self.streams.changes.next_part,
            since_ms: self.now_ms,
        };
        streams::open(self.connection, &new)?;
        let published = published_answer(&job.channel, (question, row.head), &route.user, row.time_ms);
        self.relay.changes.answers.push(published);
        Ok((row, Some(row.head)))
    }

    /// The outcome of a question that was stored before, with its answer.
    pub(super) fn repeated(
        &self,
        channel: ChannelNumber,
        outcome: Outcome,
        answering: Option<&RelayRoute>,
    ) -> rusqlite::Result<Outcome> {
        let (Ok(appended), Some(route)) = (&outcome, answering) else { return Ok(outcome) };
        let question = RowKey::of(channel, appended.offset);
        let answer = match relay_rows::answer(self.connection, question, route)? {
            StoredAnswer::None => None,
            StoredAnswer::Open(_)
            | StoredAnswer::Ended
            | StoredAnswer::Interrupted
            | StoredAnswer::Failed(_) => Some(appended.offset.next()),
        };
        Ok(Ok(Appended { answer, ..*appended }))
    }
}
