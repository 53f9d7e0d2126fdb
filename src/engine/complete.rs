//! Completions and broadcasts: each goes to the session or the channel that waits for it.

use super::Engine;
use super::peer::{Reading, Stage};
use super::pending::{Request, Unanswered};
use super::promises::MessageName;
use super::recover::{Recovery, Retry};
use super::slots::SlotId;
use crate::client_error::ReportOutcome;
use crate::clock::Moment;
use crate::hub::ChannelId;
use crate::id::CommandId;
use crate::job::{AuthJob, Broadcast, Completion, Counted, Denied, Identity, Page, ReadError, Ticket};
use crate::limits::COMPLETIONS_PER_TURN;
use crate::metrics::latency::LatencyCells;
use crate::metrics::vitals::ReactorVitals;
use crate::session::{AppendOutcome, HistoryOutcome, PresenceOutcome, StreamReadOutcome};

impl Engine {
    /// Takes publications, a signal or log heads. Broadcasts come before completions, because a completion may contain
    /// publications that were broadcast before it was read.
    pub fn handle_broadcast(&mut self, broadcast: Broadcast) {
        let cost = match broadcast {
            Broadcast::Published(batch) => {
                self.arrivals.published = self.now.at;
                for published in batch.iter() {
                    self.hub.publish(published);
                }
                batch.len()
            }
            Broadcast::Signal { channel, frame } => {
                self.hub.signal(&channel, &frame);
                1
            }
            Broadcast::Heads(heads) => {
                for (channel, position) in heads.iter() {
                    self.hub.heads_read(channel, *position);
                }
                heads.len()
            }
            Broadcast::Canary(canary) => {
                canary.arrive();
                0
            }
            Broadcast::Rosters(pushes) => {
                self.take_roster_pushes(&pushes);
                pushes.len()
            }
            Broadcast::Recount => {
                self.want_recount();
                0
            }
            Broadcast::Streamed(news) => {
                for news in news.iter() {
                    self.hub.streamed(news);
                }
                news.len()
            }
            // The shell answers it.
            Broadcast::Lookup(_) => 0,
            Broadcast::Move(targets) => {
                self.ask_to_move(&targets);
                targets.len()
            }
        };
        self.gathering.quota = self.gathering.quota.saturating_sub(cost);
    }

    /// Delivers the broadcasts, and begins the quota of completions.
    pub fn finish_broadcasts(&mut self) {
        self.deliver();
        self.gathering.quota = COMPLETIONS_PER_TURN;
    }

    /// Makes the requests that follow from the completions, and delivers their publications. Of the releases that the auth
    /// worker's queue refused, as many as it has room for by now, `auth_room`, are handed out again.
    pub fn finish_completions(&mut self, auth_room: usize) {
        self.read_heads();
        self.ask_needs();
        self.take_turns();
        self.deliver();
        self.release_again(auth_room);
    }

    /// Takes a worker's answer to a job.
    pub fn handle_completion(&mut self, completion: Completion) {
        self.gathering.quota = self.gathering.quota.saturating_sub(1);
        match completion {
            Completion::Appended { ticket, outcome } => {
                let begin = self.streams.begin_answered(ticket);
                if let Some(Request::Append { slot, id, channel, user, key, asked }) =
                    self.pending.take(ticket)
                {
                    if let Ok(appended) = &outcome {
                        if appended.stream.is_some() {
                            self.stream_begun(slot, &channel, &user, *appended);
                        }
                        self.tally.published.add(1);
                        self.note_latency(asked, |vitals| &vitals.publishes);
                        self.count_stored(&user, asked);
                    }
                    let name = MessageName { channel: &channel, user: &user, key: key.as_ref() };
                    self.appended(slot, id, name, AppendOutcome::Answered(outcome));
                } else if let (Some(slot), Ok(_)) = (begin, outcome) {
                    self.detach_ended(slot);
                }
            }
            Completion::Page { ticket, outcome } => self.page(ticket, outcome),
            Completion::Heads { ticket, outcome } => {
                if let (Some(_), Ok(heads)) = (self.pending.take(ticket), outcome) {
                    for (channel, position) in heads {
                        self.hub.heads_read(&channel, position);
                    }
                }
            }
            Completion::Followed { ticket } => {
                if let Some(Request::Follow(channel)) = self.pending.take(ticket) {
                    self.recover(Recovery::Position(channel));
                }
            }
            Completion::TokenChecked { ticket, outcome } => self.token_checked(ticket, outcome),
            Completion::Presence { ticket, page } => {
                if let Some(Request::Presence { slot, id, asked }) = self.pending.take(ticket) {
                    self.count_reply(asked);
                    self.presence_read(slot, id, PresenceOutcome::Page(&page));
                }
            }
            Completion::ReportTaken { ticket, outcome } => {
                if let Some(Request::Report { slot, id, asked }) = self.pending.take(ticket) {
                    self.count_reply(asked);
                    self.report_taken(slot, id, Some(outcome));
                }
            }
            Completion::Stream { ticket, outcome } => self.stream_answered(ticket, outcome),
            Completion::StreamRead { ticket, outcome } => self.streams_read(ticket, outcome),
            Completion::StreamEnded { ticket, end, edit } => {
                self.stream_ended(ticket, StreamReadOutcome::Ended { end, edit });
            }
            Completion::Producers(notices) => self.notify_producers(notices),
            Completion::AddressChecked { ticket, address, outcome } => match self.pending.take(ticket) {
                Some(Request::Address { slot }) if self.awaits_address(slot) => {
                    self.address_checked(slot, Some(outcome));
                }
                _ if outcome.is_ok() => self.release(AuthJob::ReleaseAddress { address }),
                _ => {}
            },
        }
    }

    /// Records the time since `asked`.
    pub(super) fn note_latency(&self, asked: Moment, cells: fn(&ReactorVitals) -> &LatencyCells) {
        if let Some(vitals) = self.setup.vitals.reactors.get(usize::from(self.basis.id.0)) {
            cells(vitals).record(self.now.at.micros().saturating_sub(asked.micros()), 1);
        }
    }

    pub(super) fn appended(
        &mut self,
        slot: SlotId,
        id: CommandId,
        name: MessageName<'_>,
        outcome: AppendOutcome,
    ) {
        self.count_message(name, &outcome);
        self.with_session(slot, |session, cx| session.appended(id, name.channel, name.key, outcome, cx));
    }

    fn token_checked(&mut self, ticket: Ticket, outcome: Result<Identity, Denied>) {
        let outcome = self.judged_by_orders(outcome);
        match (self.pending.take(ticket), outcome) {
            (Some(Request::Token { slot, id, asked }), outcome) if self.chat_mut(slot).is_some() => {
                self.note_latency(asked, |vitals| &vitals.tokens);
                self.with_session(slot, |session, cx| session.token_checked(id, Some(outcome), cx));
                // The token may expire before anything else is due.
                self.schedule(slot);
            }
            (Some(Request::Recheck { slot }), outcome) => {
                self.with_session(slot, |session, cx| session.rechecked(Some(outcome), cx));
                self.schedule(slot);
            }
            // The client left before its token was checked, so its user is released. A refresh does not count.
            (_, Ok(identity)) if identity.counted == Counted::Yes => {
                self.release(AuthJob::ReleaseUser { user: identity.user });
            }
            (_, _) => {}
        }
    }

    fn report_taken(&mut self, slot: SlotId, id: CommandId, outcome: Option<ReportOutcome>) {
        self.with_session(slot, |session, cx| session.report_taken(id, outcome, cx));
    }

    fn awaits_address(&mut self, id: SlotId) -> bool {
        let peer = self.peers.get_mut(id).filter(|peer| peer.reading != Reading::Dead);
        peer.is_some_and(|peer| matches!(peer.stage, Stage::Address(_)))
    }

    fn page(&mut self, ticket: Ticket, outcome: Result<Page, ReadError>) {
        match self.pending.take(ticket) {
            Some(Request::History { slot, id, channel, asked }) => {
                let outcome = match &outcome {
                    Ok(page) => {
                        self.count_reply(asked);
                        HistoryOutcome::Page(page.position, &page.body)
                    }
                    Err(error) => HistoryOutcome::Unavailable { retry_ms: error.retry_ms },
                };
                self.with_session(slot, |session, cx| session.history_read(id, &channel, &outcome, cx));
            }
            Some(Request::Replay { subscribers }) => self.replay_page(&subscribers, outcome.ok()),
            Some(Request::Position(channel)) => self.position(channel, outcome.ok()),
            Some(Request::Older(channel)) => self.older(channel, outcome.ok()),
            Some(Request::Fill(channel)) => self.fill(channel, outcome.ok()),
            Some(
                Request::Append { .. }
                | Request::Token { .. }
                | Request::Presence { .. }
                | Request::Report { .. }
                | Request::Streams(_)
                | Request::Stream { .. }
                | Request::StreamRead { .. }
                | Request::Recheck { .. }
                | Request::Address { .. }
                | Request::Follow(_)
                | Request::Heads,
            )
            | None => {}
        }
    }

    /// Begins the subscriptions that wait for the position of a channel's log; refuses them if it could not be read.
    pub(super) fn position(&mut self, channel: ChannelId, page: Option<Page>) {
        for (subscription, decision) in self.hub.position_read(channel, page.as_ref().map(Into::into)) {
            if let Some(slot) = self.slot_of(subscription) {
                self.with_session(slot, |session, cx| session.opened(subscription, decision, cx));
            }
        }
    }

    pub(super) fn fill(&mut self, channel: ChannelId, page: Option<Page>) {
        match &page {
            Some(page) => self.hub.filled(channel, Some(page.into())),
            None => self.reads.retry(Retry::Fill(channel), self.now.at),
        }
    }

    /// Answers a request that its worker did not answer.
    pub(super) fn answer_without_worker(&mut self, request: Request, why: Unanswered) {
        match why {
            Unanswered::Late => self.tally.late.add(1),
            Unanswered::Refused => self.tally.recoveries_refused.add(u64::from(request.is_recovery())),
        }
        match request {
            Request::Append { slot, id, channel, user, key, asked: _ } => {
                let outcome = match why {
                    Unanswered::Late => {
                        if !user.is_canary() {
                            self.count_no_reply();
                        }
                        AppendOutcome::Late
                    }
                    Unanswered::Refused => AppendOutcome::QueueFull,
                };
                let name = MessageName { channel: &channel, user: &user, key: key.as_ref() };
                self.appended(slot, id, name, outcome);
            }
            Request::History { slot, id, channel, asked: _ } => {
                let outcome = match why {
                    Unanswered::Late => {
                        self.count_no_reply();
                        HistoryOutcome::Late
                    }
                    Unanswered::Refused => HistoryOutcome::QueueFull,
                };
                self.with_session(slot, |session, cx| session.history_read(id, &channel, &outcome, cx));
            }
            Request::Token { slot, id, asked: _ } => {
                self.with_session(slot, |session, cx| session.token_checked(id, None, cx));
            }
            Request::Presence { slot, id, asked: _ } => {
                if why == Unanswered::Late {
                    self.count_no_reply();
                }
                self.presence_read(slot, id, why.into());
            }
            Request::Report { slot, id, asked: _ } => {
                if why == Unanswered::Late {
                    self.count_no_reply();
                }
                self.report_taken(slot, id, None);
            }
            Request::Recheck { slot } => {
                self.with_session(slot, |session, cx| session.rechecked(None, cx));
                self.schedule(slot);
            }
            Request::Address { slot } => self.address_checked(slot, None),
            Request::Replay { subscribers } => self.replay_page(&subscribers, None),
            Request::Follow(channel) => {
                if why == Unanswered::Refused {
                    self.hub.not_asked(channel);
                }
                self.position(channel, None);
            }
            Request::Position(channel) => self.position(channel, None),
            Request::Older(channel) => self.older(channel, None),
            Request::Fill(channel) => self.fill(channel, None),
            Request::Streams(channel) => self.open_streams(channel, None),
            Request::Stream { slot, id, stream, asked: _ } => self.stream_unanswered(slot, id, &stream, why),
            Request::StreamRead { slot, id, stream, asked: _ } => {
                self.stream_read_unanswered(slot, id, &stream, why);
            }
            Request::Heads => {}
        }
    }
}
