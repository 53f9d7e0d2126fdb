//! The exchange with the workers and the other reactors: their answers and broadcasts in, and the engine's jobs out.

use super::Reactor;
use crate::engine::Job;
use crate::job::Broadcast;
use crate::job::bus::Interest;
use crate::job::stream::StreamWork;
use std::sync::Arc;

/// Jobs for which memory is kept: when a crowd leaves, each of its peers has a job in one turn.
const JOBS_KEPT: usize = 1_024;

/// A queue whose jobs must stay in their order. Once it refused one, it must not get the later ones of the same jobs either.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OrderedLane {
    Open,
    Full,
}

/// The queues of that kind.
struct OrderedLanes {
    bus: OrderedLane,
    streams: OrderedLane,
}

impl Reactor {
    /// Hands the engine the broadcasts and completions that arrived, within its quotas, and sends its jobs.
    pub(super) fn exchange(&mut self) {
        self.inbox.rearm();
        if self.engine.gathers(self.inbox.answers.len(), self.inbox.live.len()) {
            return;
        }
        self.stream_loss.look(&self.inbox);
        while self.engine.wants_broadcast()
            && let Ok(broadcast) = self.inbox.live.try_recv()
        {
            self.stream_loss.taken();
            match broadcast {
                Broadcast::Lookup(lookup) => lookup.answer(self.engine.look_up(&lookup.wanted)),
                broadcast => self.engine.handle_broadcast(broadcast),
            }
        }
        if self.inbox.take_missed() {
            self.engine.handle_missed();
        }
        if self.inbox.take_missed_rosters() {
            self.engine.handle_missed_rosters();
        }
        if self.stream_loss.is_due() {
            self.engine.handle_missed_streams();
        }
        self.engine.finish_broadcasts();
        while self.engine.wants_completion()
            && let Ok(completion) = self.inbox.answers.try_recv()
        {
            self.engine.handle_completion(completion);
        }
        self.engine.set_read_room(self.queues.read_room());
        if self.engine.wants_stream_room() {
            self.engine.set_stream_room(self.queues.streams.room());
        }
        self.engine.finish_completions(self.queues.auth_room());
        self.send_jobs();
    }

    /// Sends the engine's jobs. A job that does not fit is returned to the engine, so that its client still gets an answer.
    pub(super) fn send_jobs(&mut self) {
        let mut jobs = std::mem::take(&mut self.jobs);
        loop {
            self.engine.take_jobs(&mut jobs);
            if jobs.is_empty() {
                break;
            }
            let mut lanes = OrderedLanes { bus: OrderedLane::Open, streams: OrderedLane::Open };
            for job in jobs.drain(..) {
                if let Err(refused) = self.send(job, &mut lanes) {
                    self.engine.handle_refused(refused);
                }
            }
            self.engine.set_read_room(self.queues.read_room());
        }
        jobs.shrink_to(JOBS_KEPT);
        self.jobs = jobs;
    }

    #[allow(clippy::result_large_err, reason = "a job comes back seldom, and a box would cost each one")]
    fn send(&mut self, job: Job, lanes: &mut OrderedLanes) -> Result<(), Job> {
        match job {
            Job::Append(append) => {
                self.queues.append.try_send(append).map_err(|full| Job::Append(full.into_inner()))
            }
            Job::Read(read) => self.queues.read.try_send(read).map_err(|full| Job::Read(full.into_inner())),
            Job::Admit(admit) => {
                self.queues.admit.try_send(admit).map_err(|full| Job::Admit(full.into_inner()))
            }
            Job::Presence(job) => self.queues.presence.send(job).map_err(Job::Presence),
            Job::Stream(work) => self.send_stream(work, &mut lanes.streams).map_err(Job::Stream),
            Job::Report(report) => self.queues.reports.send(report).map_err(Job::Report),
            Job::Interest(interest) => self.send_interest(interest, &mut lanes.bus).map_err(Job::Interest),
            Job::Signal { channel, frame } => {
                if let Some(bus) = &self.queues.bus {
                    bus.signal(&channel, &frame);
                }
                for (index, mailbox) in self.orders.mailboxes().iter().enumerate() {
                    if index != usize::from(self.id.0) {
                        mailbox
                            .offer(Broadcast::Signal { channel: channel.clone(), frame: Arc::clone(&frame) });
                        if let Err(error) = mailbox.wake() {
                            tracing::warn!(%error, reactor = index, "reactor not woken");
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn send_stream(&self, work: Box<StreamWork>, lane: &mut OrderedLane) -> Result<(), Box<StreamWork>> {
        match lane {
            OrderedLane::Open => self.queues.streams.send(*work).map_err(|work| {
                *lane = OrderedLane::Full;
                Box::new(work)
            }),
            OrderedLane::Full => Err(work),
        }
    }

    fn send_interest(&self, interest: Interest, lane: &mut OrderedLane) -> Result<(), Interest> {
        match &self.queues.bus {
            Some(bus) if *lane == OrderedLane::Open => {
                bus.want(interest).inspect_err(|_| *lane = OrderedLane::Full)
            }
            Some(_) | None => Err(interest),
        }
    }
}
