//! What the store's workers tell the reactors: answers to those who asked, and news to all.

use super::sqlite::batch::{Outcome, change_of};
use super::sqlite::log::RETRY_MS;
use crate::id::ReactorId;
use crate::job::bus::Bus;
use crate::job::{Append, AppendError, Appended, Attempt, Completion, Live, Mailbox, Offered};
use crate::metrics::store::{StoreCounters, bump};
use crate::wire::publication::{Published, Stored};
use crate::wire::push;
use crate::worker::ring;
use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The way to the reactors, of this instance and of the others.
#[derive(Clone)]
pub(super) struct Voice {
    mailboxes: Arc<[Mailbox]>,
    /// The way to the other instances.
    bus: Option<Bus>,
    counters: Arc<StoreCounters>,
}

impl Voice {
    /// Mailboxes are indexed by reactor.
    pub(super) fn new(mailboxes: Arc<[Mailbox]>, bus: Option<Bus>, counters: Arc<StoreCounters>) -> Voice {
        Voice { mailboxes, bus, counters }
    }

    /// Answers what was settled and announces what is new, then wakes each reactor once. Each job has its outcome, in order.
    pub(super) fn settled<J: Borrow<Append>>(&self, jobs: &[J], outcomes: Vec<Outcome>) {
        if outcomes.is_empty() {
            return;
        }
        let published = catch_unwind(AssertUnwindSafe(|| publish(jobs, &outcomes))).unwrap_or_else(|_| {
            // Subscribers see the gap with the next beat; the acknowledgements below are true.
            tracing::error!("announcing a batch panicked");
            Arc::from([])
        });
        for (job, outcome) in jobs.iter().map(Borrow::borrow).zip(outcomes) {
            bump(cell(&self.counters, &outcome));
            self.answer(job.ticket.reactor, Completion::Appended { ticket: job.ticket, outcome });
        }
        if !published.is_empty() {
            self.offer(&Live::Published(Arc::clone(&published)));
            if let Some(bus) = &self.bus {
                bus.publish(&published);
            }
        }
        self.mailboxes.iter().for_each(ring);
    }

    /// Tells all reactors, and wakes them.
    pub(super) fn all(&self, live: &Live) {
        self.offer(live);
        self.mailboxes.iter().for_each(ring);
    }

    fn offer(&self, live: &Live) {
        for mailbox in self.mailboxes.iter() {
            match mailbox.offer(live.clone()) {
                Offered::Taken => bump(&self.counters.live_offered),
                Offered::Missed => bump(&self.counters.live_missed),
            }
        }
    }

    /// Refuses appends of which certainly nothing is stored.
    pub(super) fn unavailable<J: Borrow<Append>>(&self, jobs: &[J]) {
        self.refuse(jobs, &AppendError::Unavailable { retry_ms: RETRY_MS });
    }

    /// Answers all of these with one error.
    pub(super) fn refuse<J: Borrow<Append>>(&self, jobs: &[J], error: &AppendError) {
        self.settled(jobs, jobs.iter().map(|_| Err(error.clone())).collect());
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

/// Encodes what a batch stored: each publication once, for all reactors.
fn publish<J: Borrow<Append>>(jobs: &[J], outcomes: &[Outcome]) -> Arc<[Published]> {
    let mut frame = Vec::new();
    let encode = |(job, outcome): (&Append, &Outcome)| {
        let Ok(Appended { offset, time_ms, attempt: Attempt::First, .. }) = outcome else { return None };
        frame.clear();
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
        push::publication(&mut frame, &job.channel, &stored);
        let (channel, frame) = (job.channel.clone(), Arc::from(frame.as_slice()));
        Some(Published { channel, offset: *offset, change, frame })
    };
    jobs.iter().map(Borrow::borrow).zip(outcomes).filter_map(encode).collect()
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
