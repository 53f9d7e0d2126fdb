//! Frames of an upgraded peer: a chat's go to its session, and an echo's are sent back.

use super::Engine;
use super::ended::SessionEnding;
use super::peer::{Arrival, Role, Stage, WebSocket};
use super::slots::SlotId;
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::hub::Slot;
use crate::rate::Meter;
use crate::roster::Departure;
use crate::session::{Context, Effect, Policy, Session};
use crate::wire::frames::{Frame, Input};
use crate::wire::outbox::Outbox;
use crate::wire::server_frame::{self, Opcode};
use std::time::Duration;

impl Engine {
    /// Reads all whole frames, and hands each to its session.
    pub(super) fn frames(&mut self, id: SlotId, bytes: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let (waiting_bytes, address) = (peer.outbox.bytes(), peer.owner.client(peer.address));
        let Stage::WebSocket(websocket) = &mut peer.stage else { return };
        let WebSocket { decoder, heartbeat, control_frames, role } = websocket;
        heartbeat.received(self.now.at);
        let policy = &self.setup.policy;
        let (start, out) = Outbox::mark(&mut self.scratch.arena);
        let (mut input, mut messages, mut commands) = (Input::new(bytes), 0, 0);
        let ending = loop {
            let frame = decoder.next(&mut input, self.basis.frames_of(role, peer.arrival), self.now.at);
            messages += u64::from(!matches!(frame, Frame::Incomplete | Frame::Violation(_)));
            let reason = match (frame, &mut *role) {
                (Frame::Incomplete, _) => break None,
                (Frame::Text(text), Role::Echo) => {
                    server_frame::write(out, Opcode::Text, text.as_bytes());
                    None
                }
                (Frame::Binary(bytes), Role::Echo) => {
                    server_frame::write(out, Opcode::Binary, bytes);
                    None
                }
                (Frame::Text(text), Role::Chat(chat)) => {
                    commands += 1;
                    let mut cx = Context {
                        now: self.now,
                        asked: self.now.at,
                        policy,
                        hub: &mut self.hub,
                        slot: Slot(id.index),
                        address: self.rounds.rosters.share_of(address, self.basis.address_times),
                        connection: chat.name,
                        status: &self.rounds.health.snapshot.status,
                        flags: &self.rounds.clients.flags.flags,
                        waiting_bytes,
                        out: &mut *out,
                        effects: &mut self.scratch.effects,
                        refused: &mut self.scratch.refused,
                    };
                    chat.session.text(text, &mut cx);
                    if has_closed(&self.scratch.effects) {
                        break None;
                    }
                    None
                }
                (Frame::Binary(_), Role::Chat(_)) => {
                    Some(CloseReason::Misuse("a binary frame; commands are text"))
                }
                (Frame::Ping(payload), _) => {
                    server_frame::write(out, Opcode::Pong, payload);
                    admit_control(control_frames, policy, self.now.at)
                }
                (Frame::Pong, _) => admit_control(control_frames, policy, self.now.at),
                (Frame::Close(code), _) => Some(CloseReason::Answered(code.unwrap_or(1000))),
                (Frame::Violation(reason), role) => Some(role.explain(reason)),
            };
            if reason.is_some() {
                break reason;
            }
        };
        let watched = decoder.incomplete_since().is_some() || role.answer_by().is_some();
        peer.outbox.push_from(&self.scratch.arena, start);
        let arrival = peer.arrival;
        self.tally.messages_received.add(messages);
        self.tally.commands.add(commands);
        self.after_session(id, arrival);
        if let Some(reason) = ending {
            self.close(id, reason);
        } else if watched {
            self.schedule(id);
        }
    }

    /// Calls a session outside the reading of frames.
    pub(super) fn with_session(&mut self, id: SlotId, act: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let (waiting_bytes, address) = (peer.outbox.bytes(), peer.owner.client(peer.address));
        let Some(chat) = peer.chat_mut() else { return };
        let (start, out) = Outbox::mark(&mut self.scratch.arena);
        let mut cx = Context {
            now: self.now,
            asked: self.now.at,
            policy: &self.setup.policy,
            hub: &mut self.hub,
            slot: Slot(id.index),
            address: self.rounds.rosters.share_of(address, self.basis.address_times),
            connection: chat.name,
            status: &self.rounds.health.snapshot.status,
            flags: &self.rounds.clients.flags.flags,
            waiting_bytes,
            out,
            effects: &mut self.scratch.effects,
            refused: &mut self.scratch.refused,
        };
        act(&mut chat.session, &mut cx);
        let watched = chat.session.answer_by().is_some();
        peer.outbox.push_from(&self.scratch.arena, start);
        let arrival = peer.arrival;
        self.after_session(id, arrival);
        if watched {
            self.schedule(id);
        }
    }

    /// Queues the flush, and performs the session's effects.
    fn after_session(&mut self, id: SlotId, arrival: Arrival) {
        self.mark_dirty(id);
        match arrival {
            Arrival::Settling | Arrival::In => {}
            Arrival::Head | Arrival::Upgraded => self.note_arrival(id),
        }
        if self.scratch.effects.is_empty() {
            return;
        }
        self.check_effects(id);
        let mut effects = std::mem::take(&mut self.scratch.effects);
        for effect in effects.drain(..) {
            self.perform(id, effect);
        }
        if self.scratch.effects.is_empty() {
            self.scratch.effects = effects;
        }
    }

    /// Ends the session of a peer that leaves: ends its subscriptions, releases its user, and records the end.
    pub(super) fn end_session(&mut self, id: SlotId, ending: SessionEnding<'_>) {
        self.leave_attempt(id);
        self.with_session(id, |session, cx| session.end(Departure::by_code(ending.code), cx));
        self.end_producer(id);
        let Some(peer) = self.peers.get_mut(id) else { return };
        let (address, arrival) = (peer.address, peer.arrival);
        if let Some(chat) = peer.chat_mut()
            && let Some(life) = chat.session.take_life()
            && !life.user.is_canary()
        {
            self.ended.push(chat.name, &life, address, ending, self.now);
            self.tally.lost.add(u64::from(ending.code == SessionEnding::LOST.code));
            if matches!(arrival, Arrival::Settling | Arrival::In) {
                self.rounds.clients.versions.leave(chat.version);
                self.rounds.clients.flags.clients.leave(life.flags);
                self.close_session_time(id, ending.rule);
            }
        }
    }
}

/// True exactly when the last command closed its session.
#[inline]
fn has_closed(effects: &[Effect]) -> bool {
    matches!(effects.last(), Some(Effect::Close(_) | Effect::ReleaseUser(_)))
}

fn admit_control(meter: &mut Meter, policy: &Policy, now: Moment) -> Option<CloseReason> {
    let wait: Duration = meter.admit(policy.control_frames?, now).err()?;
    let retry_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1_000);
    Some(CloseReason::RateLimited { bound: "limits.control_frames_per_s", retry_ms })
}
