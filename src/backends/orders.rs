//! Orders about one stream, and their outcomes.

use crate::id::UserName;
use crate::job::Ticket;
use crate::job::mailbox::{MailboxItem, ThreadProducer};
use crate::job::stream::{StreamJob, StreamOrder, StreamOutcome, StreamWork};
use crate::net::deadline::now;
use crate::relay::attempt::is_repeated;
use crate::wire::stream::StreamId;
use std::time::{Duration, Instant};

/// The wait for one outcome. A commit takes milliseconds.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before an order is repeated.
const AGAIN: Duration = Duration::from_millis(200);

/// Sends an order until its outcome is known, or the deadline has passed. An order may be repeated.
pub(super) fn carried_out(
    producer: &ThreadProducer,
    id: &StreamId,
    user: &UserName,
    order: impl Fn() -> StreamOrder,
    deadline: Instant,
) -> Option<StreamOutcome> {
    loop {
        let outcome = once(producer, id, user, order(), deadline.min(now() + OUTCOME_TIMEOUT));
        if !is_repeated(outcome.as_ref()) {
            return outcome;
        }
        if now() + AGAIN >= deadline || producer.has_ended() {
            return None;
        }
        // Whatever else comes is for a stream that takes no more.
        let until = now() + AGAIN;
        while producer.receive(until).is_some() {}
    }
}

fn once(
    producer: &ThreadProducer,
    id: &StreamId,
    user: &UserName,
    order: StreamOrder,
    deadline: Instant,
) -> Option<StreamOutcome> {
    let ticket = producer.ticket()?;
    let job = StreamJob {
        producer: producer.id(),
        ticket: Some(ticket),
        id: id.clone(),
        user: user.clone(),
        order,
    };
    if producer.send(StreamWork::Job(job), deadline).is_err() {
        producer.withdraw(ticket);
        return None;
    }
    let outcome = answer(producer, ticket, deadline);
    if outcome.is_none() {
        producer.withdraw(ticket);
    }
    outcome
}

fn answer(producer: &ThreadProducer, ticket: Ticket, deadline: Instant) -> Option<StreamOutcome> {
    loop {
        match producer.receive(deadline)? {
            MailboxItem::Outcome { ticket: of, outcome } if of == ticket => return Some(outcome),
            MailboxItem::Outcome { .. } | MailboxItem::Answer { .. } | MailboxItem::Notice(_) => {}
        }
    }
}
