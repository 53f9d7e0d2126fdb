//! The runs of the backend in the world of answers. The text of a run is known in advance, and no two runs have the same.

use super::answer_instance::{AnswerInstance, AnswerOrder, StoreFaults};
use super::answer_store::AnswerStore;
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::id::{ChannelName, Offset, UserName};
use seawall::job::stream::{ProducerNotice, StreamFault, StreamOrder};
use seawall::wire::stream::{Generation, Piece, Position, StreamEnd, StreamId, StreamOutcome};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// The text of a run.
#[derive(Clone, Debug)]
pub struct RunText {
    pub number: u64,
    pub answer: (ChannelName, Offset),
    pub tokens: usize,
}

impl RunText {
    pub fn new(number: u64, answer: (ChannelName, Offset), tokens: usize) -> RunText {
        RunText { number, answer, tokens }
    }

    fn token(&self, n: usize) -> String {
        let tail = ["é", "\"", "\n", "→ ", "🚀"][(self.number as usize + n) % 5];
        format!("{}.{n}{tail}", self.number)
    }

    /// The first tokens.
    pub fn until(&self, tokens: usize) -> String {
        (0..tokens).map(|n| self.token(n)).collect()
    }

    /// The number of tokens in this many bytes, if they end there.
    fn tokens_in(&self, bytes: usize) -> Option<usize> {
        (0..=self.tokens).find(|n| self.until(*n).len() == bytes)
    }

    /// True if the text begins so.
    pub fn begins_with(&self, text: &str) -> bool {
        self.until(self.tokens).starts_with(text)
    }

    /// The commands in a response.
    pub fn lines(&self) -> Vec<u8> {
        let appends = (0..self.tokens).map(|n| json!({"append": {"text": self.token(n)}}).to_string());
        let end = json!({"end": {"state": "completed"}}).to_string();
        appends.chain([end]).flat_map(|line| [line.into_bytes(), b"\n".to_vec()].concat()).collect()
    }
}

/// The part of an answer that a run has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunState {
    Writes,
    /// With the ticket of its end, and the time after which it is sent again.
    Ends(u64, Moment),
    Over,
}

/// A run that writes over a connection of its own, to any instance.
#[derive(Debug)]
pub struct Run {
    pub channel: ChannelName,
    pub answer: Offset,
    generation: Generation,
    text: RunText,
    /// Tokens that were sent, and that were acknowledged.
    sent: usize,
    kept: usize,
    next_at: Moment,
    /// The instance and its connection there.
    link: Option<(usize, u64)>,
    state: RunState,
    /// It stops when a user cancels the answer.
    obeys: bool,
    end: StreamEnd,
}

/// The things that a run acts on.
pub struct RunStage<'a> {
    pub now: Now,
    pub store: &'a AnswerStore,
    /// `None`: the instance is stopped, and takes no connection.
    pub instances: &'a mut [Option<&'a mut AnswerInstance>],
    pub faults: StoreFaults,
    pub acknowledged: &'a mut BTreeMap<(StreamId, Generation), usize>,
    pub user: &'a UserName,
}

impl Run {
    pub fn new(
        channel: ChannelName,
        answer: Offset,
        generation: Generation,
        text: RunText,
        next_at: Moment,
    ) -> Run {
        let obeys = text.number.is_multiple_of(2);
        let (sent, kept, link, state, end) = (0, 0, None, RunState::Writes, StreamEnd::Completed);
        Run { channel, answer, generation, text, sent, kept, next_at, link, state, obeys, end }
    }

    pub fn is_over(&self) -> bool {
        self.state == RunState::Over
    }

    /// The question came again: the run writes its text into the generation of the repeat.
    pub fn again(&mut self, generation: Generation) {
        (self.generation, self.sent, self.kept, self.state) = (generation, 0, 0, RunState::Writes);
    }

    /// The instance is killed, or the connection breaks.
    pub fn lose(&mut self, instance: usize) {
        if self.link.is_some_and(|(of, _)| of == instance) {
            self.link = None;
            self.back_to(self.kept);
        }
    }

    fn back_to(&mut self, tokens: usize) {
        self.sent = tokens;
        if self.state != RunState::Over {
            self.state = RunState::Writes;
        }
    }

    fn id(&self) -> StreamId {
        StreamId { channel: self.channel.clone(), offset: self.answer }
    }

    pub fn act(&mut self, stage: &mut RunStage<'_>, rng: &mut Rng) {
        if self.is_over() || self.next_at > stage.now.at {
            return;
        }
        self.next_at = stage.now.at + Duration::from_millis(rng.u64(1..150));
        let (at, connection) = match self.link {
            Some(link) => link,
            None => {
                let at = rng.usize(..stage.instances.len());
                let Some(instance) = &mut stage.instances[at] else { return };
                *self.link.insert((at, instance.number()))
            }
        };
        self.listen(at, connection, stage);
        let Some(instance) = stage.instances[at].as_deref_mut().filter(|_| self.link.is_some()) else {
            return;
        };
        if rng.u8(..100) == 0 {
            instance.detach(connection, stage.now);
            return self.lose(at);
        }
        let (generation, position) = (self.generation, self.text.until(self.sent).len());
        let at = Some(Position(position as u32));
        let (ticket, order) = match self.state {
            RunState::Over => return,
            RunState::Ends(_, again) if again > stage.now.at => return,
            RunState::Writes if self.sent < self.text.tokens => {
                let piece = Piece::Text(self.text.token(self.sent).into());
                self.sent += 1;
                (None, StreamOrder::Append { generation: Some(generation), at, piece })
            }
            RunState::Writes | RunState::Ends(..) => {
                let ticket = instance.number();
                self.state = RunState::Ends(ticket, stage.now.at + Duration::from_secs(2));
                let end = self.end;
                (Some(ticket), StreamOrder::End { generation: Some(generation), at, end, data: None })
            }
        };
        let (id, user, line) = (self.id(), stage.user.clone(), stage.faults.draw(rng));
        instance.order(AnswerOrder { connection, ticket, id, user, order }, stage.store, stage.now, line);
    }

    fn listen(&mut self, at: usize, connection: u64, stage: &mut RunStage<'_>) {
        let Some(instance) = &mut stage.instances[at] else { return };
        if let RunState::Ends(ticket, _) = self.state
            && let Some(outcome) = instance.outcomes.remove(&ticket)
        {
            match outcome {
                StreamOutcome::Ended { .. } => self.state = RunState::Over,
                StreamOutcome::Refused(fault) => self.refused(fault),
                StreamOutcome::Unavailable { .. } | StreamOutcome::Unconfirmed { .. } => {}
                outcome => panic!("{outcome:?}"),
            }
        }
        let (own, others) =
            std::mem::take(&mut instance.heard).into_iter().partition(|(of, _)| *of == connection);
        instance.heard = others;
        let own: Vec<(u64, ProducerNotice)> = own;
        for (_, notice) in own {
            match notice {
                ProducerNotice::Appended { id, generation, next } => {
                    let known = stage.acknowledged.entry((id, generation)).or_default();
                    *known = (next.0 as usize).max(*known);
                    if generation == self.generation
                        && let Some(tokens) = self.text.tokens_in(next.0 as usize)
                    {
                        self.kept = self.kept.max(tokens);
                    }
                }
                ProducerNotice::Refused { fault, .. } => self.refused(fault),
                ProducerNotice::Cancel { .. } if self.obeys => {
                    (self.text.tokens, self.end) = (self.sent, StreamEnd::Cancelled);
                }
                ProducerNotice::Cancel { .. } | ProducerNotice::Pause | ProducerNotice::Resume => {}
            }
        }
    }

    fn refused(&mut self, fault: StreamFault) {
        match fault {
            // Another run has begun, or a user has ended the answer. A refusal may be of what was sent before the question came again.
            StreamFault::Stale { generation } if generation > self.generation => self.state = RunState::Over,
            StreamFault::Stale { .. } => self.back_to(0),
            StreamFault::AlreadyEnded { .. } | StreamFault::NotFound | StreamFault::TooLarge => {
                self.state = RunState::Over;
            }
            StreamFault::Gap { next } => match self.text.tokens_in(next.0 as usize) {
                Some(tokens) => self.back_to(tokens),
                None => self.state = RunState::Over,
            },
            // Its end was at another place, or another run has the same generation.
            StreamFault::Diverged { next } => match self.text.tokens_in(next.0 as usize) {
                Some(tokens) => self.back_to(tokens),
                None => self.state = RunState::Over,
            },
            StreamFault::Overloaded { .. } => self.back_to(self.kept),
            StreamFault::ChannelFull { .. } | StreamFault::NoGeneration | StreamFault::NotAuthor => {
                panic!("{fault:?} for an honest run")
            }
        }
    }
}
