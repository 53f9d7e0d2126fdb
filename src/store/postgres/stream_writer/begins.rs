//! Begins of streams, which are committed with the batch of their publications, and the ends by edits and deletes in a batch.

use super::super::batch::SettledAppend;
use super::super::connection::StoreConnection;
use super::super::route::Waiting;
use super::SharedStreamWriter;
use super::commands::LoadOutcome;
use crate::id::Offset;
use crate::job::{Append, AppendChange, AppendError, Appended, Attempt};
use crate::relay::route::{AnswerMode, RouteTable};
use crate::store::outcome::RETRY_MS;
use crate::store::relay::{answer_data, answer_options, answering_route};
use crate::stream::{Adoption, EndFate, StreamBegin, Touched};
use crate::wire::stream::{
    BeginStream, BegunStream, Generation, Position, StreamFault, StreamId, StreamMark,
};
use ahash::AHashMap;

impl SharedStreamWriter {
    /// Refuses the begins in a batch for which this worker has no memory, or which do not fit into a message.
    pub(in crate::store::postgres) fn admit(
        &self,
        batch: Vec<Waiting>,
        routes: Option<&RouteTable>,
    ) -> Vec<Waiting> {
        if routes.is_none() && batch.iter().all(|waiting| waiting.job.stream.is_none()) {
            return batch;
        }
        let (now, mut beginning) = (self.now(), 0);
        let mut stay = Vec::with_capacity(batch.len());
        for waiting in batch {
            let begin = begin_of(&waiting.job, Offset::ZERO)
                .or_else(|| answer_of(&waiting.job, routes, Offset::ZERO));
            let admitted = begin.map_or(Ok(0), |begin| self.ledger.admit(begin, beginning, now));
            match admitted {
                Ok(bytes) => {
                    beginning += bytes;
                    stay.push(waiting);
                }
                Err(fault) => self.answers.refuse(&[waiting], &AppendError::Stream(fault)),
            }
        }
        stay
    }

    /// A batch is committed. Completes the outcomes of begins, and returns the streams that its edits and deletes have ended.
    pub(in crate::store::postgres) fn committed(
        &mut self,
        batch: &[Waiting],
        settled: &mut [SettledAppend],
        routes: Option<&RouteTable>,
        connection: &mut StoreConnection,
    ) -> Vec<(StreamId, EndFate)> {
        let mut ended = Vec::new();
        for (waiting, settled) in batch.iter().zip(settled.iter()) {
            let (Ok(appended), StreamMark::Ended(end)) = (&settled.outcome, settled.mark) else { continue };
            let (AppendChange::Edit(target, _) | AppendChange::Delete(target, _)) = waiting.job.change else {
                continue;
            };
            let id = StreamId { channel: waiting.job.channel.clone(), offset: target };
            let fate = EndFate { end, edit: appended.offset };
            if appended.attempt == Attempt::First || waiting.doubtful {
                self.counters.count_end(end);
                self.ledger.overwritten(&id, fate, &mut self.out);
            }
            self.ended.note(&id, fate);
            self.doubtful.remove(&id);
            let _ = self.ledger.ended(&id, fate, &mut self.out);
            ended.push((id, fate));
        }
        if routes.is_some() {
            self.withdraw(batch, settled, routes, connection);
        }
        self.begun(batch, settled, connection);
        if routes.is_some() {
            self.answers_begun(batch, settled, routes, connection);
        }
        ended
    }

    /// Opens the streams that a batch has begun, and attaches the connections of repeated begins.
    fn begun(&mut self, batch: &[Waiting], settled: &mut [SettledAppend], connection: &mut StoreConnection) {
        let now = self.now();
        let mut repeated = Vec::new();
        for (at, (waiting, settled)) in batch.iter().zip(settled.iter_mut()).enumerate() {
            let Ok(appended) = &mut settled.outcome else { continue };
            let Some(begin) = begin_of(&waiting.job, appended.offset) else { continue };
            match appended.attempt {
                Attempt::First => {
                    appended.stream = Some(self.ledger.begun(begin, Touched(appended.time_ms), now));
                }
                Attempt::Repeat => repeated.push((at, begin)),
            }
        }
        if repeated.is_empty() {
            return;
        }
        let ids: Vec<StreamId> = repeated.iter().map(|(_, begin)| begin.id.clone()).collect();
        let found: AHashMap<StreamId, LoadOutcome> =
            self.refresh(&ids, Adoption::Continue, connection).into_iter().collect();
        for (at, begin) in repeated {
            if let (Some(settled), Some(waiting)) = (settled.get_mut(at), batch.get(at)) {
                self.attach(begin, &found, waiting, &mut settled.outcome);
            }
        }
    }

    /// Withdraws the answers to the questions that a batch has deleted, unless a backend has them, by a look at the store.
    fn withdraw(
        &mut self,
        batch: &[Waiting],
        settled: &[SettledAppend],
        routes: Option<&RouteTable>,
        connection: &mut StoreConnection,
    ) {
        let is_answered = |channel| {
            routes.and_then(|routes| routes.of(channel)).is_some_and(|it| it.answers == AnswerMode::Stored)
        };
        let deletes = batch.iter().zip(settled).filter_map(|(waiting, settled)| match waiting.job.change {
            AppendChange::Delete(question, _) if settled.outcome.is_ok() => Some((&waiting.job, question)),
            AppendChange::Delete(..) | AppendChange::Edit(..) | AppendChange::Original => None,
        });
        let deleted: Vec<(&Append, Offset)> = deletes.filter(|(job, _)| is_answered(&job.channel)).collect();
        let answer = |(job, question): &(&Append, Offset)| StreamId {
            channel: job.channel.clone(),
            offset: question.next(),
        };
        if deleted.is_empty() {
            return;
        }
        let ids: Vec<StreamId> = deleted.iter().map(answer).collect();
        let absent: Vec<StreamId> = ids.iter().filter(|id| !self.ledger.has(id)).cloned().collect();
        // Also the ones that are open here: another instance may have taken one since the last look.
        let refreshed = self.refresh(&ids, Adoption::End, connection);
        let outcomes: AHashMap<StreamId, LoadOutcome> = refreshed.into_iter().collect();
        let now = self.now();
        for ((job, question), id) in deleted.into_iter().zip(&ids) {
            // A backend may have one that could not be looked at. If none has it, the search for lost questions ends it.
            if outcomes.get(id) == Some(&LoadOutcome::Open) {
                self.ledger.withdraw(&job.channel, question, &job.user, now);
            }
        }
        for id in &absent {
            self.ledger.release(id, &mut self.out);
        }
    }

    /// Opens the answers that began together with the questions of a batch. Those of a batch in doubt were never announced either; if they
    /// cannot be loaded, they are opened as they began, and loaded before anything is written.
    fn answers_begun(
        &mut self,
        batch: &[Waiting],
        settled: &[SettledAppend],
        routes: Option<&RouteTable>,
        connection: &mut StoreConnection,
    ) {
        let now = self.now();
        let mut doubtful = Vec::new();
        for (waiting, settled) in batch.iter().zip(settled) {
            let Ok(Appended { offset, time_ms, attempt, answer: Some(_), .. }) = settled.outcome else {
                continue;
            };
            let Some(begin) = answer_of(&waiting.job, routes, offset) else { continue };
            match attempt {
                Attempt::First => {
                    let _ = self.ledger.begun(begin, Touched(time_ms), now);
                }
                Attempt::Repeat if waiting.doubtful => doubtful.push((begin, time_ms)),
                Attempt::Repeat => {}
            }
        }
        if doubtful.is_empty() {
            return;
        }
        let ids: Vec<StreamId> = doubtful.iter().map(|(begin, _)| begin.id.clone()).collect();
        let found: AHashMap<StreamId, LoadOutcome> =
            self.refresh(&ids, Adoption::Continue, connection).into_iter().collect();
        for (begin, time_ms) in doubtful {
            match found.get(&begin.id) {
                Some(LoadOutcome::Open | LoadOutcome::Ended(_)) => {}
                Some(LoadOutcome::Failed | LoadOutcome::NotTried | LoadOutcome::Full(_)) | None => {
                    let id = begin.id.clone();
                    let _ = self.ledger.begun(begin, Touched(time_ms), now);
                    self.ledger.suspect(&id);
                }
            }
        }
    }

    /// Gives the answer to a repeated begin its stream. If that was not read, the begin must be repeated once more; but one in doubt was
    /// stored by this worker and never announced, so its stream is opened as it began, and loaded before anything is written.
    fn attach(
        &mut self,
        begin: StreamBegin,
        found: &AHashMap<StreamId, LoadOutcome>,
        waiting: &Waiting,
        outcome: &mut Result<Appended, AppendError>,
    ) {
        let Ok(appended) = outcome else { return };
        let now = self.now();
        match found.get(&begin.id).copied() {
            Some(LoadOutcome::Open) => {
                appended.stream = begin
                    .producer
                    .and_then(|producer| self.ledger.attach(&begin.id, producer, now, &mut self.out));
            }
            Some(LoadOutcome::Ended(end)) => {
                appended.stream = end.map(|EndFate { end, edit }| BegunStream {
                    generation: Generation::FIRST,
                    next: Position::ZERO,
                    ended: Some((end, edit)),
                });
            }
            Some(LoadOutcome::Failed | LoadOutcome::NotTried | LoadOutcome::Full(_)) | None
                if waiting.doubtful =>
            {
                let id = begin.id.clone();
                appended.stream = Some(self.ledger.begun(begin, Touched(appended.time_ms), now));
                self.ledger.suspect(&id);
            }
            Some(LoadOutcome::Full(_)) => {
                *outcome = Err(AppendError::Stream(StreamFault::Overloaded { retry_ms: RETRY_MS }));
            }
            Some(LoadOutcome::Failed | LoadOutcome::NotTried) | None => {
                *outcome = Err(AppendError::Unconfirmed { retry_ms: RETRY_MS });
            }
        }
    }
}

/// The begin of the answer to a question at this offset.
fn answer_of(job: &Append, routes: Option<&RouteTable>, question: Offset) -> Option<StreamBegin> {
    let route = answering_route(routes, job)?;
    Some(StreamBegin {
        id: StreamId { channel: job.channel.clone(), offset: question.next() },
        author: route.user.clone(),
        options: answer_options(route, &job.user, question),
        begun: answer_data(question),
        producer: None,
    })
}

fn begin_of(job: &Append, offset: Offset) -> Option<StreamBegin> {
    let BeginStream { options, producer } = job.stream.as_deref()?.clone();
    let id = StreamId { channel: job.channel.clone(), offset };
    Some(StreamBegin {
        id,
        author: job.user.clone(),
        options,
        begun: job.data.clone(),
        producer: Some(producer),
    })
}
