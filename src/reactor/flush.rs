//! One write for each connection that got something in this turn.

use super::Reactor;
use super::connection::{Connection, Flushed, Peer, Queued, Reading, Replays, Stage, Stall};
use super::slots::SlotId;
use crate::close::CloseReason;
use crate::limits::{LINGER_BYTES_MAX, LINGER_TIMEOUT, REPLAY_PAGE_BYTES_MAX};
use std::net::Shutdown;
use std::time::Duration;

/// How often the longest stalled are looked for while the total is over its bound: it costs a look at all.
const RELIEF_PERIOD: Duration = Duration::from_millis(100);

impl Reactor {
    pub(super) fn flush(&mut self) {
        // Sessions that end while this runs may queue others; each is written once.
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.flush_connection(id);
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
        self.flush_arrivals();
        self.relieve();
        // What was queued by the above lies in the arena of this turn: it must not outlive it.
        self.settle();
    }

    pub(super) fn flush_connection(&mut self, id: SlotId) {
        let now = self.now.at;
        let Some(connection) = self.slots.get_mut(id) else { return };
        connection.queued = Queued::No;
        let (written, flushed) = match connection.tls {
            None => connection.flush(&self.arena),
            Some(_) => connection.flush_sealed(&self.arena, &mut self.secrecy.buffers),
        };
        self.counters.bytes_sent.add(written as u64);
        if flushed == Flushed::Empty && connection.keeps_up() {
            // All but a few of a fan-out: one look at the connection is all it costs.
            if let Stage::WebSocket(websocket) = &mut connection.stage {
                websocket.heartbeat.said(now);
            }
            return;
        }
        if written > 0
            && let Stage::WebSocket(websocket) = &mut connection.stage
        {
            websocket.heartbeat.said(now);
            // A full socket has room again because the peer read. What it says meanwhile may be stuck
            // behind what it was not yet asked: the ping itself waits in the queue.
            if connection.stalled_since.is_some() {
                websocket.heartbeat.heard(now);
            }
        }
        match flushed {
            Flushed::Broken => {
                connection.outbox.clear();
                connection.stalled_since = None;
                self.kill(id);
            }
            Flushed::Empty => {
                connection.stalled_since = None;
                self.drained(id);
            }
            Flushed::Blocked => {
                connection.outbox.settle(&self.arena);
                let newly_stalled = connection.stalled_since.is_none();
                if written > 0 || newly_stalled {
                    connection.stalled_since = Some(Stall::at(now));
                }
                if newly_stalled {
                    self.schedule(id);
                }
                self.drained(id);
            }
        }
        self.count_waiting(id);
    }

    fn count_waiting(&mut self, id: SlotId) {
        if let Some(connection) = self.slots.get_mut(id) {
            let bytes = connection.waiting_bytes() as u32;
            self.waiting_bytes = self.waiting_bytes + u64::from(bytes) - u64::from(connection.counted_bytes);
            connection.counted_bytes = bytes;
        }
    }

    /// There is room again, perhaps: reading goes on, replays go on, a farewell that is said ends.
    fn drained(&mut self, id: SlotId) {
        let outbox_bytes = self.setup.policy.limits.outbox_bytes as usize;
        let Some(connection) = self.slots.get_mut(id) else { return };
        let bytes = connection.waiting_bytes();
        let behind = connection.chat_mut().is_some_and(|chat| chat.replays != Replays::None);
        if behind && bytes < REPLAY_PAGE_BYTES_MAX {
            self.rooms.push(id);
        }
        if connection.reading == Reading::Paused
            && bytes < outbox_bytes
            && !matches!(connection.stage, Stage::Address(_))
        {
            // The edge of the peer's end may have come meanwhile, so it is looked for.
            connection.reading = Reading::Ending;
            self.mark_ready(id);
        }
        if bytes == 0 {
            self.finish_if_sent(id);
        }
    }

    /// Shuts our half once all is sent and nothing is awaited of the peer.
    pub(super) fn finish_if_sent(&mut self, id: SlotId) {
        let until = self.now.at + LINGER_TIMEOUT;
        let Some(connection) = self.slots.get_mut(id) else { return };
        let sent = !connection.wants_flush();
        let Stage::Closing(closing) = &connection.stage else { return };
        match closing.peer {
            Peer::CloseFrame(_) => return,
            Peer::Nothing if !sent => return,
            Peer::Nothing => {}
        }
        if connection.tls.as_mut().is_some_and(|tls| tls.say_done()) {
            return self.mark_dirty(id);
        }
        if connection.reading == Reading::Ended || connection.socket.shutdown(Shutdown::Write).is_err() {
            return self.kill(id);
        }
        connection.stage = Stage::Lingering { until, bytes_left: LINGER_BYTES_MAX };
        // A paused one is read again: what it still says is thrown away.
        if connection.reading == Reading::Paused {
            connection.reading = Reading::Ending;
        }
        self.mark_ready(id);
        self.schedule(id);
    }

    /// Over the total bound the longest stalled go, until a tenth is free again.
    fn relieve(&mut self) {
        let bytes_max = self.outbox_bytes_max();
        if self.waiting_bytes <= bytes_max || self.now.at < self.next_relief {
            return;
        }
        self.next_relief = self.now.at + RELIEF_PERIOD;
        let stalled = |(id, connection): (SlotId, &Connection)| {
            connection.stalled_since.map(|since| (since, id, u64::from(connection.counted_bytes)))
        };
        let mut stalled: Vec<_> = self.slots.iter().filter_map(stalled).collect();
        stalled.sort_unstable_by_key(|(since, _, _)| *since);
        let mut surplus = self.waiting_bytes - bytes_max + bytes_max / 10;
        for (_, id, bytes) in stalled {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(bytes);
            self.give_up(id);
        }
    }

    /// Ends a connection whose socket takes no bytes: no farewell would reach it.
    pub(super) fn give_up(&mut self, id: SlotId) {
        self.count_unsent(id);
        self.close(id, CloseReason::WriteStalled);
        self.kill(id);
    }
}
