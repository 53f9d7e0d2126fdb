//! Reads sockets into the one buffer and hands the bytes to whatever stage their connection is in.

use super::Reactor;
use super::connection::{Closing, Connection, Listed, Peer, Reading, Role, Stage};
use super::slots::SlotId;
use crate::limits::READS_PER_TURN;
use crate::wire::frames::{Frame, Input};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

impl Reactor {
    /// Reads who is ready, each up to its quota; who has more waits for the next turn. Those who arrive come last.
    pub(super) fn read(&mut self) {
        let holds = self.draining.holds_commands();
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..self.ready.len() {
            // What is left waits until the answers so far are sent.
            if self.turn_is_full() {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            if let Some(connection) = self.slots.get_mut(id) {
                connection.listed = Listed::No;
                if holds && connection.takes_commands() {
                    continue;
                }
                self.read_connection(id, &mut buffer);
            }
        }
        self.read_arrivals(&mut buffer);
        self.buffer = buffer;
    }

    pub(super) fn read_connection(&mut self, id: SlotId, buffer: &mut [u8]) {
        for _ in 0..READS_PER_TURN {
            let Some(connection) = self.slots.get_mut(id) else { return };
            match connection.reading {
                Reading::Open | Reading::Ending => {}
                Reading::Paused | Reading::Ended | Reading::Dead => return,
            }
            match recv(&connection.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => {
                    connection.reading = Reading::Ended;
                    self.note_cut(id);
                    self.peer_ended(id);
                    return;
                }
                Ok((length, _)) => {
                    // A short read means that the socket is drained, unless its end is still to be read.
                    let drained = length < buffer.len() && connection.reading == Reading::Open;
                    self.counters.bytes_received.add(length as u64);
                    match connection.tls {
                        None => self.received(id, &mut buffer[..length]),
                        Some(_) => self.received_sealed(id, &mut buffer[..length]),
                    }
                    if drained {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.kill(id);
                    return;
                }
            }
        }
        self.mark_ready(id);
    }

    /// Bytes came.
    pub(super) fn received(&mut self, id: SlotId, bytes: &mut [u8]) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        match &mut connection.stage {
            Stage::Head(_) => self.head_bytes(id, bytes),
            Stage::Address(admission) => {
                admission.rest.extend_from_slice(bytes);
                // What comes before the verdict is kept, within a bound; the socket keeps the rest.
                if admission.rest.len() > self.setup.policy.limits.head_bytes as usize {
                    connection.reading = Reading::Paused;
                }
            }
            Stage::WebSocket(_) => self.frames(id, bytes),
            Stage::Closing(closing) => {
                if closing.heard_close(bytes, self.frame_limits, self.now.at) {
                    self.finish_if_sent(id);
                }
            }
            Stage::Lingering { bytes_left, .. } => {
                *bytes_left = bytes_left.saturating_sub(bytes.len());
                if *bytes_left == 0 {
                    self.kill(id);
                }
            }
        }
        self.pause_if_full(id);
    }

    /// A peer that does not take its answers is not asked for more questions.
    fn pause_if_full(&mut self, id: SlotId) {
        let bytes_max = self.setup.policy.limits.outbox_bytes_hard as usize;
        if let Some(connection) = self.slots.get_mut(id)
            && connection.waiting_bytes() > bytes_max
            && matches!(connection.reading, Reading::Open | Reading::Ending)
        {
            connection.reading = Reading::Paused;
        }
    }

    /// The peer closed its half. Answers on their way are still sent; nothing else is.
    pub(super) fn peer_ended(&mut self, id: SlotId) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        let ends_now = match &mut connection.stage {
            Stage::Head(_) | Stage::Address(_) | Stage::Lingering { .. } => true,
            Stage::WebSocket(_) => true,
            Stage::Closing(closing) => {
                closing.peer = Peer::Nothing;
                false
            }
        };
        let owes_nothing = !connection.wants_flush() && !connection.owes_done();
        if ends_now && owes_nothing {
            self.kill(id);
        } else if ends_now {
            self.end_session(id);
            let until = self.now.at + crate::limits::CLOSE_TIMEOUT;
            if let Some(connection) = self.slots.get_mut(id) {
                connection.stage = Stage::Closing(Closing { until, peer: Peer::Nothing });
            }
            self.schedule(id);
            self.finish_if_sent(id);
        } else {
            self.finish_if_sent(id);
        }
    }
}

impl Closing {
    /// Reads on for the peer's close frame alone; true when there is nothing to wait for any more.
    fn heard_close(
        &mut self,
        bytes: &mut [u8],
        limits: crate::wire::frames::FrameLimits,
        now: crate::clock::Moment,
    ) -> bool {
        let Peer::CloseFrame(decoder) = &mut self.peer else { return true };
        let mut input = Input::new(bytes);
        loop {
            match decoder.next(&mut input, limits, now) {
                Frame::Incomplete => return false,
                Frame::Text(_) | Frame::Binary(_) | Frame::Ping(_) | Frame::Pong => {}
                Frame::Close(_) | Frame::Violation(_) => break,
            }
        }
        self.peer = Peer::Nothing;
        true
    }
}

impl Connection {
    /// True exactly when what it sends may be a command.
    pub(super) fn takes_commands(&self) -> bool {
        match &self.stage {
            Stage::WebSocket(_) => true,
            Stage::Head(_) | Stage::Address(_) | Stage::Closing(_) | Stage::Lingering { .. } => false,
        }
    }

    /// True exactly when `bye` can be said: to an upgraded chat.
    pub(super) fn understands_bye(&self) -> bool {
        match &self.stage {
            Stage::WebSocket(websocket) => match websocket.role {
                Role::Chat(_) => true,
                Role::Echo => false,
            },
            Stage::Head(_) | Stage::Address(_) | Stage::Closing(_) | Stage::Lingering { .. } => false,
        }
    }
}
