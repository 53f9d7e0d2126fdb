//! Handshakes up to `connected`: cost and latency of each.

use super::drive;
use crate::arguments::{Common, Connect};
use crate::crowd::{Crowd, Mode, Turn};
use crate::member::Role;
use crate::process::Process;
use crate::report::{Report, Times};
use crate::window::{Measured, Window};
use serde_json::json;
use std::time::Duration;

struct Handshakes {
    window: Window,
    /// Members that are ready; how many are wanted; how many of these come before the window.
    ready: usize,
    wanted: usize,
    before: usize,
    times: Times,
    measured: Measured,
}

/// Keeps all connections open, so that the cost of closing is not measured.
pub(crate) fn run(common: &Common, arguments: &Connect, process: Option<Process>) -> Result<Report, String> {
    let before = (arguments.connections as usize).div_ceil(5);
    let wanted = arguments.connections as usize + before;
    let mut crowd = Crowd::new(common, (0..wanted).map(|_| Role::Publisher))?;
    let mut mode = Handshakes {
        window: Window::new(process, Duration::ZERO, Duration::MAX),
        ready: 0,
        wanted,
        before,
        times: Times::new(),
        measured: Measured::default(),
    };
    crowd.dialer.enqueue(0..before);
    drive(&mut crowd, &mut mode)?;
    let parameters = json!({ "connections": arguments.connections, "concurrency": common.concurrency });
    let count = mode.ready.saturating_sub(before) as u64;
    Ok(Report::new("connect", common, parameters, &crowd)
        .operations("handshake", count, mode.measured)
        .latency("connected", &mode.times))
}

impl Mode for Handshakes {
    fn ready(&mut self, crowd: &mut Crowd, member: usize) {
        self.ready += 1;
        if let Some(member) = crowd.members.get(member).filter(|_| self.window.is_open()) {
            self.times.add(crowd.now.saturating_duration_since(member.dialed));
        }
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        super::unasked(crowd, member, payload);
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        if self.window.is_idle() && self.ready == self.before {
            self.window.open(crowd.now);
            crowd.dialer.enqueue(self.before..self.wanted);
        }
        if self.ready == self.wanted || !crowd.faults.none() {
            self.measured = self.window.shut(crowd.now);
            return Turn::Over;
        }
        Turn::On
    }

    fn progress(&self) -> String {
        format!("{} of {} connected", self.ready, self.wanted)
    }
}
