//! The deadlines of peers, requests and retries.

use super::Engine;
use super::order::Notice;
use super::peer::{HeadStage, Peer, Reading, Role, Stage, Transport, WebSocket};
use super::pending::Unanswered;
use super::recover::Retry;
use super::slots::SlotId;
use super::timers::Timers;
use crate::clock::{Moment, Now};
use crate::close::CloseReason;
use crate::limits::{Limits, TELLS_PER_TURN};
use crate::session::heartbeat::{Beat, LivenessAction, Periods};
use crate::session::write_beat;
use crate::wire::outbox::Outbox;
use crate::wire::request::{After, HttpFault, Method};
use crate::wire::server_frame::{self, Opcode};
use std::time::Duration;

impl Engine {
    /// Does everything whose deadline has passed.
    pub fn expire(&mut self) {
        while let Some(bucket) = self.timers.pop(self.now.at) {
            for (id, bucket) in bucket {
                let Some(peer) = self.peers.get_mut(id) else { continue };
                // Otherwise a late turn would give up a stalled peer once for every bucket that has passed.
                let is_dead = peer.reading == Reading::Dead;
                if Timers::claim(&mut peer.scheduled, bucket) && !is_dead {
                    self.expire_connection(id);
                    self.schedule(id);
                }
            }
        }
        while let Some(request) = self.pending.pop_late(self.now.at) {
            self.answer_without_worker(request, Unanswered::Late);
        }
        while let Some(retry) = self.reads.pop_retry(self.now.at) {
            match retry {
                Retry::CatchUp(id) => self.catch_up_again(id),
                Retry::Fill(channel) => self.hub.refill(channel),
                Retry::Older(channel) => self.hub.ask_older(channel),
                Retry::Streams(channel) => self.hub.ask_streams(channel),
            }
        }
        self.rejudge();
        self.ask_needs();
        self.take_turns();
    }

    /// Ends the next sessions whose key, service or issuer is no longer trusted.
    fn rejudge(&mut self) {
        let from = self.due.rejudging.len().saturating_sub(TELLS_PER_TURN);
        for id in self.due.rejudging.split_off(from) {
            self.with_session(id, |session, cx| session.rejudge(cx));
        }
    }

    /// Schedules the peer for its earliest deadline.
    pub(super) fn schedule(&mut self, id: SlotId) {
        let periods = self.periods();
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Some(deadline) = peer.deadline(self.now, &self.setup.policy.limits, periods) {
            self.timers.ensure(id, &mut peer.scheduled, deadline);
        }
    }

    fn expire_connection(&mut self, id: SlotId) {
        let now = self.now.at;
        let limits = &self.setup.policy.limits;
        let Some(peer) = self.peers.get_mut(id) else { return };
        if peer.stalled_since.is_some_and(|since| since.moment() + ms(limits.stall_ms) <= now) {
            return self.give_up(id);
        }
        match &peer.stage {
            Stage::Head(head) if head.deadline(limits) > now => {}
            Stage::Head(head) if head.is_idle() => self.kill(id),
            Stage::Head(_) if peer.transport == Transport::Handshaking => {
                // No answer can be sent before the TLS handshake is complete.
                if peer.reading != Reading::Dead {
                    self.out.notices.push(Notice::TlsTimeout);
                    self.kill(id);
                }
            }
            Stage::Head(_) => {
                let fault = HttpFault::HeadTimeout { bound_ms: limits.head_ms };
                self.write_fault(id, fault, Method::Get, After::Close);
                self.end_when_sent(id);
            }
            // The auth worker's answer has a deadline of its own.
            Stage::Address(_) => {}
            Stage::WebSocket(_) => self.expire_websocket(id),
            Stage::Closing(closing) if closing.until <= now => self.close_overdue(id),
            Stage::Lingering { until, .. } if *until <= now => self.kill(id),
            Stage::Closing(_) | Stage::Lingering { .. } => {}
        }
    }

    fn expire_websocket(&mut self, id: SlotId) {
        let periods = self.periods();
        self.spare_held(id);
        let (now, limits) = (self.now.at, &self.setup.policy.limits);
        let Some(websocket) = self.peers.get_mut(id).and_then(Peer::websocket_mut) else { return };
        if let Some(reason) = websocket.overdue(now, limits) {
            return self.close(id, reason);
        }
        match websocket.heartbeat.due(now, periods) {
            LivenessAction::GiveUp => return self.close(id, CloseReason::NoSignOfLife),
            LivenessAction::Ping => {
                self.tally.pings.add(1);
                self.write(id, |out| server_frame::write(out, Opcode::Ping, b""));
            }
            LivenessAction::Nothing => {}
        }
        self.beat(id, periods);
        self.with_session(id, |session, cx| session.expire(cx));
    }

    fn beat(&mut self, id: SlotId, periods: Periods) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let Stage::WebSocket(websocket) = &mut peer.stage else { return };
        let beat = websocket.heartbeat.beat(self.now.at, periods);
        let Role::Chat(chat) = &mut websocket.role else { return };
        if beat == Beat::NotDue || !chat.session.is_open() {
            return;
        }
        let (start, out) = Outbox::mark(&mut self.scratch.arena);
        write_beat(&chat.session, &mut self.hub, beat, self.rounds.health.snapshot.revision, out);
        self.tally.beats.add(u64::from(out.len() > start));
        peer.outbox.push_from(&self.scratch.arena, start);
        self.mark_dirty(id);
    }
}

fn ms(milliseconds: u32) -> Duration {
    Duration::from_millis(u64::from(milliseconds))
}

impl HeadStage {
    fn deadline(&self, limits: &Limits) -> Moment {
        self.since + ms(if self.is_idle() { limits.keep_alive_ms } else { limits.head_ms })
    }
}

impl WebSocket {
    /// The reason to close if a deadline of the peer has passed.
    fn overdue(&self, now: Moment, limits: &Limits) -> Option<CloseReason> {
        let message = self.decoder.incomplete_since();
        if message.is_some_and(|since| since + ms(limits.message_ms) <= now) {
            return Some(CloseReason::MessageTimeout);
        }
        match &self.role {
            Role::Chat(chat) if chat.session.awaits_connect() && chat.connect_by <= now => {
                Some(CloseReason::ConnectTimeout)
            }
            Role::Chat(_) | Role::Echo => None,
        }
    }

    fn deadline(&self, now: Now, limits: &Limits, periods: Periods) -> Moment {
        let mut deadline = self.heartbeat.deadline(periods);
        if let Some(since) = self.decoder.incomplete_since() {
            deadline = deadline.min(since + ms(limits.message_ms));
        }
        if let Some(answer_by) = self.role.answer_by() {
            deadline = deadline.min(answer_by);
        }
        if let Role::Chat(chat) = &self.role {
            if chat.session.awaits_connect() {
                deadline = deadline.min(chat.connect_by);
            }
            if let Some(recheck) = chat.session.recheck_at() {
                deadline = deadline.min(recheck);
            }
            if let Some(expires) = chat.session.expires_unix_ms() {
                let left = Duration::from_millis(expires.saturating_sub(now.unix_ms));
                deadline = deadline.min(now.at + left);
            }
        }
        deadline
    }
}

impl Peer {
    /// The peer's earliest deadline; `None` if only the peer or a worker can change its state.
    fn deadline(&self, now: Now, limits: &Limits, periods: Periods) -> Option<Moment> {
        let stall = self.stalled_since.map(|since| since.moment() + ms(limits.stall_ms));
        let stage = match &self.stage {
            Stage::Head(head) => Some(head.deadline(limits)),
            Stage::Address(_) => None,
            Stage::WebSocket(websocket) => Some(websocket.deadline(now, limits, periods)),
            Stage::Closing(closing) => Some(closing.until),
            Stage::Lingering { until, .. } => Some(*until),
        };
        stall.into_iter().chain(stage).min()
    }
}
