//! The thread `clients`: four times a second it takes the ends and the returns of clients from the reactors, and counts them.
//!
//! Reactors share nothing, and a client mostly returns to another one than it left, so one thread compares them. Nothing waits for
//! it: an event that finds no room in its queue is dropped.

mod errors;

pub use errors::start as start_errors;

use crate::clock::{Moment, Now};
use crate::drain::DrainCause;
use crate::job::clients::ClientEvent;
use crate::metrics::clients::ClientCells;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::slo::SloPart;
use crate::slo::returns::{ClientReturn, DrainReason, EndKind, JudgedReturn, ReturnCause, Returns};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The time between two looks at the queue. Senders do not wake the thread, because that would cost each of them a system call.
const PERIOD: Duration = Duration::from_millis(250);
/// The time between two looks for clients that have not returned.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// The parts that the thread shares with others.
pub struct ClientParts {
    pub events: Receiver<ClientEvent>,
    pub metrics: Arc<Metrics>,
    /// Knows why the process drains.
    pub vitals: Arc<Vitals>,
}

/// A thread that runs.
#[derive(Debug)]
pub struct RunningClients {
    /// Its drop ends the thread.
    alive: Sender<Infallible>,
    thread: JoinHandle<()>,
}

/// Starts the thread.
pub fn start(parts: ClientParts, clock: impl Fn() -> Now + Send + 'static) -> io::Result<RunningClients> {
    let (alive, over) = bounded(0);
    let began = clock().at;
    let counter = ReturnCounter { parts, clock, began, look_at: began, returns: Returns::default() };
    let thread = Builder::new().name("clients".into()).spawn(move || counter.run(&over))?;
    Ok(RunningClients { alive, thread })
}

impl RunningClients {
    /// Ends the thread, which takes what has come. Call it after the reactors have ended.
    pub fn stop(self) {
        drop(self.alive);
        if self.thread.join().is_err() {
            tracing::error!("clients panicked");
        }
    }
}

struct ReturnCounter<C> {
    parts: ClientParts,
    clock: C,
    began: Moment,
    look_at: Moment,
    returns: Returns,
}

impl<C: Fn() -> Now> ReturnCounter<C> {
    fn run(mut self, over: &Receiver<Infallible>) {
        while over.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            self.turn();
        }
        self.turn();
    }

    fn turn(&mut self) {
        let now = (self.clock)().at;
        let now_s = u32::try_from(now.since(self.began).as_secs()).unwrap_or(u32::MAX);
        let drain = match self.parts.vitals.drain.began() {
            Some((DrainCause::Fault, _)) => DrainReason::Fault,
            Some((DrainCause::Terminate | DrainCause::Interrupt | DrainCause::Operator, _)) | None => {
                DrainReason::Requested
            }
        };
        // As many as there are now: reactors go on sending.
        for _ in 0..self.parts.events.len() {
            let Ok(event) = self.parts.events.try_recv() else { break };
            let judged = match event {
                ClientEvent::Ended { connection, code } => {
                    self.returns.ended(connection, EndKind::of(code, drain), now_s)
                }
                ClientEvent::Returned(client) => self.returns.returned(client, now_s),
            };
            judged.into_iter().for_each(|judged| count(&self.parts.metrics.clients, &judged));
        }
        if now < self.look_at {
            return;
        }
        self.look_at = now + LOOK_PERIOD;
        while let Some(judged) = self.returns.expire(now_s) {
            count(&self.parts.metrics.clients, &judged);
        }
        self.parts.metrics.clients.not_returned.add(self.returns.not_returned(now_s));
    }
}

fn count(cells: &ClientCells, judged: &JudgedReturn) {
    let JudgedReturn { client, end } = judged;
    let (previous, cause) = (&client.previous, ReturnCause::of(&client.previous));
    let away_ms = client.away_ms();
    tracing::debug!(
        previous = format_args!("{:016x}", previous.connection),
        cause = cause.as_str(),
        code = previous.code,
        reference = previous.reference.as_str(),
        away_ms,
        attempts = previous.attempts,
        proven = end.is_some(),
        "client returned"
    );
    let Some(end) = *end else { return cells.unproven.add(1) };
    if cause != ReturnCause::Moved {
        count_absence(cells, client, end);
    }
    // Last: a return that is counted has everything counted.
    if let Some(cell) = cells.returns.get(cause as usize) {
        cell.add(1);
    }
}

/// Counts what a client went through.
fn count_absence(cells: &ClientCells, client: &ClientReturn, end: EndKind) {
    let previous = &client.previous;
    cells.away.record(client.away_ms().into());
    cells.attempts.record(previous.attempts.into());
    for (cell, failed) in cells.failed.iter().zip(previous.failed) {
        cell.add(failed.into());
    }
    if let (Some(outcome), Some(part)) = (client.recovery(end), cells.part(SloPart::Returns)) {
        part.count(outcome, 1);
    }
    if let (Some((outcome, ms)), Some(part)) = (client.down(end), cells.part(SloPart::Session)) {
        part.count(outcome, ms.into());
    }
}
