//! Users that ask, cancel and delete, and the relay that has questions answered, in the world of the random tests.

use super::world::{Commit, World, bot, producer};
use crate::clock::Moment;
use crate::id::{Offset, UserName};
use crate::stream::settings::GIVE_UP_MARGIN;
use crate::stream::*;
use crate::wire::stream::{
    AnswerOptions, EndCause, EventKeep, Generation, Position, StreamEnd, StreamId, StreamOptions,
};
use std::time::Duration;

const GIVE_UP_MS: u32 = 20_000;
const ANSWER_MS: u32 = 15_000;

impl World {
    /// A user asks: the gateway begins the answer.
    pub fn ask(&mut self, events: EventKeep, commit: Commit) {
        let question = Offset(self.next_offset - 1);
        let answer = Some(AnswerOptions { question, give_up_ms: GIVE_UP_MS, answer_ms: ANSWER_MS });
        self.begin_with(StreamOptions { events, answer, ..StreamOptions::default() }, None, commit);
    }

    pub fn is_answer(&self, id: &StreamId) -> bool {
        self.store.open.get(id).is_some_and(|stored| stored.options.answer.is_some())
    }

    /// True if an append names the generation.
    pub fn named(&self, id: &StreamId, choice: u64) -> bool {
        choice.is_multiple_of(2) || self.is_answer(id)
    }

    /// A backend has taken the question of an answer.
    pub fn process(&mut self, choice: u64) {
        self.relay(choice, |ledger, id, sender, now, out| ledger.process(id, sender, now, out));
    }

    /// A backend refuses the question of an answer.
    pub fn fail(&mut self, choice: u64) {
        self.relay(choice, |ledger, id, sender, _, out| ledger.fail(id, sender, EndCause::Refused, out));
    }

    fn relay(
        &mut self,
        choice: u64,
        order: impl FnOnce(
            &mut Ledger<u32>,
            &StreamId,
            StreamSender<'_, u32>,
            Moment,
            &mut StreamOutput<u32>,
        ) -> Known,
    ) {
        let id = self.id(choice);
        let ticket = self.ticket(&id);
        let (mut out, user) = (StreamOutput::default(), bot());
        let sender = StreamSender { producer: producer(98), user: &user, ticket: Some(ticket) };
        if order(&mut self.ledger, &id, sender, self.now, &mut out) == Known::No {
            self.unanswered.remove(&ticket);
        }
        self.hear(out);
    }

    pub fn cancel(&mut self, choice: u64) {
        let id = self.id(choice);
        let ticket = self.ticket(&id);
        let (mut out, user) = (StreamOutput::default(), UserName::parse("moderator").expect("valid"));
        let sender = StreamSender { producer: producer(99), user: &user, ticket: Some(ticket) };
        if self.ledger.cancel(&id, sender, CancelRight::All, self.now, &mut out) == Known::No {
            self.unanswered.remove(&ticket);
        }
        self.hear(out);
    }

    /// A user deletes the begin.
    pub fn delete(&mut self, choice: u64) {
        let id = self.id(choice);
        if !self.store.open.contains_key(&id) {
            return;
        }
        let row = EndRow {
            id: id.clone(),
            author: bot(),
            generation: Generation::FIRST,
            fence: StreamFence { generation: Generation::FIRST, next: Position::ZERO, touched: None },
            end: StreamEnd::Deleted,
            cause: None,
            data: "null".into(),
        };
        let fate = self.store.end(&row);
        let mut out = StreamOutput::default();
        assert_eq!(self.ledger.ended(&id, fate, &mut out), Known::Open);
        self.hear(out);
        self.read_end(&id);
    }

    /// The time after which the answers that are open now have ended, in addition to that of other streams.
    pub fn longest_wait(&self) -> Duration {
        match self.store.open.keys().any(|id| self.is_answer(id)) {
            true => GIVE_UP_MARGIN + Duration::from_millis(u64::from(GIVE_UP_MS.max(ANSWER_MS))),
            false => Duration::ZERO,
        }
    }
}
