//! What the store's workers tell the reactors: answers to those who asked, and news to all.

use crate::id::ReactorId;
use crate::job::{Append, AppendError, Appended, Attempt, Completion, Live, Mailbox, Offered};
use crate::metrics::store::{StoreCounters, bump};
use crate::wire::publication::{Published, Stored};
use crate::wire::push;
use crate::worker::store::sqlite::batch::{Outcome, change_of};
use crate::worker::store::sqlite::log::RETRY_MS;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The way to the reactors.
#[derive(Clone)]
pub(super) struct Voice {
    mailboxes: Arc<[Mailbox]>,
    counters: Arc<StoreCounters>,
}

impl Voice {
    /// Mailboxes are indexed by reactor.
    pub(super) fn new(mailboxes: Arc<[Mailbox]>, counters: Arc<StoreCounters>) -> Voice {
        Voice { mailboxes, counters }
    }

    /// Answers what was settled and announces what is new, then wakes each reactor once.
    pub(super) fn settled(&self, settled: Vec<(Append, Outcome)>) {
        if settled.is_empty() {
            return;
        }
        let published: Arc<[Published]> = settled.iter().filter_map(publish).collect();
        for (job, outcome) in settled {
            bump(cell(&self.counters, &outcome));
            self.answer(job.ticket.reactor, Completion::Appended { ticket: job.ticket, outcome });
        }
        if !published.is_empty() {
            for mailbox in self.mailboxes.iter() {
                match mailbox.offer(Live::Published(Arc::clone(&published))) {
                    Offered::Taken => bump(&self.counters.live_offered),
                    Offered::Missed => bump(&self.counters.live_missed),
                }
            }
        }
        for mailbox in self.mailboxes.iter() {
            ring(mailbox);
        }
    }

    /// Refuses appends of which certainly nothing is stored.
    pub(super) fn unavailable(&self, jobs: impl IntoIterator<Item = Append>) {
        let error = AppendError::Unavailable { retry_ms: RETRY_MS };
        self.settled(jobs.into_iter().map(|job| (job, Err(error.clone()))).collect());
    }

    /// Answers one job, and wakes its reactor.
    pub(super) fn one(&self, reactor: ReactorId, completion: Completion) {
        self.answer(reactor, completion);
        if let Some(mailbox) = self.mailboxes.get(usize::from(reactor.0)) {
            ring(mailbox);
        }
    }

    fn answer(&self, reactor: ReactorId, completion: Completion) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(reactor.0)) {
            mailbox.answer(completion);
        }
    }
}

fn ring(mailbox: &Mailbox) {
    if let Err(error) = mailbox.ring() {
        tracing::error!(%error, "a reactor could not be woken");
    }
}

/// Encodes a publication that was stored: once, for all reactors.
fn publish((job, outcome): &(Append, Outcome)) -> Option<Published> {
    let Ok(Appended { offset, time_ms, attempt: Attempt::First, .. }) = outcome else { return None };
    let change = change_of(job.change);
    let stored = Stored {
        offset: *offset,
        key: job.key.as_ref().map(|key| key.as_str()),
        user: job.user.as_str(),
        time_ms: *time_ms,
        change,
        deleted_by: None,
        data: &job.data,
    };
    let mut frame = Vec::new();
    push::publication(&mut frame, &job.channel, &stored);
    Some(Published { channel: job.channel.clone(), offset: *offset, change, frame: Arc::from(frame) })
}

fn cell<'a>(counters: &'a StoreCounters, outcome: &Outcome) -> &'a AtomicU64 {
    match outcome {
        Ok(Appended { attempt: Attempt::First, .. }) => &counters.appends,
        Ok(Appended { attempt: Attempt::Repeat, .. }) => &counters.duplicates,
        Err(AppendError::KeyConflict) => &counters.refused_key_conflict,
        Err(AppendError::NotFound) => &counters.refused_not_found,
        Err(AppendError::NotAuthor) => &counters.refused_not_author,
        Err(AppendError::TooManyChannels) => &counters.refused_too_many_channels,
        Err(AppendError::Unavailable { .. }) => &counters.unavailable,
        Err(AppendError::Unconfirmed { .. }) => &counters.unconfirmed,
    }
}
