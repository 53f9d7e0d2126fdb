//! Idle subscribed connections: the memory of each.

use super::drive;
use crate::arguments::{Common, Idle};
use crate::crowd::{Crowd, Mode, Turn};
use crate::member::Role;
use crate::process::{Process, Reading};
use crate::report::{Report, rounded};
use serde_json::json;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Connections before the first reading, so that one-time allocations of the server are already done.
const BEFORE: usize = 100;
/// The quiet time before memory is read.
const SETTLE: Duration = Duration::from_millis(500);

struct Silence {
    process: Option<Process>,
    ready: usize,
    wanted: usize,
    step: IdleStep,
    hold: Duration,
    /// Disconnected once the connections may end, which otherwise end after `hold`.
    held: Option<Receiver<()>>,
    first: Option<Reading>,
    second: Option<Reading>,
}

#[derive(Clone, Copy)]
enum IdleStep {
    Begin,
    SettleFirst(Instant),
    Dial,
    SettleSecond(Instant),
    Hold(Instant),
}

/// Dials all members, waits, then reads the server's memory.
pub(crate) fn run(common: &Common, arguments: &Idle, process: Option<Process>) -> Result<Report, String> {
    let connections = arguments.connections as usize;
    let roles = (0..BEFORE + connections).map(|at| Role::Subscriber(at as u32 % arguments.channels));
    let mut crowd = Crowd::new(common, roles)?;
    let mut mode = Silence {
        process,
        ready: 0,
        wanted: BEFORE + connections,
        step: IdleStep::Begin,
        hold: arguments.hold,
        held: arguments.until_eof.then(until_eof),
        first: None,
        second: None,
    };
    crowd.dialer.enqueue(0..BEFORE);
    drive(&mut crowd, &mut mode)?;
    let parameters = json!({ "connections": connections, "channels": arguments.channels });
    let grown = |of: fn(&Reading) -> u64| {
        let (first, second) = mode.first.as_ref().zip(mode.second.as_ref())?;
        Some((of(second) as f64 - of(first) as f64) / connections as f64)
    };
    let second = mode.second.unwrap_or_default();
    Ok(Report::new("idle", common, parameters, &crowd)
        .value("connected", mode.ready)
        .value("anonymous_bytes_per_connection", rounded(grown(|reading| reading.anonymous)))
        .value("resident_bytes_per_connection", rounded(grown(|reading| reading.resident)))
        .value("resident_bytes", second.resident)
        .value("descriptors", second.descriptors))
}

/// The receiver is disconnected once standard input has ended.
fn until_eof() -> Receiver<()> {
    let (held, over) = channel();
    std::thread::spawn(move || {
        // An error is an end as well.
        let _read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(held);
    });
    over
}

impl Mode for Silence {
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
        let now = crowd.now;
        match self.step {
            IdleStep::Begin if self.ready == BEFORE => self.step = IdleStep::SettleFirst(now + SETTLE),
            IdleStep::SettleFirst(until) if until <= now => {
                self.first = self.process.as_ref().and_then(Process::read);
                crowd.dialer.enqueue(BEFORE..self.wanted);
                self.step = IdleStep::Dial;
            }
            IdleStep::Dial if self.ready == self.wanted => self.step = IdleStep::SettleSecond(now + SETTLE),
            IdleStep::SettleSecond(until) if until <= now => {
                self.second = self.process.as_ref().and_then(Process::read);
                self.step = IdleStep::Hold(now + self.hold);
            }
            IdleStep::Hold(until) => {
                crowd.move_on();
                let is_held =
                    self.held.as_ref().is_some_and(|held| held.try_recv() == Err(TryRecvError::Empty));
                if until <= now && !is_held {
                    return if crowd.ready() == self.wanted { Turn::Over } else { self.fewer(crowd) };
                }
            }
            IdleStep::Begin | IdleStep::SettleFirst(_) | IdleStep::Dial | IdleStep::SettleSecond(_) => {}
        }
        Turn::On
    }

    fn progress(&self) -> String {
        format!("{} of {} connected", self.ready, self.wanted)
    }
}

impl Silence {
    fn fewer(&self, crowd: &mut Crowd) -> Turn {
        let ready = crowd.ready();
        crowd.faults.add("closed", || format!("{ready} of {} are left", self.wanted));
        Turn::Over
    }
}
