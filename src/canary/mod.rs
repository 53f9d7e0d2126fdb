//! The thread `canary`: a client of this process that connects, publishes and receives on the real listener, and asks for a health report.
//!
//! The schedule, the dialogue and the outcomes are decided in [`slo::canary`](crate::slo::canary). It takes the way of every client: the kernel's
//! queue, TLS, the PROXY header, admission, the auth worker, the store, the fan-out. Only its identity is its own
//! ([`auth::canary_pass`](crate::auth::canary_pass)), so that nothing of it counts as a user's.

mod client;
mod wires;

use crate::auth::canary_pass::CanaryPass;
use crate::clock::{Moment, Now};
use crate::drain::DrainCause;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::slo::attempt::StopCause;
use crate::slo::canary::{Repetition, RoundKind, event_of_probe, events_of_round};
use crate::slo::{SloOutcome, SloPart};
use client::CanaryClient;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
pub use wires::{ListenerWires, ProxyWire, TlsWire};

/// The parts that the thread shares with others, and its settings.
pub struct CanaryParts {
    pub pass: Arc<CanaryPass>,
    /// The address of the listener, as this process reaches it.
    pub address: SocketAddr,
    pub wires: ListenerWires,
    /// The time between two rounds. Health reports are asked for twice as often.
    pub period: Duration,
    /// Has the cells that it counts into, and the certificate's expiry.
    pub metrics: Arc<Metrics>,
    pub vitals: Arc<Vitals>,
}

/// A thread that runs.
#[derive(Debug)]
pub struct RunningCanary {
    /// Its drop ends the thread.
    alive: Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl RunningCanary {
    /// Ends the thread, at most seconds later.
    pub fn stop(self) {
        drop(self.alive);
        if self.thread.join().is_err() {
            tracing::error!("canary panicked");
        }
    }
}

/// Starts the thread.
pub fn start(parts: CanaryParts, clock: impl Fn() -> Now + Send + 'static) -> io::Result<RunningCanary> {
    let (alive, over) = bounded(0);
    let now = clock().at;
    let mut canary = CanaryThread {
        rounds: Repetition::new(parts.period, now, fastrand::f32()),
        probes: Repetition::new(parts.period / 2, now, fastrand::f32()),
        number: 0,
        failing: 0,
        client: CanaryClient::new(Arc::clone(&parts.pass), parts.address, parts.wires),
        parts,
        clock,
    };
    let thread = Builder::new().name("canary".into()).spawn(move || canary.run(&over))?;
    Ok(RunningCanary { alive, thread })
}

struct CanaryThread<C> {
    rounds: Repetition,
    probes: Repetition,
    /// The number of the last round.
    number: u64,
    /// The parts whose last event was bad, a bit for each: an outage is logged at its beginning and its end.
    failing: u32,
    client: CanaryClient,
    parts: CanaryParts,
    clock: C,
}

impl<C: Fn() -> Now> CanaryThread<C> {
    fn run(&mut self, over: &Receiver<Infallible>) {
        loop {
            let now = (self.clock)().at;
            let next = self.rounds.next().min(self.probes.next());
            match over.recv_timeout(next.since(now)) {
                Err(RecvTimeoutError::Timeout) => self.look((self.clock)().at),
                Ok(_) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Does what is due. Nothing is measured any more once the process was asked to end.
    fn look(&mut self, now: Moment) {
        let is_ending = self.stop_cause().is_some();
        if self.probes.next() <= now {
            if !is_ending {
                let answered = self.client.probe();
                self.count(&event_of_probe(answered, self.stop_cause()));
            }
            self.probes.advance((self.clock)().at, fastrand::f32());
        }
        if self.rounds.next() <= now {
            if !is_ending {
                self.number += 1;
                let not_after = self.parts.metrics.tls.not_after();
                let record = self.client.round(RoundKind::of(self.number), not_after, (self.clock)().unix_ms);
                self.count(&events_of_round(&record, self.stop_cause()));
            }
            self.rounds.advance((self.clock)().at, fastrand::f32());
        }
    }

    fn stop_cause(&self) -> Option<StopCause> {
        self.parts.vitals.drain.began().map(|(cause, _)| match cause {
            DrainCause::Fault => StopCause::Failed,
            DrainCause::Terminate | DrainCause::Interrupt | DrainCause::Operator => StopCause::Requested,
        })
    }

    fn count(&mut self, events: &[(SloPart, SloOutcome)]) {
        for (part, outcome) in events {
            self.log_change(*part, *outcome);
            let Some(cells) = self.parts.metrics.canary.parts.get(part.index()) else { continue };
            match outcome {
                SloOutcome::Good => cells.good.add(1),
                SloOutcome::Bad(cause) => {
                    cells.bad.get(cause.index()).into_iter().for_each(|cell| cell.add(1));
                }
                SloOutcome::Excluded(reason) => {
                    cells.excluded.get(reason.index()).into_iter().for_each(|cell| cell.add(1));
                }
            }
        }
    }

    /// Logs that a part fails, and that it does no longer.
    fn log_change(&mut self, part: SloPart, outcome: SloOutcome) {
        let bit = 1 << part.index();
        let was_failing = self.failing & bit != 0;
        match outcome {
            SloOutcome::Bad(cause) if !was_failing => {
                self.failing |= bit;
                tracing::warn!(slo = part.objective(), cause = cause.as_str(), "canary failed");
            }
            SloOutcome::Good if was_failing => {
                self.failing &= !bit;
                tracing::info!(slo = part.objective(), "canary succeeds again");
            }
            SloOutcome::Good | SloOutcome::Bad(_) | SloOutcome::Excluded(_) => {}
        }
    }
}
