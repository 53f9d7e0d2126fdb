//! Does what sessions ask for: one arm an effect.

use super::Reactor;
use super::connection::{Closing, Peer, Stage};
use super::pending::Request;
use super::slots::SlotId;
use crate::clock::Moment;
use crate::close::{CloseReason, Farewell};
use crate::health::snapshot::Availability;
use crate::health::template::Template;
use crate::hub::Slot;
use crate::id::{ChannelName, CommandId};
use crate::job::{Admit, Append, AppendError, Form, Live, PageRequest, Read, Span, Ticket};
use crate::limits::{CLOSE_TIMEOUT, HISTORY_PAGE_BYTES_MAX};
use crate::session::{AppendEffect, AppendOutcome, Effect, HistoryOutcome};
use crate::wire::frames::Decoder;
use crate::wire::push;
use crate::wire::server_frame::{self, Kind};
use std::sync::Arc;

/// The dependency without which nothing is published.
const STORE: &str = "store";
/// The close code of an outage.
const UNAVAILABLE: u16 = 1011;

impl Reactor {
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
            Effect::Signal { channel, frame } => self.signal(&channel, &frame),
            Effect::Replay(subscription) => self.step(subscription),
            Effect::Leave(user) => self.leave(Admit::Leave { user }),
            Effect::Close(reason) => self.close(id, reason),
        }
    }

    fn append(&mut self, slot: SlotId, effect: AppendEffect) {
        let AppendEffect { id, channel, user, key, change, data, asked } = effect;
        // A store that is down is not asked: its queue would fill with what is answered late.
        // Where the verdict is doubted, it is.
        let doubted = matches!(self.snapshot.availability, Availability::Observe(_));
        if !doubted && let Some(outage) = self.snapshot.outage_of(STORE) {
            let retry_ms = outage.retry_ms(self.now.at, self.random.f32());
            let outcome = AppendOutcome::Answered(Err(AppendError::Unavailable { retry_ms }));
            return self
                .with_session(slot, |session, cx| session.appended(id, &channel, key.as_ref(), outcome, cx));
        }
        let request = Request::Append { slot, id, channel: channel.clone(), key: key.clone() };
        let name = channel.clone();
        let sent = match self.pending.insert(request, asked) {
            Ok(ticket) => {
                let job = Append { ticket, channel, user, key, change, data };
                let sent = self.queues.append.try_send(job).is_ok();
                if !sent {
                    self.pending.take(ticket);
                }
                sent
            }
            Err(_) => false,
        };
        if sent {
            self.counters.publishes.add(1);
        } else {
            self.with_session(slot, |session, cx| {
                session.appended(id, &name, None, AppendOutcome::QueueFull, cx)
            });
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

    /// Queues a read; false when there is no room, and nothing will come of it.
    pub(super) fn ask_store(
        &mut self,
        request: Request,
        asked: Moment,
        job: impl FnOnce(Ticket) -> Read,
    ) -> bool {
        let Ok(ticket) = self.pending.insert(request, asked) else { return false };
        let sent = self.queues.read.try_send(job(ticket)).is_ok();
        if !sent {
            self.pending.take(ticket);
        }
        sent
    }

    /// Queues a question to the auth worker; false when there is no room, and nothing will come of it.
    pub(super) fn ask_auth(
        &mut self,
        request: Request,
        asked: Moment,
        job: impl FnOnce(Ticket) -> Admit,
    ) -> bool {
        let Ok(ticket) = self.pending.insert(request, asked) else { return false };
        let sent = self.queues.admit.as_ref().is_some_and(|queue| queue.try_send(job(ticket)).is_ok());
        if !sent {
            self.pending.take(ticket);
        }
        sent
    }

    /// Tells the auth worker of somebody's end. It must not be lost, so it waits here while its queue is
    /// full; at most as many wait as connections end meanwhile.
    pub(super) fn leave(&mut self, admit: Admit) {
        self.leaving.push(admit);
        self.send_leaving();
    }

    pub(super) fn send_leaving(&mut self) {
        let Some(queue) = &self.queues.admit else { return self.leaving.clear() };
        while let Some(admit) = self.leaving.pop() {
            if let Err(full) = queue.try_send(admit) {
                self.leaving.push(full.into_inner());
                return;
            }
        }
    }

    /// To this reactor's subscribers now, to the others' through their lanes; a full lane loses it.
    fn signal(&mut self, channel: &ChannelName, frame: &Arc<[u8]>) {
        self.counters.signals.add(1);
        self.hub.signal(channel, frame);
        if let Some(bus) = &self.queues.bus {
            bus.signal(channel, frame);
        }
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            if index != usize::from(self.id.0) {
                mailbox.offer(Live::Signal { channel: channel.clone(), frame: Arc::clone(frame) });
                if let Err(error) = mailbox.ring() {
                    tracing::warn!(%error, reactor = index, "cannot wake a reactor");
                }
            }
        }
    }

    /// Turns a connection away that was just upgraded, with bytes that were made when the outage began.
    pub(super) fn turn_away(&mut self, id: SlotId, outage: &Template) {
        let retry_ms = outage.retry_ms(self.now.at, self.random.f32());
        self.counters.turned_away.add(1);
        self.counters.count_close(UNAVAILABLE);
        self.end_session(id);
        self.write(id, |out| outage.write(out, retry_ms));
        self.await_peer(id, Farewell::Bye);
    }

    /// Ends a connection: why, when to come back, and the close frame; then the stage that waits for the
    /// peer's.
    pub(super) fn close(&mut self, id: SlotId, reason: CloseReason) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        if !matches!(connection.stage, Stage::WebSocket(_)) {
            return;
        }
        let says_bye = reason.farewell() == Farewell::Bye && connection.understands_bye();
        self.counters.count_close(reason.code());
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

    /// All is said: what is left is the peer's half of the closing.
    fn await_peer(&mut self, id: SlotId, said: Farewell) {
        let until = self.now.at + CLOSE_TIMEOUT;
        if let Some(connection) = self.slots.get_mut(id) {
            let peer = match said {
                // It closed first, or what it sends can no longer be read.
                Farewell::CloseOnly | Farewell::None => Peer::Nothing,
                Farewell::Bye => Peer::CloseFrame(take_decoder(&mut connection.stage)),
            };
            connection.stage = Stage::Closing(Closing { until, peer });
        }
        self.schedule(id);
    }

    /// The slot of a subscription's connection.
    pub(super) fn slot_of(&mut self, slot: Slot) -> Option<SlotId> {
        self.slots.at_mut(slot.0).map(|(id, _)| id)
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
