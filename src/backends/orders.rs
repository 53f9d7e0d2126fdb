//! Orders about one stream, and their outcomes.

use crate::id::UserName;
use crate::job::Ticket;
use crate::job::mailbox::{MailboxItem, ThreadProducer};
use crate::job::stream::{ProducerNotice, StreamJob, StreamOrder, StreamOutcome, StreamWork};
use crate::net::deadline::now;
use crate::relay::attempt::is_repeated;
use crate::wire::stream::StreamId;
use std::time::{Duration, Instant};

/// The wait for one outcome. A commit takes milliseconds.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before an order is repeated.
const AGAIN: Duration = Duration::from_millis(200);

/// Sends an order until its outcome is known, or the deadline has passed. An order may be repeated. Notices that come meanwhile are for
/// a stream that takes no more.
pub(super) fn carried_out(
    producer: &ThreadProducer,
    id: &StreamId,
    user: &UserName,
    order: impl Fn() -> StreamOrder,
    deadline: Instant,
) -> Option<StreamOutcome> {
    carried_out_beside(producer, id, user, order, deadline, |_| {})
}

/// The same for a stream that another one continues: notices are given to `notice`.
pub(super) fn carried_out_beside(
    producer: &ThreadProducer,
    id: &StreamId,
    user: &UserName,
    order: impl Fn() -> StreamOrder,
    deadline: Instant,
    mut notice: impl FnMut(ProducerNotice),
) -> Option<StreamOutcome> {
    loop {
        let outcome = once(producer, id, user, order(), deadline.min(now() + OUTCOME_TIMEOUT), &mut notice);
        if !is_repeated(outcome.as_ref()) {
            return outcome;
        }
        if now() + AGAIN >= deadline || producer.has_ended() {
            return None;
        }
        let until = now() + AGAIN;
        while let Some(item) = producer.receive(until) {
            pass_on(item, &mut notice);
        }
    }
}

fn once(
    producer: &ThreadProducer,
    id: &StreamId,
    user: &UserName,
    order: StreamOrder,
    deadline: Instant,
    notice: &mut impl FnMut(ProducerNotice),
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
    let outcome = answer(producer, ticket, deadline, notice);
    if outcome.is_none() {
        producer.withdraw(ticket);
    }
    outcome
}

fn answer(
    producer: &ThreadProducer,
    ticket: Ticket,
    deadline: Instant,
    notice: &mut impl FnMut(ProducerNotice),
) -> Option<StreamOutcome> {
    loop {
        match producer.receive(deadline)? {
            MailboxItem::Outcome { ticket: of, outcome } if of == ticket => return Some(outcome),
            item => pass_on(item, notice),
        }
    }
}

fn pass_on(item: MailboxItem, notice: &mut impl FnMut(ProducerNotice)) {
    match item {
        MailboxItem::Notice(given) => notice(given),
        MailboxItem::Outcome { .. } | MailboxItem::Answer { .. } => {}
    }
}
