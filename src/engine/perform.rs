//! Does what sessions ask for: one arm an effect.

use super::Engine;
use super::order::Job;
use super::peer::{Awaited, Closing, Stage};
use super::pending::Request;
use super::recover::Recovery;
use super::slots::SlotId;
use crate::clock::Moment;
use crate::close::{CloseReason, Farewell};
use crate::health::snapshot::Availability;
use crate::health::template::Template;
use crate::hub::Slot;
use crate::id::{ChannelName, CommandId};
use crate::job::bus::Interest;
use crate::job::{Admit, Append, AppendError, Form, PageRequest, Read, Span, Ticket};
use crate::limits::{CLOSE_TIMEOUT, HISTORY_PAGE_BYTES_MAX};
use crate::session::{AppendEffect, AppendOutcome, Effect, HistoryOutcome};
use crate::wire::frames::Decoder;
use crate::wire::push;
use crate::wire::server_frame::{self, Kind};
use std::sync::Arc;

/// The dependency without which nothing is published.
const STORE: &str = "store";
/// Releases that are handed out again in a turn after the auth worker had no room for them.
const RELEASES_PER_TURN: usize = 256;
/// The close code of an outage.
const UNAVAILABLE: u16 = 1011;

impl Engine {
    pub(super) fn perform(&mut self, id: SlotId, effect: Effect) {
        match effect {
            Effect::Append(append) => self.append(id, *append),
            Effect::History { id: command, channel, range, limit, asked } => {
                self.history((id, command), channel, range.into(), limit, asked);
            }
            Effect::CheckToken { token, occasion, id: command, asked } => {
                let request = Request::Token { slot: id, id: command };
                let asked = self.ask_auth(request, asked, |ticket| Admit::Token { ticket, token, occasion });
                if !asked {
                    self.with_session(id, |session, cx| session.token_checked(command, None, cx));
                }
            }
            Effect::Signal { channel, frame } => self.signal(channel, frame),
            Effect::Replay(subscription) => self.step(subscription),
            Effect::Leave(user) => self.release(Admit::Leave { user }),
            Effect::Close(reason) => self.close(id, reason),
        }
    }

    fn append(&mut self, slot: SlotId, effect: AppendEffect) {
        let AppendEffect { id, channel, user, key, change, data, asked } = effect;
        // A store that is down is not asked: its queue would fill with jobs that are answered late. While verdicts are only
        // observed, it is.
        let doubted = matches!(self.health.snapshot.availability, Availability::Observe(_));
        if !doubted && let Some(outage) = self.health.snapshot.outage_of(STORE) {
            let retry_ms = outage.retry_ms(self.now.at, self.random.f32());
            let outcome = AppendOutcome::Answered(Err(AppendError::Unavailable { retry_ms }));
            return self
                .with_session(slot, |session, cx| session.appended(id, &channel, key.as_ref(), outcome, cx));
        }
        let request = Request::Append { slot, id, channel: channel.clone(), key: key.clone() };
        match self.pending.insert(request, asked) {
            Ok(ticket) => {
                self.tally.publishes.add(1);
                self.out.jobs.push(Job::Append(Append { ticket, channel, user, key, change, data }));
            }
            Err(_) => self.with_session(slot, |session, cx| {
                session.appended(id, &channel, None, AppendOutcome::QueueFull, cx);
            }),
        }
    }

    fn history(
        &mut self,
        (slot, id): (SlotId, CommandId),
        channel: ChannelName,
        span: Span,
        limit: u32,
        asked: Moment,
    ) {
        let request = Request::History { slot, id, channel: channel.clone() };
        let name = channel.clone();
        let asked = self.ask_store(request, asked, |ticket| {
            let (bytes_max, form) = (HISTORY_PAGE_BYTES_MAX, Form::Json);
            Read::Page(PageRequest { ticket, channel, span, limit, bytes_max, form })
        });
        if !asked {
            self.with_session(slot, |session, cx| {
                session.history_read(id, &name, &HistoryOutcome::QueueFull, cx);
            });
        }
    }

    /// Asks for a read; false when too many requests are outstanding, and nothing will come of it.
    pub(super) fn ask_store(
        &mut self,
        request: Request,
        asked: Moment,
        job: impl FnOnce(Ticket) -> Read,
    ) -> bool {
        let Ok(ticket) = self.pending.insert(request, asked) else { return false };
        self.out.read_room = self.out.read_room.saturating_sub(1);
        self.out.jobs.push(Job::Read(job(ticket)));
        true
    }

    /// Asks the auth worker; false when too many requests are outstanding, and nothing will come of it.
    pub(super) fn ask_auth(
        &mut self,
        request: Request,
        asked: Moment,
        job: impl FnOnce(Ticket) -> Admit,
    ) -> bool {
        let Ok(ticket) = self.pending.insert(request, asked) else { return false };
        self.out.jobs.push(Job::Admit(job(ticket)));
        true
    }

    /// Has the auth worker release a user or an address.
    pub(super) fn release(&mut self, release: Admit) {
        self.out.jobs.push(Job::Admit(release));
    }

    /// Hands out releases that the auth worker had no room for, some each turn.
    pub(super) fn release_again(&mut self) {
        let from = self.out.releases.len().saturating_sub(RELEASES_PER_TURN);
        self.out.jobs.extend(self.out.releases.drain(from..).map(Job::Admit));
    }

    /// Updates the number of reads that the store's queue has room for. Recoveries wait while there is none: a failure would
    /// bring their clients back to ask again.
    pub fn set_read_room(&mut self, room: usize) {
        self.out.read_room = room;
    }

    /// Takes a job that did not fit into its queue: its client is answered, and what must not be lost is handed out again.
    pub fn handle_refused(&mut self, job: Job) {
        match job {
            Job::Append(Append { ticket, .. }) => {
                self.tally.publishes.take_back(1);
                self.refuse_request_of(ticket);
            }
            Job::Read(Read::Page(PageRequest { ticket, .. }) | Read::Heads { ticket, .. })
            | Job::Admit(Admit::Token { ticket, .. } | Admit::Address { ticket, .. })
            | Job::Interest(Interest::Follow { ticket, .. }) => self.refuse_request_of(ticket),
            Job::Admit(release @ (Admit::Leave { .. } | Admit::Depart { .. })) => {
                self.out.releases.push(release);
            }
            Job::Interest(Interest::Leave { channel }) => self.out.unfollowing.push_back(channel),
            // A survey is the bus's; a signal may be lost.
            Job::Read(Read::Survey(_)) | Job::Signal { .. } => {}
        }
    }

    fn refuse_request_of(&mut self, ticket: Ticket) {
        match self.pending.take(ticket) {
            Some(Request::Append { slot, id, channel, .. }) => self.with_session(slot, |session, cx| {
                session.appended(id, &channel, None, AppendOutcome::QueueFull, cx);
            }),
            Some(Request::History { slot, id, channel }) => self.with_session(slot, |session, cx| {
                session.history_read(id, &channel, &HistoryOutcome::QueueFull, cx);
            }),
            Some(Request::Token { slot, id }) => {
                self.with_session(slot, |session, cx| session.token_checked(id, None, cx));
            }
            Some(Request::Address { slot }) => self.address_checked(slot, None),
            Some(Request::Replay { subscribers }) => {
                self.tally.recovery_reads.take_back(1);
                self.fail_page(&subscribers);
            }
            Some(Request::Position(channel)) => {
                self.tally.recovery_reads.take_back(1);
                self.fail_recovery(Recovery::Position(channel));
            }
            Some(Request::Older(channel)) => {
                self.tally.recovery_reads.take_back(1);
                self.fail_recovery(Recovery::Older(channel));
            }
            Some(Request::Fill(channel)) => self.fill(channel, None),
            Some(Request::Follow(channel)) => self.not_followed(channel),
            Some(Request::Heads) | None => {}
        }
    }

    /// A signal goes to this reactor's subscribers now, and to the others' through their lanes.
    fn signal(&mut self, channel: ChannelName, frame: Arc<[u8]>) {
        self.tally.signals.add(1);
        self.hub.signal(&channel, &frame);
        self.out.jobs.push(Job::Signal { channel, frame });
    }

    /// Turns away a connection that was just upgraded, with bytes that were prepared when the outage began.
    pub(super) fn turn_away(&mut self, id: SlotId, outage: &Template) {
        let retry_ms = outage.retry_ms(self.now.at, self.random.f32());
        self.tally.turned_away.add(1);
        self.tally.count_close(UNAVAILABLE);
        self.end_session(id);
        self.write(id, |out| outage.write(out, retry_ms));
        self.await_peer(id, Farewell::Bye);
    }

    /// Ends a connection: the reason, the time to return, and the close frame; then waits for the peer's close frame.
    pub(super) fn close(&mut self, id: SlotId, reason: CloseReason) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if !matches!(peer.stage, Stage::WebSocket(_)) {
            return;
        }
        let says_bye = reason.farewell() == Farewell::Bye && peer.understands_bye();
        self.tally.count_close(reason.code());
        self.end_session(id);
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

    /// Everything is queued; only the peer's half of the closing handshake is left.
    fn await_peer(&mut self, id: SlotId, said: Farewell) {
        let until = self.now.at + CLOSE_TIMEOUT;
        if let Some(peer) = self.peers.get_mut(id) {
            let awaited = match said {
                // It closed first, or its bytes can no longer be read.
                Farewell::CloseOnly | Farewell::None => Awaited::Nothing,
                Farewell::Bye => Awaited::CloseFrame(take_decoder(&mut peer.stage)),
            };
            peer.stage = Stage::Closing(Closing { until, awaited });
        }
        self.schedule(id);
    }

    /// The slot of a subscription's peer.
    pub(super) fn slot_of(&mut self, slot: Slot) -> Option<SlotId> {
        self.peers.at_mut(slot.0).map(|(id, _)| id)
    }
}

fn write_close(out: &mut Vec<u8>, reason: &CloseReason) {
    match reason {
        CloseReason::Answered(code) => server_frame::write(out, Kind::Close, &code.to_be_bytes()),
        reason => server_frame::write_close(out, reason.code(), &reason.text()),
    }
}

/// The decoder goes on where it stood: the peer may be in the middle of a frame.
fn take_decoder(stage: &mut Stage) -> Decoder {
    match stage {
        Stage::WebSocket(websocket) => std::mem::take(&mut websocket.decoder),
        Stage::Head(_) | Stage::Address(_) | Stage::Closing(_) | Stage::Lingering { .. } => {
            Decoder::default()
        }
    }
}
