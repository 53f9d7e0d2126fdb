//! All connections lost at once and reconnected: the time until each is `connected` again.

use super::drive;
use crate::arguments::{Common, Storm};
use crate::crowd::{Crowd, Mode, Turn};
use crate::dial::Loss;
use crate::member::{Member, Role};
use crate::process::Process;
use crate::report::{Report, Times};
use crate::window::{Measured, Window};
use serde_json::json;
use std::time::{Duration, Instant};

/// The time the server has to settle between the first connections and the storm.
const SETTLE: Duration = Duration::from_millis(500);

struct Reconnects {
    window: Window,
    wanted: usize,
    spread: Duration,
    step: StormStep,
    ready: usize,
    connected: Vec<bool>,
    back: usize,
    times: Times,
    measured: Measured,
    /// Time until the last member was `connected`; the time until it was subscribed is `measured`.
    all_connected: Option<Duration>,
}

#[derive(Clone, Copy)]
enum StormStep {
    Gather,
    Settle(Instant),
    Storm(Instant),
}

/// Connects all members, drops them, and counts the reconnected.
pub(crate) fn run(common: &Common, arguments: &Storm, process: Option<Process>) -> Result<Report, String> {
    let wanted = arguments.connections as usize;
    let mut crowd =
        Crowd::new(common, (0..wanted).map(|at| Role::Subscriber(at as u32 % arguments.channels)))?;
    let mut mode = Reconnects {
        window: Window::new(process, Duration::ZERO, Duration::MAX),
        wanted,
        spread: Duration::from_millis(arguments.spread_ms.into()),
        step: StormStep::Gather,
        ready: 0,
        connected: vec![false; wanted],
        back: 0,
        times: Times::new(),
        measured: Measured::default(),
        all_connected: None,
    };
    crowd.dialer.enqueue(0..wanted);
    drive(&mut crowd, &mut mode)?;
    let parameters = json!({
        "connections": wanted, "channels": arguments.channels, "spread_ms": arguments.spread_ms,
    });
    let all_ms = mode.all_connected.map(|time| time.as_millis() as u64);
    Ok(Report::new("storm", common, parameters, &crowd)
        .operations("reconnect", mode.back as u64, mode.measured)
        .latency("connected", &mode.times)
        .value("all_connected_ms", all_ms)
        .value("all_subscribed_ms", all_ms.map(|_| mode.measured.elapsed.as_millis() as u64))
        .value("retries", crowd.dialer.retries))
}

impl Reconnects {
    fn begin(&mut self, crowd: &mut Crowd) {
        let now = crowd.now;
        self.window.open(now);
        self.step = StormStep::Storm(now);
        self.ready = 0;
        crowd.dialer.change(usize::MAX, Loss::Redial);
        crowd.members.iter_mut().for_each(Member::drop_socket);
        for member in 0..self.wanted {
            crowd.dialer.enqueue_at(member, now + self.spread.mul_f64(fastrand::f64()));
        }
    }
}

impl Mode for Reconnects {
    fn connected(&mut self, crowd: &mut Crowd, member: usize) {
        let StormStep::Storm(since) = self.step else { return };
        let Some(connected) = self.connected.get_mut(member).filter(|connected| !**connected) else { return };
        *connected = true;
        let time = crowd.now.saturating_duration_since(since);
        self.times.add(time);
        self.back += 1;
        self.all_connected = (self.back == self.wanted).then_some(time);
    }

    fn ready(&mut self, _crowd: &mut Crowd, _member: usize) {
        self.ready += 1;
    }

    fn message(&mut self, crowd: &mut Crowd, member: usize, payload: &[u8]) {
        super::unasked(crowd, member, payload);
    }

    fn turn(&mut self, crowd: &mut Crowd) -> Turn {
        if !crowd.faults.none() {
            return Turn::Over;
        }
        match self.step {
            StormStep::Gather if self.ready == self.wanted => {
                self.step = StormStep::Settle(crowd.now + SETTLE)
            }
            StormStep::Settle(until) if until <= crowd.now => self.begin(crowd),
            StormStep::Storm(_) if self.ready >= self.wanted && crowd.ready() == self.wanted => {
                self.measured = self.window.shut(crowd.now);
                return Turn::Over;
            }
            StormStep::Gather | StormStep::Settle(_) | StormStep::Storm(_) => {}
        }
        Turn::On
    }

    fn progress(&self) -> String {
        format!("{} ready, {} of {} back", self.ready, self.back, self.wanted)
    }
}
