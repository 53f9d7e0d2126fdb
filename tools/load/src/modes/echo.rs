//! Echo, closed loop: each reply is compared with what was sent and triggers the next message.

use super::drive;
use crate::arguments::{Common, Echo, Kind};
use crate::crowd::{Crowd, Mode, Turn};
use crate::faults::excerpt;
use crate::frame;
use crate::member::Role;
use crate::process::Process;
use crate::report::{Report, Times};
use crate::window::{Edge, Measured, Window};
use serde_json::json;
use std::collections::VecDeque;
use std::time::Instant;

struct Echoes {
    window: Window,
    depth: usize,
    payload: Vec<u8>,
    opcode: u8,
    count: Option<u64>,
    ready: usize,
    /// For each connection: the number of its next message, and the send times of those in flight.
    under_way: Vec<(u32, VecDeque<Instant>)>,
    all: u64,
    echoes: u64,
    times: Times,
    measured: Measured,
}

/// Runs all connections at once, with `depth` messages in flight on each.
pub(crate) fn run(common: &Common, arguments: &Echo, process: Option<Process>) -> Result<Report, String> {
    let connections = arguments.connections as usize;
    let mut crowd = Crowd::new(common, (0..connections).map(|_| Role::Echo))?;
    let mut mode = Echoes {
        window: Window::new(process, common.warmup, common.duration),
        depth: arguments.depth as usize,
        payload: vec![b'x'; arguments.payload as usize],
        opcode: match arguments.kind {
            Kind::Text => frame::TEXT,
            Kind::Binary => frame::BINARY,
        },
        count: arguments.count,
        ready: 0,
        under_way: vec![(0, VecDeque::new()); connections],
        all: 0,
        echoes: 0,
        times: Times::new(),
        measured: Measured::default(),
    };
    crowd.dialer.enqueue(0..connections);
    drive(&mut crowd, &mut mode)?;
    let parameters = json!({
        "connections": connections, "depth": arguments.depth, "payload": arguments.payload, "count": arguments.count,
    });
    Ok(Report::new("echo", common, parameters, &crowd)
        .operations("echo", mode.echoes, mode.measured)
        .latency("echo", &mode.times)
        .value("all", mode.all))
}

impl Echoes {
    /// Sends a member's next message: its number in eight digits, then padding.
    fn next(&mut self, crowd: &mut Crowd, member: usize) {
        let Some((next, sent)) = self.under_way.get_mut(member) else { return };
        number(*next + sent.len() as u32, &mut self.payload);
        sent.push_back(crowd.now);
        crowd.send(member, self.opcode, &self.payload);
    }
}

fn number(n: u32, payload: &mut [u8]) {
    for (place, byte) in payload.iter_mut().take(8).enumerate() {
        let digit = (n >> (28 - 4 * place)) & 0xF;
        *byte = b"0123456789abcdef".get(digit as usize).copied().unwrap_or(b'0');
    }
}

impl Mode for Echoes {
    fn ready(&mut self, crowd: &mut Crowd, _member: usize) {
        self.ready += 1;
        if self.ready == self.under_way.len() {
            self.window.start(crowd.now);
            for member in 0..self.ready {
                (0..self.depth).for_each(|_| self.next(crowd, member));
            }
        }
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        let Some((next, sent)) = self.under_way.get_mut(member) else { return };
        number(*next, &mut self.payload);
        if payload != self.payload {
            crowd.faults.add("mismatch", || excerpt(payload));
        }
        let Some(left) = sent.pop_front() else {
            return crowd.faults.add("unexpected", || excerpt(payload));
        };
        *next = next.wrapping_add(1);
        self.all += 1;
        crowd.move_on();
        if self.window.is_open() {
            self.echoes += 1;
            self.times.add(crowd.now.saturating_duration_since(left));
        }
        if self.count.is_none_or(|count| self.all < count) {
            self.next(crowd, member);
        }
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        if !crowd.faults.none() {
            return Turn::Over;
        }
        if let Some(count) = self.count {
            return if self.all >= count { Turn::Over } else { Turn::On };
        }
        match self.window.turn(crowd.now) {
            Edge::None | Edge::Opened => Turn::On,
            Edge::Shut(measured) => {
                self.measured = measured;
                Turn::Over
            }
        }
    }

    fn progress(&self) -> String {
        format!("{} connections, {} echoes", self.ready, self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_written_in_eight_digits() {
        let mut payload = *b"xxxxxxxxxx";
        number(0x1234_abcd, &mut payload);
        assert_eq!(&payload, b"1234abcdxx");
    }
}
