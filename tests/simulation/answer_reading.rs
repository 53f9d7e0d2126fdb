//! The reading of a response in the world of answers, with the real reader of bodies.

use super::answer_backend::BodyRead;
use super::answer_instance::AnswerOrder;
use super::answer_relay::RelayStage;
use seawall::clock::Moment;
use seawall::job::stream::{ProducerNotice, StreamFault, StreamOrder, StreamOutcome};
use seawall::relay::answer::BodyForm;
use seawall::relay::attempt::is_repeated;
use seawall::relay::response::{ResponseFault, ResponseOrder, ResponseReader};
use seawall::relay::route::RelayRoute;
use seawall::wire::stream::{Generation, Position, StreamEnd, StreamId};
use std::collections::VecDeque;
use std::time::Duration;

/// The silence of a response that has begun.
pub const IDLE: Duration = Duration::from_secs(8);
const STORE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the reading ends before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Failed,
    Cancelled,
    /// The answer takes no more: it has ended, or another attempt writes it.
    Over,
    Broken,
}

impl From<ResponseFault> for Stop {
    fn from(_: ResponseFault) -> Stop {
        Stop::Failed
    }
}

/// The end that is being stored.
struct Ending {
    end: StreamEnd,
    /// `None`: after what there is.
    at: Option<Position>,
    ticket: Option<u64>,
    again: Moment,
    deadline: Moment,
}

pub struct AnswerReading {
    pub call: u64,
    pub id: StreamId,
    generation: Generation,
    connection: u64,
    reader: ResponseReader,
    orders: VecDeque<ResponseOrder>,
    /// The body has come to its proper end.
    is_read: bool,
    pub is_closed: bool,
    has_begun: bool,
    silent_until: Moment,
    ending: Option<Ending>,
}

impl AnswerReading {
    pub fn new(
        (call, form): (u64, BodyForm),
        (id, generation): (StreamId, Generation),
        message_id: &str,
        route: &RelayRoute,
        stage: &mut RelayStage<'_>,
    ) -> AnswerReading {
        AnswerReading {
            call,
            // A text that is too long fails, because nothing here continues it.
            reader: ResponseReader::new(form, Some((id.clone(), generation)), message_id, usize::MAX),
            id,
            generation,
            connection: stage.instance.number(),
            orders: VecDeque::new(),
            is_read: false,
            is_closed: false,
            has_begun: false,
            silent_until: stage.now.at + route.answer,
            ending: None,
        }
    }

    /// Goes on. True at the end.
    pub fn turn(&mut self, route: &RelayRoute, stage: &mut RelayStage<'_>) -> bool {
        if self.ending.is_some() {
            return self.end(route, stage);
        }
        let stop = match self.receive(stage).and_then(|()| self.read(route, stage)) {
            Ok(false) => return false,
            Ok(true) => None,
            Err(Stop::Broken) if self.is_closed => Some(Stop::Cancelled),
            Err(stop) => Some(stop),
        };
        let end = match stop {
            // The proper end is in the orders already.
            None => return self.ending.is_none() && self.leave(stage),
            Some(Stop::Failed) => StreamEnd::Failed,
            Some(Stop::Cancelled) => StreamEnd::Cancelled,
            Some(Stop::Over) => return self.leave(stage),
            Some(Stop::Broken) => {
                if !self.has_begun {
                    // It was the producer, although it has sent nothing.
                    self.send(StreamOrder::Attach, route, stage);
                }
                return self.leave(stage);
            }
        };
        self.begin_end(end, None, stage);
        false
    }

    /// The connection ends, and the answer loses this producer.
    fn leave(&mut self, stage: &mut RelayStage<'_>) -> bool {
        stage.instance.detach(self.connection, stage.now);
        stage.backend.close(self.call);
        true
    }

    fn send(&mut self, order: StreamOrder, route: &RelayRoute, stage: &mut RelayStage<'_>) {
        let (connection, id, user) = (self.connection, self.id.clone(), route.user.clone());
        let line = stage.faults.draw(stage.rng);
        let job = AnswerOrder { connection, ticket: None, id, user, order };
        stage.instance.order(job, stage.store, stage.now, line);
    }

    fn receive(&mut self, stage: &mut RelayStage<'_>) -> Result<(), Stop> {
        let connection = self.connection;
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut stage.instance.heard).into_iter().partition(|(of, _)| *of == connection);
        stage.instance.heard = others;
        for (_, notice) in own {
            match notice {
                ProducerNotice::Refused { fault: StreamFault::TooLarge, .. } => return Err(Stop::Failed),
                ProducerNotice::Refused { .. } => return Err(Stop::Over),
                ProducerNotice::Cancel { .. } => return Err(Stop::Cancelled),
                ProducerNotice::Appended { .. } | ProducerNotice::Pause | ProducerNotice::Resume => {}
            }
        }
        Ok(())
    }

    /// Reads, and carries out. True: everything is done, or its end is being stored.
    fn read(&mut self, route: &RelayRoute, stage: &mut RelayStage<'_>) -> Result<bool, Stop> {
        if self.is_closed {
            return Err(Stop::Broken);
        }
        let orders = &mut self.orders;
        let mut take = |order| -> Result<(), Stop> {
            orders.push_back(order);
            Ok(())
        };
        match stage.backend.read(self.call, stage.now) {
            _ if self.is_read => {}
            BodyRead::Waits if stage.now.at >= self.silent_until => return Err(Stop::Broken),
            BodyRead::Waits => {}
            BodyRead::Broken => return Err(Stop::Broken),
            BodyRead::Bytes(bytes) => {
                self.silent_until = stage.now.at + if self.has_begun { IDLE } else { route.answer };
                self.reader.push(&bytes, &mut take)?;
            }
            BodyRead::End => {
                self.is_read = true;
                self.reader.finish(&mut take)?;
            }
        }
        while let Some(order) = self.orders.pop_front() {
            match order {
                ResponseOrder::Append { generation, at, piece } => {
                    self.has_begun = true;
                    let order = StreamOrder::Append { generation: Some(generation), at: Some(at), piece };
                    self.send(order, route, stage);
                    self.receive(stage)?;
                }
                ResponseOrder::End { at, end, .. } => {
                    self.begin_end(end, Some(at), stage);
                    return Ok(false);
                }
                ResponseOrder::Restart | ResponseOrder::Publish { .. } | ResponseOrder::Continue { .. } => {
                    panic!("not sent here: {order:?}")
                }
            }
        }
        Ok(self.is_read)
    }

    fn begin_end(&mut self, end: StreamEnd, at: Option<Position>, stage: &RelayStage<'_>) {
        let (again, deadline) = (stage.now.at, stage.now.at + STORE_TIMEOUT);
        self.ending = Some(Ending { end, at, ticket: None, again, deadline });
    }

    fn end(&mut self, route: &RelayRoute, stage: &mut RelayStage<'_>) -> bool {
        let generation = Some(self.generation);
        let (connection, id, user) = (self.connection, self.id.clone(), route.user.clone());
        let Some(ending) = &mut self.ending else { return false };
        let outcome = ending.ticket.and_then(|ticket| stage.instance.outcomes.remove(&ticket));
        let is_known = !is_repeated(outcome.as_ref());
        match outcome {
            // A piece before it was refused, and its notice was not received.
            Some(StreamOutcome::Refused(StreamFault::Gap { .. } | StreamFault::TooLarge))
                if ending.at.is_some() =>
            {
                self.begin_end(StreamEnd::Failed, None, stage);
                return false;
            }
            Some(_) if is_known => return self.leave(stage),
            Some(_) | None => {}
        }
        if stage.now.at >= ending.deadline {
            return self.leave(stage);
        }
        if ending.again <= stage.now.at {
            ending.again = stage.now.at + Duration::from_secs(1);
            ending.ticket = Some(stage.instance.number());
            let order = StreamOrder::End { generation, at: ending.at, end: ending.end, data: None };
            let job = AnswerOrder { connection, ticket: ending.ticket, id, user, order };
            let line = stage.faults.draw(stage.rng);
            stage.instance.order(job, stage.store, stage.now, line);
        }
        false
    }
}
