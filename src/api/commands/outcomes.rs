//! Turns the answers of the workers into replies.

use super::judge::AskedObject;
use super::problem::{self, LATE_RETRY_MS};
use super::replies::{Reply, line};
use super::sender::{CommandSender, PendingCommand};
use crate::api::publish;
use crate::api::server::STORE;
use crate::clock::Now;
use crate::id::{CommandId, UserName};
use crate::job::mailbox::MailboxItem;
use crate::job::stream::{ProducerNotice, StreamFault, StreamJob, StreamOrder, StreamOutcome, StreamWork};
use crate::job::{AppendError, Appended, Attempt, Completion, ReadError, Ticket};
use crate::limits::REPLY_TIMEOUT;
use crate::metrics::api::ItemOutcome;
use crate::session::StreamRefusal;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::push::{self, PublishedReply};
use crate::wire::stream::StreamId;
use std::time::Instant;

impl<C: Fn() -> Now> CommandSender<'_, C> {
    /// Turns what came into a reply. `None` for an answer that came too late.
    pub(super) fn take(&mut self, item: MailboxItem) -> Option<Reply> {
        match item {
            MailboxItem::Notice(ProducerNotice::Appended { id, generation, next }) => {
                Some(Reply::Appended { id: None, stream: id, generation, next })
            }
            MailboxItem::Notice(ProducerNotice::Refused { id, fault }) => {
                self.unanswered.remove(&id);
                Some(self.failed(None, problem::of_stream(StreamRefusal::Fault(fault), &id)))
            }
            MailboxItem::Notice(ProducerNotice::Cancel { id, generation, user, end_ms }) => {
                Some(Reply::Cancel(line(|out| push::cancel(out, &id, generation, &user, end_ms))))
            }
            MailboxItem::Notice(ProducerNotice::Pause | ProducerNotice::Resume) => None,
            MailboxItem::Outcome { ticket, outcome } => {
                let PendingCommand { id, asked, .. } = self.answered(ticket)?;
                match asked {
                    AskedObject::Write(stream) => Some(self.written(id, stream, &outcome)),
                    AskedObject::Publish { .. } | AskedObject::Show(_) | AskedObject::History(_) => None,
                }
            }
            MailboxItem::Answer { ticket, completion } => {
                let Some(command) = self.answered(ticket) else {
                    self.late_begin(&completion);
                    return None;
                };
                self.completed(command, completion)
            }
        }
    }

    fn answered(&mut self, ticket: Ticket) -> Option<PendingCommand> {
        let place = self.pending.iter().position(|command| command.ticket == ticket)?;
        self.pending.remove(place)
    }

    fn written(&self, id: Option<CommandId>, stream: StreamId, outcome: &StreamOutcome) -> Reply {
        let refusal = match *outcome {
            StreamOutcome::Appended { generation, next } => {
                return Reply::Appended { id, stream, generation, next };
            }
            StreamOutcome::Refused(fault) => StreamRefusal::Fault(fault),
            StreamOutcome::Unconfirmed { retry_ms } => StreamRefusal::Unconfirmed { retry_ms },
            StreamOutcome::Unavailable { retry_ms } => {
                return self.failed(id, unavailable("nothing was done", retry_ms).of_stream(stream, None));
            }
            StreamOutcome::Restarted { .. }
            | StreamOutcome::Processing { .. }
            | StreamOutcome::Ended { .. }
            | StreamOutcome::Cancelling => {
                let id = id.unwrap_or(CommandId(0));
                return Reply::Done(line(|out| push::stream_answered(out, id, &stream, outcome)));
            }
        };
        self.failed(id, problem::of_stream(refusal, &stream))
    }

    fn completed(&mut self, command: PendingCommand, completion: Completion) -> Option<Reply> {
        let PendingCommand { id, asked, .. } = command;
        // Only appends of streams have no id.
        let number = id.unwrap_or(CommandId(0));
        let reply = match (asked, completion) {
            (AskedObject::Publish { channel, key, user }, Completion::Appended { outcome, .. }) => {
                let appended = match outcome {
                    Ok(appended) => appended,
                    Err(error) => {
                        self.server.counters.count(ItemOutcome::Failed);
                        return Some(self.failed(id, published_problem(&error)));
                    }
                };
                self.server.counters.count(match appended.attempt {
                    Attempt::First => ItemOutcome::Stored,
                    Attempt::Repeat => ItemOutcome::Duplicate,
                });
                let stream = StreamId { channel: channel.clone(), offset: appended.offset };
                self.attach(stream, user, &appended);
                let published = PublishedReply {
                    channel: &channel,
                    key: key.as_ref().map(|key| key.as_str()),
                    epoch: appended.epoch,
                    offset: appended.offset,
                    time_ms: appended.time_ms,
                    duplicate: appended.attempt == Attempt::Repeat,
                    stream: appended.stream,
                    answer: appended.answer,
                };
                Reply::Done(line(|out| push::published(out, number, &published)))
            }
            (AskedObject::History(channel), Completion::Page { outcome: Ok(page), .. }) => {
                Reply::Done(line(|out| push::history(out, number, &channel, page.position, &page.body)))
            }
            (AskedObject::Show(stream), Completion::StreamRead { outcome: Ok(wholes), .. }) => {
                match wholes.first() {
                    Some(whole) => Reply::Done(line(|out| push::stream_read(out, number, whole))),
                    None => {
                        let refusal = StreamRefusal::Fault(StreamFault::NotFound);
                        self.failed(id, problem::of_stream(refusal, &stream))
                    }
                }
            }
            (AskedObject::Show(stream), Completion::StreamEnded { end, edit, .. }) => {
                let refusal = StreamRefusal::Fault(StreamFault::AlreadyEnded { end, edit });
                self.failed(id, problem::of_stream(refusal, &stream))
            }
            (
                AskedObject::History(_) | AskedObject::Show(_),
                Completion::Page { outcome: Err(ReadError { retry_ms }), .. }
                | Completion::StreamRead { outcome: Err(ReadError { retry_ms }), .. },
            ) => self.failed(id, unavailable("nothing was read", retry_ms)),
            _ => return None,
        };
        Some(reply)
    }

    /// Becomes the producer of a stream that a repeated begin found open.
    fn attach(&mut self, id: StreamId, user: UserName, appended: &Appended) {
        let is_open = appended.stream.is_some_and(|begun| begun.ended.is_none());
        if is_open && appended.attempt == Attempt::Repeat {
            let (producer, order) = (self.producer.id(), StreamOrder::Attach);
            self.owed.push_back(StreamWork::Job(StreamJob { producer, ticket: None, id, user, order }));
        }
    }

    /// Counts a publication whose reply was given up.
    fn late_begin(&self, completion: &Completion) {
        if let Completion::Appended { outcome, .. } = completion {
            self.server.counters.count(match outcome {
                Ok(Appended { attempt: Attempt::First, .. }) => ItemOutcome::Stored,
                Ok(Appended { attempt: Attempt::Repeat, .. }) => ItemOutcome::Duplicate,
                Err(_) => ItemOutcome::Failed,
            });
        }
    }

    /// The reply to a command that was not answered in time.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Reply> {
        let command = self.pending.pop_front_if(|command| now >= command.sent + REPLY_TIMEOUT)?;
        let PendingCommand { ticket, id, asked, .. } = command;
        let problem = match asked {
            // Its places in the queue are held until it is answered.
            AskedObject::Publish { .. } => {
                published_problem(&AppendError::Unconfirmed { retry_ms: LATE_RETRY_MS })
            }
            AskedObject::Write(stream) => {
                self.producer.withdraw(ticket);
                problem::of_stream(StreamRefusal::Unconfirmed { retry_ms: LATE_RETRY_MS }, &stream)
            }
            AskedObject::Show(_) | AskedObject::History(_) => {
                self.producer.withdraw(ticket);
                unavailable("nothing was read", LATE_RETRY_MS)
            }
        };
        Some(self.failed(id, problem))
    }
}

fn published_problem(error: &AppendError) -> ApiProblem {
    publish::problem(error)
}

fn unavailable(consequence: &str, retry_ms: u32) -> ApiProblem {
    let detail = format!("the store did not take it; {consequence}");
    ApiProblem { dependency: Some(STORE), ..ApiProblem::passing(ProblemCode::Unavailable, detail, retry_ms) }
}
