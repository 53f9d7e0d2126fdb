//! Commands about streams on their way to the ledger, and the answers to those about streams that are not open.

use crate::clock::Moment;
use crate::id::{Epoch, ProducerId, UserName};
use crate::job::stream::{StreamJob, StreamOrder};
use crate::job::{CancelAuthority, Ticket};
use crate::metrics::streams::StreamCounters;
use crate::store::answers::Answers;
use crate::store::open_streams::Output;
use crate::stream::{CancelRight, EndFate, EndRow, Known, Ledger, StreamAppend, StreamFinish, StreamSender};
use crate::wire::publication::{Change, Published, Stored};
use crate::wire::push;
use crate::wire::stream::{ProducerNotice, StreamEnd, StreamFault, StreamId, StreamMark, StreamOutcome};
use std::sync::Arc;

/// A command about a stream that is not open.
pub(super) struct LateCommand {
    pub(super) ticket: Option<Ticket>,
    pub(super) producer: ProducerId,
    pub(super) user: UserName,
    pub(super) id: StreamId,
    pub(super) asked: LateOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LateOrder {
    Write,
    End(StreamEnd),
    Cancel,
    /// By a user who must not learn that there was a stream.
    CancelUnseen,
}

/// Gives an order to the ledger. Returns the command if its stream is not open.
pub(super) fn order(
    ledger: &mut Ledger<Ticket>,
    job: StreamJob,
    now: Moment,
    out: &mut Output,
) -> Option<LateCommand> {
    let StreamJob { producer, ticket, id, user, order } = job;
    let sender = StreamSender { producer, user: &user, ticket };
    let (known, asked) = match order {
        StreamOrder::Append { generation, at, piece } => {
            (ledger.take(&id, sender, StreamAppend { generation, at, piece }, now, out), LateOrder::Write)
        }
        StreamOrder::Restart => (ledger.restart(&id, sender, now, out), LateOrder::Write),
        StreamOrder::End { generation, at, end, data } => {
            let finish = StreamFinish { generation, at, end, data };
            (ledger.end(&id, sender, finish, now, out), LateOrder::End(end))
        }
        StreamOrder::Cancel { authority } => {
            let (right, asked) = match authority {
                CancelAuthority::Moderator => (CancelRight::All, LateOrder::Cancel),
                CancelAuthority::Reader => (CancelRight::Own, LateOrder::Cancel),
                CancelAuthority::Outsider => (CancelRight::Own, LateOrder::CancelUnseen),
            };
            (ledger.cancel(&id, sender, right, now, out), asked)
        }
        StreamOrder::Take => (ledger.process(&id, sender, now, out), LateOrder::Write),
        StreamOrder::Fail { cause } => {
            (ledger.fail(&id, sender, cause, out), LateOrder::End(StreamEnd::Failed))
        }
        StreamOrder::Attach => {
            let _ = ledger.attach(&id, producer, now, out);
            return None;
        }
    };
    match known {
        Known::Open => None,
        Known::No => Some(LateCommand { ticket, producer, user, id, asked }),
    }
}

impl LateCommand {
    /// The answer if the stream has ended so; `None`: there never was one.
    pub(super) fn outcome(&self, end: Option<EndFate>) -> StreamOutcome {
        let Some(EndFate { end, edit }) = end else {
            return StreamOutcome::Refused(StreamFault::NotFound);
        };
        match self.asked {
            LateOrder::End(wanted) if wanted == end => StreamOutcome::Ended { edit, end, duplicate: true },
            LateOrder::Cancel => StreamOutcome::Ended { edit, end, duplicate: true },
            LateOrder::CancelUnseen => StreamOutcome::Refused(StreamFault::NotFound),
            LateOrder::Write | LateOrder::End(_) => {
                StreamOutcome::Refused(StreamFault::AlreadyEnded { end, edit })
            }
        }
    }

    /// Answers it: with a notice if it has no ticket, and only if it is refused.
    pub(super) fn answer(self, outcome: StreamOutcome, out: &mut Output) {
        match (self.ticket, outcome) {
            (Some(ticket), outcome) => out.replies.push((ticket, outcome)),
            (None, StreamOutcome::Refused(fault)) => {
                out.notices.push((self.producer, ProducerNotice::Refused { id: self.id, fault }));
            }
            (None, _) => {}
        }
    }
}

/// Sends what the ledger has for reactors, and counts the refusals in it.
pub(super) fn deliver(out: &mut Output, counters: &StreamCounters, answers: &Answers, epoch: Epoch) {
    if out.is_empty() {
        return;
    }
    let refused = |outcome: &StreamOutcome| match outcome {
        StreamOutcome::Refused(fault) => Some(*fault),
        _ => None,
    };
    let of_notice = |notice: &ProducerNotice| match notice {
        ProducerNotice::Refused { fault, .. } => Some(*fault),
        _ => None,
    };
    let faults = out.replies.iter().filter_map(|(_, outcome)| refused(outcome));
    let faults = faults.chain(out.notices.iter().filter_map(|(_, notice)| of_notice(notice)));
    faults.for_each(|fault| counters.count_refusal(fault));
    out.answers.drain(..).for_each(|fact| counters.answers.count(fact));
    answers.streams(std::mem::take(out), epoch);
}

/// The edit that ended a stream, as it is announced.
pub(super) fn published(row: &EndRow, fate: EndFate, time_ms: u64) -> Published {
    let (change, stream) = (Change::Edits(row.id.offset), StreamMark::Ended(fate.end));
    let stored = Stored {
        offset: fate.edit,
        key: None,
        user: row.author.as_str(),
        time_ms,
        change,
        stream,
        deleted_by: None,
        data: &row.data,
    };
    let mut frame = Vec::new();
    push::publication(&mut frame, &row.id.channel, &stored);
    let (channel, frame) = (row.id.channel.clone(), Arc::from(frame));
    Published { channel, offset: fate.edit, change, stream, time_ms, frame }
}
