//! Moves bytes: sockets are read into the one buffer for the engine, and outboxes are written to their sockets.

use super::Reactor;
use crate::engine::{Flushed, Order, ReadExtent, SlotId, Written};
use crate::limits::READS_PER_TURN;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::net::Shutdown;
use std::time::Duration;

impl Reactor {
    /// Reads the sockets that are ready, each up to its quota. Connections that are still arriving come last, within a slice
    /// of time.
    pub(super) fn read(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut left = self.engine.ready();
        while let Some(id) = self.engine.next_ready(&mut left) {
            self.read_socket(id, &mut buffer);
        }
        if let Some(slice) = self.engine.arrival_slice() {
            let began = self.setup.clock.moment();
            let mut spent = Duration::ZERO;
            while spent < slice
                && let Some(id) = self.engine.next_arrival()
            {
                self.read_socket(id, &mut buffer);
                spent = self.setup.clock.moment().since(began);
            }
            self.engine.handle_handshake_time(spent);
        }
        self.buffer = buffer;
        self.send_jobs();
    }

    fn read_socket(&mut self, id: SlotId, buffer: &mut [u8]) {
        for _ in 0..READS_PER_TURN {
            let reads = self.engine.reads(id);
            if reads == ReadExtent::Nothing {
                return;
            }
            let Some(socket) = self.sockets.get_mut(id) else { return };
            match recv(&socket.stream, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => {
                    self.note_truncated(id);
                    return self.engine.handle_end(id);
                }
                Ok((length, _)) => {
                    // A short read means that the socket is drained, unless its end is still to be read.
                    let drained = length < buffer.len() && reads == ReadExtent::UntilShort;
                    self.counters.bytes_received.add(length as u64);
                    match socket.tls {
                        None => self.engine.handle_bytes(id, &mut buffer[..length]),
                        Some(_) => self.received_sealed(id, &mut buffer[..length]),
                    }
                    if drained {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => return self.engine.handle_broken(id),
            }
        }
        self.engine.handle_more(id);
    }

    /// Writes every outbox that got something in this turn, and carries out the engine's orders.
    pub(super) fn flush(&mut self) {
        self.obey();
        let Reactor { engine, sockets, secrecy, counters, .. } = self;
        let mut sent = 0;
        let mut write = |id, outbox: &mut _, arena: &_| match sockets.get_mut(id) {
            Some(socket) => {
                let written = socket.flush(outbox, arena, &mut secrecy.buffers);
                sent += written.bytes as u64;
                written
            }
            None => Written { bytes: 0, flushed: Flushed::Broken, sealed_bytes: 0 },
        };
        engine.flush(&mut write);
        if engine.has_dirty_arrivals() {
            let began = self.setup.clock.moment();
            engine.flush_arrivals(&mut write);
            engine.handle_handshake_time(self.setup.clock.moment().since(began));
        }
        counters.bytes_sent.add(sent);
        self.obey();
        self.engine.finish_flush();
    }

    /// Carries out the engine's orders since the last call.
    pub(super) fn obey(&mut self) {
        for order in self.engine.take_orders() {
            match order {
                Order::SayDone(id) => {
                    if let Some(tls) = self.sockets.get_mut(id).and_then(|socket| socket.tls.as_mut()) {
                        tls.say_done();
                    }
                    self.report_transport(id);
                }
                Order::Shutdown(id) => {
                    let socket = self.sockets.get_mut(id);
                    if socket.is_none_or(|socket| socket.stream.shutdown(Shutdown::Write).is_err()) {
                        self.engine.handle_broken(id);
                    }
                }
            }
        }
    }
}
