//! One sender of a relay in the world of answers: a thread of the real relay, as a state that waits for the store or the backend.

use super::answer_backend::Arrived;
use super::answer_instance::AnswerOrder;
use super::answer_reading::AnswerReading;
use super::answer_relay::RelayStage;
use seawall::clock::Moment;
use seawall::id::ChannelName;
use seawall::job::relay::{
    ClaimOutcome, Claimed, DeadCause, Fence, LEASE, RelayAnswer, RelayOutcome, RelayWork, SettleOutcome,
};
use seawall::job::stream::{StreamOrder, StreamOutcome};
use seawall::relay::answer::{BodyForm, Meaning, meaning};
use seawall::relay::attempt::{
    DeadStep, RepeatStep, TakenStep, after_failed, after_taken, before_repeat, is_given_up, is_held,
    is_repeated,
};
use seawall::relay::retry;
use seawall::relay::route::RelayRoute;
use seawall::relay::schedule::RoutePlace;
use seawall::wire::stream::{EndCause, Generation, StreamId};
use seawall::wire::webhook::message_id;
use std::time::Duration;

const STORE_TIMEOUT: Duration = Duration::from_secs(5);
const STORE_AGAIN: Duration = Duration::from_secs(1);
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
const TAKE_TIMEOUT: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(200);

/// The news of a sender.
pub enum SenderNews {
    Goes,
    /// The channel may be claimed after this; `None`: nothing is to be sent.
    Settled(Option<Duration>),
    /// The sender reads a response, and the next publication is claimed.
    Next(Box<Claimed>, Moment),
    /// It gives its seat back.
    Freed,
}

/// An order that is repeated until its outcome is known.
pub struct Asking {
    order: fn() -> StreamOrder,
    ticket: Option<u64>,
    again: Moment,
    deadline: Moment,
}

/// When the channel may be claimed after an attempt.
type After = Option<Duration>;

enum SenderState {
    Claiming { request: u64, until: Moment },
    Restarting(Asking),
    Calling { call: u64, until: Moment, generation: Generation },
    Taking { call: u64, form: BodyForm, generation: Generation, asking: Asking },
    Failing { dead: (DeadCause, Option<u16>), asking: Asking },
    Settling { outcome: RelayOutcome, after: After, request: u64, asked_until: Moment, until: Moment },
    Reading(Box<AnswerReading>),
}

pub struct AnswerSender {
    pub place: RoutePlace,
    route: RelayRoute,
    pub channel: ChannelName,
    claimed: Option<Box<Claimed>>,
    /// The claim was asked for at this time.
    asked: Moment,
    /// The response to read once the attempt is settled.
    body: Option<Box<AnswerReading>>,
    state: SenderState,
}

impl Asking {
    pub fn new(order: fn() -> StreamOrder, now: Moment, timeout: Duration) -> Asking {
        Asking { order, ticket: None, again: now, deadline: now + timeout }
    }

    /// The outcome, or `None` at the deadline. `Err`: it is not known yet.
    pub fn poll(
        &mut self,
        (connection, id, route): (u64, &StreamId, &RelayRoute),
        stage: &mut RelayStage<'_>,
    ) -> Result<Option<StreamOutcome>, ()> {
        let now = stage.now.at;
        match self.ticket.and_then(|ticket| stage.instance.outcomes.remove(&ticket)) {
            outcome if is_repeated(outcome.as_ref()) => {}
            outcome => return Ok(outcome),
        }
        if now >= self.deadline {
            return Ok(None);
        }
        if self.again <= now {
            self.again = now + AGAIN + Duration::from_millis(stage.rng.u64(..4_800));
            self.ticket = Some(stage.instance.number());
            let (user, order) = (route.user.clone(), (self.order)());
            let job = AnswerOrder { connection, ticket: self.ticket, id: id.clone(), user, order };
            let line = stage.faults.draw(stage.rng);
            stage.instance.order(job, stage.store, stage.now, line);
        }
        Err(())
    }
}

impl AnswerSender {
    pub fn new(
        place: RoutePlace,
        route: RelayRoute,
        channel: ChannelName,
        claim: Option<(Box<Claimed>, Moment)>,
        stage: &mut RelayStage<'_>,
    ) -> AnswerSender {
        let until = stage.now.at + STORE_TIMEOUT;
        let (state, is_claimed) = (SenderState::Claiming { request: 0, until }, claim.is_some());
        let asked = claim.as_ref().map_or(stage.now.at, |(_, asked)| *asked);
        let claimed = claim.map(|(claimed, _)| claimed);
        let mut sender = AnswerSender { place, route, channel, claimed, asked, body: None, state };
        if is_claimed {
            sender.attempt(stage);
        } else {
            let request = stage.instance.ask_store(RelayWork::Claim { channel: sender.channel.clone() });
            sender.state = SenderState::Claiming { request, until };
        }
        sender
    }

    pub fn reads(&self) -> bool {
        matches!(self.state, SenderState::Reading(_))
    }

    /// The claim that it holds.
    pub fn claim(&self) -> Option<(ChannelName, Fence)> {
        let claimed = self.claimed.as_ref().filter(|_| !self.reads())?;
        Some((self.channel.clone(), claimed.fence))
    }

    /// Its connection to the backend.
    pub fn call(&self) -> Option<u64> {
        match &self.state {
            SenderState::Calling { call, .. } | SenderState::Taking { call, .. } => Some(*call),
            SenderState::Reading(reading) => Some(reading.call),
            SenderState::Claiming { .. }
            | SenderState::Restarting(_)
            | SenderState::Failing { .. }
            | SenderState::Settling { .. } => self.body.as_ref().map(|body| body.call),
        }
    }

    /// The relay closes the response with an answer.
    pub fn close(&mut self, id: &StreamId) {
        if let SenderState::Reading(reading) = &mut self.state
            && reading.id == *id
        {
            reading.is_closed = true;
        }
    }

    fn claimed(&self) -> &Claimed {
        self.claimed.as_ref().expect("a claim")
    }

    fn answer(&self) -> Option<StreamId> {
        let offset = self.claimed().answer?.offset;
        Some(StreamId { channel: self.channel.clone(), offset })
    }

    pub fn turn(&mut self, stage: &mut RelayStage<'_>) -> SenderNews {
        let now = stage.now.at;
        let answer = self.claimed.as_ref().and_then(|_| self.answer());
        let route = &self.route;
        match &mut self.state {
            SenderState::Claiming { request, until } => match stage.instance.answers.remove(request) {
                Some(RelayAnswer::Claim(outcome)) => self.go_on(outcome, stage),
                Some(_) => SenderNews::Settled(Some(STORE_AGAIN)),
                None if now >= *until => SenderNews::Settled(Some(STORE_AGAIN)),
                None => SenderNews::Goes,
            },
            SenderState::Restarting(asking) => {
                let id = answer.expect("an answer");
                let Ok(restarted) = asking.poll((0, &id, route), stage) else { return SenderNews::Goes };
                match before_repeat(restarted.as_ref()) {
                    RepeatStep::Send(generation) => self.request(generation, stage),
                    RepeatStep::Release => self.settle(RelayOutcome::Release, Some(STORE_AGAIN), stage),
                    RepeatStep::Again => self.store_again(stage),
                }
                SenderNews::Goes
            }
            SenderState::Calling { call, until, generation } => {
                let (call, until, generation) = (*call, *until, *generation);
                match stage.backend.head(call, stage.now) {
                    Some((status, kind)) => self.answered(call, generation, (status, kind), stage),
                    None if now >= until => {
                        stage.backend.close(call);
                        self.later(stage);
                    }
                    None => {}
                }
                SenderNews::Goes
            }
            SenderState::Taking { call, form, generation, asking } => {
                let id = answer.expect("an answer");
                let (call, form, generation) = (*call, *form, *generation);
                let Ok(taken) = asking.poll((0, &id, route), stage) else { return SenderNews::Goes };
                stage.trace.note(stage.now, || format!("{id:?} is taken: {taken:?}"));
                match after_taken(taken.as_ref()) {
                    TakenStep::Read => self.taken(call, form, Some((id, generation)), stage),
                    TakenStep::Skip => self.taken(call, BodyForm::Nothing, None, stage),
                    TakenStep::Again => {
                        stage.backend.close(call);
                        self.store_again(stage);
                    }
                }
                SenderNews::Goes
            }
            SenderState::Failing { dead, asking } => {
                let (id, (cause, status)) = (answer.expect("an answer"), *dead);
                let Ok(failed) = asking.poll((0, &id, route), stage) else { return SenderNews::Goes };
                match after_failed(failed.as_ref()) {
                    DeadStep::Again => self.store_again(stage),
                    DeadStep::Bury => {
                        self.settle(RelayOutcome::Dead { cause, status }, Some(Duration::ZERO), stage);
                    }
                }
                SenderNews::Goes
            }
            SenderState::Settling { .. } => self.settling(stage),
            SenderState::Reading(reading) => match reading.turn(route, stage) {
                true => SenderNews::Freed,
                false => SenderNews::Goes,
            },
        }
    }

    /// Begins with what is claimed, or ends.
    fn go_on(&mut self, outcome: ClaimOutcome, stage: &mut RelayStage<'_>) -> SenderNews {
        match outcome {
            ClaimOutcome::Claimed(claimed) => {
                self.claimed = Some(claimed);
                self.attempt(stage);
                SenderNews::Goes
            }
            ClaimOutcome::Nothing | ClaimOutcome::Taken | ClaimOutcome::Waits | ClaimOutcome::Unrouted => {
                SenderNews::Settled(None)
            }
            ClaimOutcome::NotYet { delay } => SenderNews::Settled(Some(delay)),
        }
    }

    fn attempt(&mut self, stage: &mut RelayStage<'_>) {
        let (claimed, now) = (self.claimed(), stage.now);
        if is_given_up(claimed.question.time_ms, self.route.give_up, now.unix_ms) {
            return self.dead(DeadCause::NotDelivered, None, stage);
        }
        match claimed.answer {
            Some(_) if claimed.attempt > 1 => {
                let asking = Asking::new(|| StreamOrder::Restart, now.at, ORDER_TIMEOUT);
                self.state = SenderState::Restarting(asking);
            }
            Some(open) => self.request(open.generation, stage),
            None => self.request(Generation::FIRST, stage),
        }
    }

    fn request(&mut self, generation: Generation, stage: &mut RelayStage<'_>) {
        if !is_held(stage.now.at.since(self.asked), LEASE) {
            return self.settle(RelayOutcome::Release, Some(STORE_AGAIN), stage);
        }
        let claimed = self.claimed();
        let (channel, offset) = (self.channel.clone(), claimed.question.offset);
        let row = stage.store.rows[&channel];
        assert_eq!(row.fence, claimed.fence.0, "R2: {offset} of {channel} is sent by a claim that is over");
        let sent = stage.sent.entry(channel.clone()).or_default();
        let is_first = !stage.backend.delivered.contains_key(&(channel.clone(), offset));
        assert!(!is_first || offset.0 > *sent, "R2: {offset} of {channel} after {sent}");
        assert!(is_first || claimed.attempt > 1, "a repeat of {offset} of {channel} is not named one");
        if is_first && let Some(id) = self.answer() {
            let cancelled_ms = stage.store.streams[&id].cancelled_ms;
            assert!(
                cancelled_ms.is_none_or(|cancelled_ms| cancelled_ms >= row.claimed_ms),
                "R1: {offset} of {channel} is sent after it was withdrawn"
            );
        }
        let arrived = Arrived {
            id: message_id(claimed.epoch, &channel, offset),
            channel,
            offset,
            answer: claimed.answer.map(|answer| (answer.offset, generation)),
        };
        stage.trace.note(stage.now, || format!("request {arrived:?}"));
        match stage.backend.call(arrived, stage.now, stage.rng) {
            Some(call) => {
                let sent = stage.sent.entry(self.channel.clone()).or_default();
                *sent = offset.0.max(*sent);
                let until = stage.now.at + self.route.timeout;
                self.state = SenderState::Calling { call, until, generation };
            }
            None => self.later(stage),
        }
    }

    fn answered(
        &mut self,
        call: u64,
        generation: Generation,
        (status, kind): (u16, Option<&'static str>),
        stage: &mut RelayStage<'_>,
    ) {
        match meaning(status, kind) {
            Meaning::Taken(form) if self.answer().is_some() => {
                let asking = Asking::new(|| StreamOrder::Take, stage.now.at, TAKE_TIMEOUT);
                self.state = SenderState::Taking { call, form, generation, asking };
            }
            Meaning::Taken(_) => self.taken(call, BodyForm::Nothing, None, stage),
            Meaning::Later(_) => {
                stage.backend.close(call);
                self.later(stage);
            }
            Meaning::Refused => {
                stage.backend.close(call);
                self.dead(DeadCause::Refused, Some(status), stage);
            }
            Meaning::Gone => panic!("no route is gone here"),
        }
    }

    fn taken(
        &mut self,
        call: u64,
        form: BodyForm,
        answer: Option<(StreamId, Generation)>,
        stage: &mut RelayStage<'_>,
    ) {
        let claimed = self.claimed();
        let message_id = message_id(claimed.epoch, &self.channel, claimed.question.offset);
        match answer.filter(|_| form != BodyForm::Nothing) {
            Some(answer) => {
                let reading = AnswerReading::new((call, form), answer, &message_id, &self.route, stage);
                self.body = Some(Box::new(reading));
            }
            None => stage.backend.close(call),
        }
        self.settle(RelayOutcome::Done, Some(Duration::ZERO), stage);
    }

    fn later(&mut self, stage: &mut RelayStage<'_>) {
        let delay = retry::wait(self.claimed().attempt, None, stage.rng.f32());
        self.settle(RelayOutcome::Later { delay }, Some(delay), stage);
    }

    fn store_again(&mut self, stage: &mut RelayStage<'_>) {
        self.settle(RelayOutcome::Later { delay: STORE_AGAIN }, Some(STORE_AGAIN), stage);
    }

    /// Gives the publication up. Its answer ends first.
    fn dead(&mut self, cause: DeadCause, status: Option<u16>, stage: &mut RelayStage<'_>) {
        if self.answer().is_none() {
            return self.settle(RelayOutcome::Dead { cause, status }, Some(Duration::ZERO), stage);
        }
        let refused = || StreamOrder::Fail { cause: EndCause::Refused };
        let not_delivered = || StreamOrder::Fail { cause: EndCause::NotDelivered };
        let order = if status.is_some() { refused } else { not_delivered };
        let asking = Asking::new(order, stage.now.at, ORDER_TIMEOUT);
        self.state = SenderState::Failing { dead: (cause, status), asking };
    }

    fn settle(&mut self, outcome: RelayOutcome, after: After, stage: &mut RelayStage<'_>) {
        let (channel, fence) = (self.channel.clone(), self.claimed().fence);
        stage.trace.note(stage.now, || {
            let Claimed { fence, attempt, question, .. } = self.claimed();
            format!("{} of {channel}, {fence:?}, attempt {attempt}: {outcome:?}", question.offset)
        });
        let request = stage.instance.ask_store(RelayWork::Settle { channel, fence, outcome });
        let now = stage.now.at;
        self.asked = now;
        let (asked_until, until) = (now + STORE_TIMEOUT, now + LEASE);
        self.state = SenderState::Settling { outcome, after, request, asked_until, until };
    }

    fn settling(&mut self, stage: &mut RelayStage<'_>) -> SenderNews {
        let now = stage.now.at;
        let SenderState::Settling { outcome, after, request, asked_until, until } = &mut self.state else {
            return SenderNews::Goes;
        };
        let next = match stage.instance.answers.remove(request) {
            Some(RelayAnswer::Settle(SettleOutcome::Settled(next))) if *after == Some(Duration::ZERO) => {
                Ok(next)
            }
            Some(RelayAnswer::Settle(SettleOutcome::Settled(_))) => Err(*after),
            Some(RelayAnswer::Settle(SettleOutcome::Lost)) => Err(None),
            None if now < *asked_until => return SenderNews::Goes,
            _ if now < *until => {
                let (channel, outcome) = (self.channel.clone(), *outcome);
                let fence = self.claimed.as_ref().expect("a claim").fence;
                *request = stage.instance.ask_store(RelayWork::Settle { channel, fence, outcome });
                *asked_until = now + STORE_TIMEOUT;
                return SenderNews::Goes;
            }
            _ => Err(None),
        };
        self.claimed = None;
        if let Some(body) = self.body.take() {
            self.state = SenderState::Reading(body);
            return match next {
                Ok(ClaimOutcome::Claimed(claimed)) => SenderNews::Next(claimed, self.asked),
                Ok(ClaimOutcome::NotYet { delay }) => SenderNews::Settled(Some(delay)),
                Ok(_) => SenderNews::Settled(None),
                Err(after) => SenderNews::Settled(after),
            };
        }
        match next {
            Ok(outcome) => self.go_on(outcome, stage),
            Err(after) => SenderNews::Settled(after),
        }
    }
}
