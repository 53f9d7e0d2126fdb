//! Performs the effects of sessions: requests to workers, signals, and the end of a connection.

use super::Engine;
use super::ended::SessionEnding;
use super::order::Job;
use super::peer::{Awaited, Closing, Stage};
use super::pending::{Request, Unanswered};
use super::promises::MessageName;
use super::slots::SlotId;
use super::turns::StoreLine;
use crate::clock::Moment;
use crate::close::{CloseReason, Farewell};
use crate::health::snapshot::Availability;
use crate::health::template::Template;
use crate::hub::SubscriptionId;
use crate::job::bus::Interest;
use crate::job::client_errors::ReportJob;
use crate::job::presence::{PageReply, PresenceJob};
use crate::job::{Append, AppendError, AuthJob, Form, Occasion, PageRequest, Read, StreamRequest, Ticket};
use crate::limits::{CLOSE_TIMEOUT, HISTORY_PAGE_BYTES_MAX};
use crate::session::{AppendEffect, AppendOutcome, Effect, ReportEffect};
use crate::slo::{BadCause, SloOutcome};
use crate::wire::push;
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::BeginStream;

/// The dependency without which nothing is published.
const STORE: &str = "store";
/// The close code of an outage.
const UNAVAILABLE: u16 = 1011;

impl Engine {
    pub(super) fn perform(&mut self, id: SlotId, effect: Effect) {
        match effect {
            Effect::Append(append) => self.append(id, *append),
            Effect::History { id: command, channel, range, limit, asked } => {
                let request = Request::History { slot: id, id: command, channel: channel.clone(), asked };
                let (span, bytes_max, form) = (range.into(), HISTORY_PAGE_BYTES_MAX, Form::Json);
                self.ask_in_turn(id, StoreLine::Pages, request, asked, |ticket| {
                    Job::Read(Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form }))
                });
            }
            Effect::CheckToken { token, occasion, id: command, asked } => {
                let Some(address) = self.peers.get(id).map(|peer| peer.address) else { return };
                let request = Request::Token { slot: id, id: command, asked };
                self.ask(request, asked, |ticket| {
                    Job::Admit(AuthJob::CheckToken { ticket, token, occasion, address })
                });
            }
            Effect::Recheck { token, user } => {
                let Some(address) = self.peers.get(id).map(|peer| peer.address) else { return };
                let (token, occasion) = (Box::from(&*token), Occasion::Recheck(user));
                self.ask(Request::Recheck { slot: id }, self.now.at, |ticket| {
                    Job::Admit(AuthJob::CheckToken { ticket, token, occasion, address })
                });
            }
            // This reactor's subscribers get a signal now, and the others' through their lanes.
            Effect::Signal { channel, frame } => {
                self.tally.signals.add(1);
                self.hub.signal(&channel, &frame);
                self.out.jobs.push(Job::Signal { channel, frame });
            }
            Effect::Roster(effect) => self.perform_roster(id, *effect),
            Effect::Report(effect) => self.report_errors(id, *effect),
            Effect::Stream(effect) => self.stream_command(id, *effect),
            Effect::Replay(subscription) => self.step(subscription),
            Effect::Replied { asked } => self.count_reply(asked),
            Effect::ReplyLate => self.count_no_reply(),
            Effect::ReleaseUser(user) => self.release(AuthJob::ReleaseUser { user }),
            Effect::OverLimit(bound) => self.report_limit(id, bound),
            Effect::Close(reason) => self.close(id, reason),
            Effect::Deny(reason) => self.end_with(id, reason),
        }
    }

    fn append(&mut self, slot: SlotId, effect: AppendEffect) {
        let AppendEffect { id, channel, user, key, change, creation, data, stream, claims, asked } = effect;
        // Nothing is sent to a store that is down, because its queue would fill with jobs that are answered late. While
        // verdicts are only observed, the store is asked.
        let doubted = matches!(self.rounds.health.snapshot.availability, Availability::Observe(_));
        if !doubted && let Some(outage) = self.rounds.health.snapshot.outage_of(STORE) {
            let retry_ms = outage.retry_ms(self.now.at, self.random.f32());
            let outcome = AppendOutcome::Answered(Err(AppendError::Unavailable { retry_ms }));
            return self.appended(
                slot,
                id,
                MessageName { channel: &channel, user: &user, key: key.as_ref() },
                outcome,
            );
        }
        let (own_channel, own_user, own_key) = (channel.clone(), user.clone(), key.clone());
        let request = Request::Append { slot, id, channel: own_channel, user: own_user, key: own_key, asked };
        let stream =
            stream.map(|options| Box::new(BeginStream { options: *options, producer: self.produce(slot) }));
        let (begins, mut asked_as) = (stream.is_some(), None);
        self.ask_in_turn(slot, StoreLine::Appends, request, asked, |ticket| {
            asked_as = Some(ticket);
            Job::Append(Append { ticket, channel, user, key, change, creation, data, stream, claims })
        });
        if let (true, Some(ticket)) = (begins, asked_as) {
            self.streams.begin_asked(ticket, slot, self.now.at);
        }
    }

    fn report_errors(&mut self, slot: SlotId, effect: ReportEffect) {
        let ReportEffect { id, reporter, client, errors, dropped, asked } = effect;
        self.ask(Request::Report { slot, id, asked }, asked, |ticket| {
            Job::Report(Box::new(ReportJob { ticket, reporter, client, errors, dropped, asked }))
        });
    }

    /// Asks a worker. If too many requests are outstanding, the request is answered at once.
    pub(super) fn ask(&mut self, request: Request, asked: Moment, job: impl FnOnce(Ticket) -> Job) {
        let recoveries = u64::from(request.is_recovery());
        match self.pending.insert(request, asked) {
            Err(request) => self.answer_without_worker(request, Unanswered::Refused),
            Ok(ticket) => {
                self.tally.recovery_reads.add(recoveries);
                self.hand_out(job(ticket));
            }
        }
    }

    pub(super) fn hand_out(&mut self, job: Job) {
        match job {
            Job::Append(_) => self.tally.publishes.add(1),
            Job::Read(_) => self.out.read_room = self.out.read_room.saturating_sub(1),
            Job::Admit(_)
            | Job::Interest(_)
            | Job::Signal { .. }
            | Job::Presence(_)
            | Job::Report(_)
            | Job::Stream(_) => {}
        }
        self.out.jobs.push(job);
    }

    /// Has the auth worker release a user or an address.
    pub(super) fn release(&mut self, release: AuthJob) {
        self.out.jobs.push(Job::Admit(release));
    }

    /// Hands out releases that the auth worker had no room for, as many as fit by now: an idle reactor turns once a second,
    /// and a user is counted until the release arrives.
    pub(super) fn release_again(&mut self, room: usize) {
        let from = self.out.releases.len().saturating_sub(room);
        self.out.jobs.extend(self.out.releases.drain(from..).map(Job::Admit));
    }

    /// Updates the number of reads that the store's queue has room for. Recoveries wait while there is none: a failure would
    /// bring their clients back to ask again.
    pub fn set_read_room(&mut self, room: usize) {
        self.out.read_room = room;
    }

    /// Takes a job that did not fit into its queue: its client is answered, and a release is handed out again.
    pub fn handle_refused(&mut self, job: Job) {
        match job {
            Job::Append(Append { ticket, .. }) => {
                self.tally.publishes.take_back(1);
                self.streams.begin_answered(ticket);
                self.refuse(ticket);
            }
            Job::Read(
                Read::Page(PageRequest { ticket, .. })
                | Read::Heads { ticket, .. }
                | Read::Stream(StreamRequest { ticket, .. }),
            )
            | Job::Admit(AuthJob::CheckToken { ticket, .. } | AuthJob::AdmitAddress { ticket, .. })
            | Job::Interest(Interest::Follow { ticket, .. }) => self.refuse(ticket),
            Job::Admit(release @ (AuthJob::ReleaseUser { .. } | AuthJob::ReleaseAddress { .. })) => {
                self.out.releases.push(release);
            }
            Job::Presence(PresenceJob::Page { reply: PageReply::Reactor(ticket), .. }) => self.refuse(ticket),
            Job::Report(job) => self.refuse(job.ticket),
            Job::Stream(work) => self.stream_work_returned(*work),
            Job::Interest(Interest::Leave { channel }) => self.out.unfollowing.push_back(channel),
            Job::Presence(PresenceJob::Event(event)) => self.roster_event_lost(&event),
            // A survey is the bus's, a page for a thread is not the engine's, a signal may be lost, and the next publication
            // contradicts what is known again.
            Job::Admit(AuthJob::LookUpUsers(_) | AuthJob::ReportAllUsers)
            | Job::Read(Read::Survey(_) | Read::Contradicted(_))
            | Job::Signal { .. }
            | Job::Presence(PresenceJob::Page { .. }) => {}
        }
    }

    pub(super) fn refuse(&mut self, ticket: Ticket) {
        let Some(request) = self.pending.take(ticket) else { return };
        self.tally.recovery_reads.take_back(u64::from(request.is_recovery()));
        self.answer_without_worker(request, Unanswered::Refused);
    }

    /// Ends a connection that was just upgraded, with bytes that were prepared when the outage began.
    pub(super) fn turn_away(&mut self, id: SlotId, outage: &Template) {
        let retry_ms = outage.retry_ms(self.now.at, self.random.f32());
        self.tally.turned_away.add(1);
        self.tally.count_close(UNAVAILABLE);
        self.end_attempt(id, SloOutcome::Bad(BadCause::Unavailable), Some(retry_ms));
        self.end_session(id, SessionEnding::LOST);
        self.write(id, |out| outage.write(out, retry_ms));
        self.await_peer(id, Farewell::Bye);
    }

    /// Ends a connection: the reason, the time to return, and the close frame; then waits for the peer's close frame.
    /// Reports it if it concerns security.
    pub(super) fn close(&mut self, id: SlotId, reason: CloseReason) {
        self.report_end(id, &reason);
        self.end_with(id, reason);
    }

    pub(super) fn end_with(&mut self, id: SlotId, reason: CloseReason) {
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.is_upgraded()) else { return };
        let says_bye = reason.farewell() == Farewell::Bye && peer.chat().is_some();
        self.tally.count_close(reason.code());
        self.close_attempt(id, &reason);
        self.end_session(id, SessionEnding::of(&reason));
        if reason.farewell() == Farewell::None {
            return self.kill(id);
        }
        self.write(id, |out| {
            if says_bye {
                push::bye(out, &reason);
            }
            write_close(out, &reason);
        });
        self.await_peer(id, reason.farewell());
    }

    /// Waits for the peer's half of the closing handshake; everything of ours is queued.
    fn await_peer(&mut self, id: SlotId, said: Farewell) {
        let until = self.now.at + CLOSE_TIMEOUT;
        if let Some(peer) = self.peers.get_mut(id) {
            let awaited = match said {
                // It closed first, or its bytes can no longer be read.
                Farewell::CloseOnly | Farewell::None => Awaited::Nothing,
                // Its decoder continues, because the peer may be in the middle of a frame.
                Farewell::Bye => Awaited::CloseFrame(
                    peer.websocket_mut().map(|peer| std::mem::take(&mut peer.decoder)).unwrap_or_default(),
                ),
            };
            peer.stage = Stage::Closing(Closing { until, awaited });
        }
        self.schedule(id);
    }

    /// The peer of a subscription.
    pub(super) fn slot_of(&mut self, subscription: SubscriptionId) -> Option<SlotId> {
        self.peers.at_mut(self.hub.slot(subscription)?.0).map(|(id, _)| id)
    }
}

fn write_close(out: &mut Vec<u8>, reason: &CloseReason) {
    match reason {
        CloseReason::Answered(code) => server_frame::write(out, Opcode::Close, &code.to_be_bytes()),
        reason => server_frame::write_close(out, reason.code(), &reason.text()),
    }
}
