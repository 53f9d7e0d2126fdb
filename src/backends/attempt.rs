//! One attempt to send a publication: what is done before its request, and what its response means.

use super::call::{CallClient, Called, RelayCall, timestamp};
use super::orders::carried_out;
use super::reading::ResponseBody;
use super::shared::RelayShared;
use crate::alert::retry::retry_after_ms;
use crate::job::mailbox::ThreadProducer;
use crate::job::relay::{Claimed, DeadCause, LEASE, RelayOutcome};
use crate::job::stream::{StreamOrder, StreamOutcome};
use crate::metrics::relay::{RequestOutcome, RouteMeter};
use crate::net::deadline::now;
use crate::relay::answer::{BodyForm, LaterReason, Meaning};
use crate::relay::attempt::{
    DeadStep, RepeatStep, TakenStep, after_failed, after_taken, before_repeat, is_given_up, is_held,
};
use crate::relay::retry;
use crate::relay::route::RelayRoute;
use crate::wire::stream::{EndCause, Generation, StreamId};
use crate::wire::webhook::{RelayedPublication, message_id};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The wait for the store when it does not answer, before the whole attempt is made again.
const STORE_AGAIN: Duration = Duration::from_secs(1);
/// How long an order about the answer is repeated before a request.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it is repeated for a backend that has taken the question. Then the claim has nearly ended, and the question is sent again.
const TAKE_TIMEOUT: Duration = Duration::from_secs(LEASE.as_secs() - 10);

/// An attempt that was made.
pub(super) struct Attempted {
    pub(super) outcome: RelayOutcome,
    /// The body of a response, to be read after the outcome is settled.
    pub(super) body: Option<ResponseBody>,
    pub(super) next: NextClaim,
}

/// When the channel may be claimed after an attempt that did not settle its publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextClaim {
    /// At once: the next claim finds out what became of it.
    Now,
    After(Duration),
    /// When the route is resumed.
    Resumed,
}

/// One attempt.
pub(super) struct RelayAttempt<'a> {
    pub(super) shared: &'a RelayShared,
    pub(super) route: &'a RelayRoute,
    pub(super) meter: &'a RouteMeter,
    /// For orders about answers; it is the producer of none.
    pub(super) orders: &'a ThreadProducer,
    pub(super) claimed: &'a Claimed,
    /// The claim was asked for at this time.
    pub(super) asked: Instant,
    /// In `0.0 .. 1.0`.
    pub(super) random: f32,
}

impl RelayAttempt<'_> {
    pub(super) fn make(&self) -> Attempted {
        let (question, unix_ms) = (&self.claimed.question, self.shared.now().unix_ms);
        if is_given_up(question.time_ms, self.route.give_up, unix_ms) {
            self.meter.dead_not_delivered.fetch_add(1, Ordering::Relaxed);
            return self.dead(DeadCause::NotDelivered, None);
        }
        let answer = match self.generation() {
            Ok(generation) => self.answer().zip(generation),
            Err((outcome, next)) => return Attempted { outcome, body: None, next },
        };
        if self.claimed.attempt == 1 {
            let waited = Duration::from_millis(unix_ms.saturating_sub(question.time_ms));
            self.meter.wait_seconds.record(waited);
        }
        let id = message_id(self.claimed.epoch, &self.claimed.channel, question.offset);
        let body = self.body(unix_ms, answer.as_ref().map(|(_, generation)| *generation));
        if !is_held(now().saturating_duration_since(self.asked), LEASE) {
            // The process was stopped, or the store was away: it is claimed again before it is sent.
            let next = NextClaim::After(STORE_AGAIN);
            return Attempted { outcome: RelayOutcome::Release, body: None, next };
        }
        let client = self.shared.calls.take(&self.route.name);
        let timeout = self.route.timeout;
        let call = RelayCall { route: self.route, id: &id, body: &body, unix_ms, timeout };
        let evidence = self.shared.evidence(self.route.dependency.as_deref());
        match call.send(evidence.as_ref(), &client) {
            Ok(called) => {
                self.meter.request_seconds.record(called.took);
                self.answered(called, client, id, answer)
            }
            Err(trouble) => {
                self.meter.count(RequestOutcome::Unreached);
                let (route, attempt) = (&*self.route.name, self.claimed.attempt);
                tracing::debug!(route, attempt, cause = %trouble.text, "relay request failed");
                self.later(None)
            }
        }
    }

    fn answer(&self) -> Option<StreamId> {
        let offset = self.claimed.answer?.offset;
        Some(StreamId { channel: self.claimed.channel.clone(), offset })
    }

    /// The generation of the answer for this attempt. An earlier one may have arrived, and its run may still write, so each gets
    /// its own.
    fn generation(&self) -> Result<Option<Generation>, (RelayOutcome, NextClaim)> {
        let (Some(open), Some(id)) = (self.claimed.answer, self.answer()) else { return Ok(None) };
        if self.claimed.attempt == 1 {
            return Ok(Some(open.generation));
        }
        let restarted = self.order(&id, || StreamOrder::Restart, ORDER_TIMEOUT);
        match before_repeat(restarted.as_ref()) {
            RepeatStep::Send(generation) => Ok(Some(generation)),
            RepeatStep::Release => Err((RelayOutcome::Release, NextClaim::After(STORE_AGAIN))),
            RepeatStep::Again => {
                Err((RelayOutcome::Later { delay: STORE_AGAIN }, NextClaim::After(STORE_AGAIN)))
            }
        }
    }

    fn order(
        &self,
        id: &StreamId,
        order: impl Fn() -> StreamOrder,
        timeout: Duration,
    ) -> Option<StreamOutcome> {
        carried_out(self.orders, id, &self.route.user, order, now() + timeout)
    }

    fn body(&self, unix_ms: u64, generation: Option<Generation>) -> Vec<u8> {
        let question = &self.claimed.question;
        let publication = RelayedPublication {
            timestamp: &timestamp(unix_ms),
            route: &self.route.name,
            attempt: self.claimed.attempt,
            epoch: self.claimed.epoch,
            claims: self.claimed.claims.as_deref(),
            channel: &self.claimed.channel,
            offset: question.offset,
            key: question.key.as_ref().map(|key| key.as_str()),
            user: question.user.as_str(),
            time_ms: question.time_ms,
            change: question.change,
            data: &question.data,
            answer: self.claimed.answer.map(|answer| answer.offset).zip(generation),
        };
        publication.body()
    }

    fn answered(
        &self,
        called: Called,
        client: CallClient,
        message_id: String,
        answer: Option<(StreamId, Generation)>,
    ) -> Attempted {
        let Called { response, meaning, .. } = called;
        let status = response.status();
        let outcome = match meaning {
            Meaning::Taken(_) => RequestOutcome::Taken,
            Meaning::Later(LaterReason::Asked) => RequestOutcome::Asked,
            Meaning::Later(LaterReason::Failed) => RequestOutcome::Failed,
            Meaning::Refused => RequestOutcome::Refused,
            Meaning::Gone => RequestOutcome::Gone,
        };
        self.meter.count(outcome);
        match meaning {
            Meaning::Taken(form) => {
                let form =
                    if response.header("content-length") == Some("0") { BodyForm::Nothing } else { form };
                let channel = self.claimed.channel.clone();
                let reading = answer.as_ref().map(|(id, _)| self.shared.readings.enter(id, &client.control));
                let asker = Some(self.claimed.question.user.clone());
                self.taken(ResponseBody {
                    client,
                    response,
                    form,
                    answer,
                    reading,
                    channel,
                    asker,
                    message_id,
                })
            }
            Meaning::Later(_) => {
                let asked = response.header("retry-after");
                let asked = asked.and_then(|text| retry_after_ms(text, self.shared.now().unix_ms));
                let mut attempted = self.later(asked.map(Duration::from_millis));
                attempted.body = Some(ResponseBody::unread(client, response, self.claimed.channel.clone()));
                attempted
            }
            Meaning::Refused => {
                self.meter.dead_refused.fetch_add(1, Ordering::Relaxed);
                let route = &*self.route.name;
                tracing::warn!(
                    route,
                    status,
                    offset = self.claimed.question.offset.0,
                    "relay request refused"
                );
                let mut attempted = self.dead(DeadCause::Refused, Some(status));
                attempted.body = Some(ResponseBody::unread(client, response, self.claimed.channel.clone()));
                attempted
            }
            Meaning::Gone => {
                if !self.meter.is_paused.swap(true, Ordering::AcqRel) {
                    tracing::warn!(route = &*self.route.name, status, "relay route paused");
                }
                Attempted { outcome: RelayOutcome::Release, body: None, next: NextClaim::Resumed }
            }
        }
    }

    /// The backend has the question: that is committed before its body is read.
    fn taken(&self, body: ResponseBody) -> Attempted {
        let step = body.answer.as_ref().map_or(TakenStep::Read, |(id, _)| {
            after_taken(self.order(id, || StreamOrder::Take, TAKE_TIMEOUT).as_ref())
        });
        let body = match step {
            TakenStep::Read => body,
            TakenStep::Skip => ResponseBody { form: BodyForm::Nothing, ..body },
            TakenStep::Again => return Self::store_again(),
        };
        Attempted { outcome: RelayOutcome::Done, body: Some(body), next: NextClaim::Now }
    }

    fn later(&self, asked: Option<Duration>) -> Attempted {
        let delay = retry::wait(self.claimed.attempt, asked, self.random);
        Attempted { outcome: RelayOutcome::Later { delay }, body: None, next: NextClaim::After(delay) }
    }

    fn store_again() -> Attempted {
        let outcome = RelayOutcome::Later { delay: STORE_AGAIN };
        Attempted { outcome, body: None, next: NextClaim::After(STORE_AGAIN) }
    }

    /// Gives the publication up. Its answer ends first, so that no reader waits for it.
    fn dead(&self, cause: DeadCause, status: Option<u16>) -> Attempted {
        let end = if status.is_some() { EndCause::Refused } else { EndCause::NotDelivered };
        if let Some(id) = self.answer() {
            let failed = self.order(&id, || StreamOrder::Fail { cause: end }, ORDER_TIMEOUT);
            if after_failed(failed.as_ref()) == DeadStep::Again {
                return Self::store_again();
            }
        }
        Attempted { outcome: RelayOutcome::Dead { cause, status }, body: None, next: NextClaim::Now }
    }
}

#[cfg(test)]
#[path = "attempt/tests.rs"]
mod tests;
