//! Writes outboxes to their sockets, and does what the engine orders for single sockets.

use super::Reactor;
use crate::engine::{Flushed, Order, Written};
use std::net::Shutdown;

impl Reactor {
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

    /// Does what the engine ordered since the last call.
    fn obey(&mut self) {
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
