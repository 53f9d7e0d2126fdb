//! Leads the process to its end: through the phases of a drain, or directly after a fatal fault.
//!
//! The main thread leads. It follows the timetable: enters the phase that is due, wakes the reactors, which do the work, and
//! logs the progress. Work that is unfinished at the deadline is abandoned and logged.

use super::{capacity, config::Config};
use crate::clock::{Moment, Now};
use crate::drain::progress::Unfinished;
use crate::drain::{DrainCause, DrainPhase, Ending, Remaining};
use crate::id::{Epoch, ReactorId};
use crate::job::Mailbox;
use crate::metrics::drain::Began;
use crate::metrics::vitals::Vitals;
use crate::reactor::Clock;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select};
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::time::Duration;

/// How often resident memory and the store's epoch are checked.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// How often it is checked whether every client has left.
const LEFT_PERIOD: Duration = Duration::from_millis(50);

/// A notification for the main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainNotice {
    /// SIGTERM or SIGINT.
    Signal(DrainCause),
    /// An operator began a drain.
    Began,
    /// A reactor ended. That is a fault unless connections are being closed.
    ReactorEnded(ReactorId),
}

/// A reason that the process cannot continue.
#[derive(Clone, Copy, Debug)]
pub(super) enum FatalFault {
    /// A reactor ended unexpectedly.
    ReactorFailed(ReactorId),
    /// The epoch of the store was replaced.
    EpochReplaced { known: Epoch, found: Epoch },
}

impl FatalFault {
    /// The error that the process exits with.
    pub(super) fn message(self) -> String {
        match self {
            FatalFault::ReactorFailed(id) => format!("reactor {} failed: see the log", id.0),
            FatalFault::EpochReplaced { known, found } => format!(
                "the epoch of the store was changed from {known} to {found} (`seawall store new-epoch`), so the state of this \
                 process belongs to the old logs: start it again"
            ),
        }
    }
}

/// The threads that are being joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AwaitedThread {
    /// They answer pending requests and close every connection.
    Reactors,
    /// It says goodbye to the other instances.
    Registry,
    Watch,
    BusReceive,
    /// It commits the accepted publications.
    Store,
    /// It sends the committed publications.
    BusSend,
    Auth,
}

impl AwaitedThread {
    const fn as_str(self) -> &'static str {
        match self {
            AwaitedThread::Reactors => "the reactors",
            AwaitedThread::Registry => "the registry",
            AwaitedThread::Watch => "the watch thread",
            AwaitedThread::BusReceive => "bus-receive",
            AwaitedThread::Store => "the store",
            AwaitedThread::BusSend => "bus-send",
            AwaitedThread::Auth => "the auth worker",
        }
    }
}

/// The progress of joining the threads.
#[derive(Debug)]
pub(super) enum JoinStep {
    Awaits(AwaitedThread),
    /// All threads are joined, with the first failure.
    Ended(Option<String>),
}

/// Leads the end of the process.
pub(super) struct Leader<'a> {
    pub(super) clock: Clock,
    pub(super) vitals: &'a Vitals,
    pub(super) mailboxes: &'a [Mailbox],
    pub(super) notices: Receiver<DrainNotice>,
    announced: bool,
    signals: u32,
    gone_by: Moment,
}

/// Wakes the main thread after a drain was begun.
pub(super) fn waker(notices: &Sender<DrainNotice>) -> Arc<dyn Fn() + Send + Sync> {
    let notices = notices.clone();
    Arc::new(move || {
        // With a full queue, the main thread is awake already.
        let _ = notices.try_send(DrainNotice::Began);
    })
}

impl<'a> Leader<'a> {
    pub(super) fn new(
        clock: Clock,
        vitals: &'a Vitals,
        mailboxes: &'a [Mailbox],
        notices: Receiver<DrainNotice>,
    ) -> Leader<'a> {
        let gone_by = Moment::from_micros(u64::MAX);
        Leader { clock, vitals, mailboxes, notices, announced: false, signals: 0, gone_by }
    }

    /// Waits until all connections are to be closed. `look` is called each second, and a fault that it returns ends the
    /// process.
    pub(super) fn lead(&mut self, mut look: impl FnMut() -> Option<FatalFault>) -> Option<FatalFault> {
        let mut look_at = Moment::ZERO;
        loop {
            let now = self.clock.read();
            if look_at <= now.at {
                look_at = now.at + LOOK_PERIOD;
                self.vitals.set_use(capacity::resident_bytes(), capacity::cpu_time());
                if let Some(fault) = look() {
                    return Some(self.fail(fault, now));
                }
            }
            if self.advance(now) == DrainPhase::Closing {
                return None;
            }
            match self.notices.recv_timeout(self.patience(now.at, look_at)) {
                Ok(DrainNotice::Signal(cause)) => self.signalled(cause),
                Ok(DrainNotice::ReactorEnded(id)) => {
                    return Some(self.fail(FatalFault::ReactorFailed(id), self.clock.read()));
                }
                Ok(DrainNotice::Began) | Err(RecvTimeoutError::Timeout) => {}
                // The threads that hold the senders live as long as the process.
                Err(RecvTimeoutError::Disconnected) => self.signalled(DrainCause::Terminate),
            }
        }
    }

    fn patience(&self, now: Moment, look_at: Moment) -> Duration {
        let drain = &self.vitals.drain;
        let phase = drain.phase();
        let due = drain.timetable().due(phase).map(|due| due.since(now));
        let left = (phase == DrainPhase::Moving).then_some(LEFT_PERIOD);
        due.into_iter().chain(left).fold(look_at.since(now), Duration::min)
    }

    /// Enters the phases that are due; returns the phase that is current then.
    fn advance(&mut self, now: Now) -> DrainPhase {
        let vitals = self.vitals;
        let drain = &vitals.drain;
        if drain.phase() != DrainPhase::Serving && !self.announced {
            self.announced = true;
            self.announce();
        }
        let left = Remaining { listeners: drain.listeners(), connections: vitals.connections() };
        while let Some(next) = drain.timetable().next(drain.phase(), now.at, left) {
            let progress = drain.progress(now.at, left.connections);
            match next {
                DrainPhase::Serving | DrainPhase::Accepting => {}
                DrainPhase::Moving => {
                    drain.enter(next);
                    tracing::info!(connections = left.connections, "drain moving clients");
                }
                DrainPhase::Closing => {
                    self.close(drain.timetable().ending(now.at));
                    tracing::info!(
                        connections = left.connections,
                        notified = progress.notified,
                        moved = progress.moved,
                        "drain closing remaining connections"
                    );
                }
            }
            self.ring();
        }
        drain.phase()
    }

    fn announce(&self) {
        let now = self.clock.read();
        let progress = self.vitals.drain.progress(now.at, self.vitals.connections());
        let (cause, plan) = (progress.began.map_or("", |(cause, _)| cause.as_str()), progress.plan);
        tracing::info!(
            cause,
            connections = progress.connections,
            accept_ms = plan.accept.as_millis() as u64,
            spread_ms = plan.spread.as_millis() as u64,
            close_ms = plan.close.as_millis() as u64,
            exit_ms = plan.exit.as_millis() as u64,
            "drain started"
        );
    }

    /// The first signal begins a drain, unless an operator has begun one. The next one ends it at once.
    fn signalled(&mut self, cause: DrainCause) {
        self.signals += 1;
        let now = self.clock.read();
        let plan = self.vitals.drain.plan().of(cause, self.vitals.connections());
        match self.vitals.drain.begin_with(plan, cause, now) {
            Began::Now => {}
            Began::Before if self.signals == 1 => {
                tracing::info!(
                    signal = cause.as_str(),
                    hint = "another signal closes all connections at once",
                    "drain already running"
                );
            }
            Began::Before => return self.hurry(now),
        }
        if stderr().is_terminal() {
            tracing::info!("press Ctrl-C again to exit");
        }
    }

    fn hurry(&mut self, now: Now) {
        tracing::warn!(
            connections = self.vitals.connections(),
            exit_within_s = 2,
            "second signal, closing all connections"
        );
        self.close(Ending::hurried(now.at));
        self.ring();
    }

    fn fail(&mut self, fault: FatalFault, now: Now) -> FatalFault {
        match fault {
            FatalFault::ReactorFailed(id) => tracing::error!(reactor = id.0, "reactor failed, stopping"),
            FatalFault::EpochReplaced { .. } => tracing::error!("store epoch replaced, stopping"),
        }
        self.vitals.drain.begin(DrainCause::Fault, now);
        self.close(Ending::hurried(now.at));
        self.ring();
        fault
    }

    fn close(&mut self, ending: Ending) {
        self.gone_by = self.gone_by.min(ending.gone_by);
        self.vitals.drain.close(ending);
    }

    fn ring(&self) {
        for mailbox in self.mailboxes {
            if let Err(error) = mailbox.wake() {
                tracing::warn!(%error, "reactor not woken");
            }
        }
    }

    /// Waits until the threads are joined, or until the deadline. The error names the failure, or says that work is unfinished.
    pub(super) fn finish(
        mut self,
        steps: &Receiver<JoinStep>,
        fault: Option<FatalFault>,
    ) -> Result<(), String> {
        let mut awaited = Some(AwaitedThread::Reactors);
        let mut failed = None;
        let mut hurried = fault.is_some() || self.signals > 1;
        let notices = self.notices.clone();
        while awaited.is_some() {
            let now = self.clock.read();
            select! {
                recv(steps) -> step => match step {
                    Ok(JoinStep::Awaits(next)) => awaited = Some(next),
                    Ok(JoinStep::Ended(failure)) => (awaited, failed) = (None, failure),
                    Err(_) => (awaited, failed) = (None, Some("joining the threads panicked: see the log".into())),
                },
                recv(notices) -> notice => if let Ok(DrainNotice::Signal(_)) = notice {
                    self.signals += 1;
                    // If an operator began the drain, even the first signal may arrive this late.
                    if self.signals > 1 && !hurried {
                        hurried = true;
                        self.hurry(now);
                    }
                },
                default(self.gone_by.since(now.at)) => break,
            }
        }
        let unfinished = self.vitals.drain.unfinished();
        let abandoned = self.log_end(unfinished, awaited);
        fault.map(FatalFault::message).or(failed).or(abandoned).map_or(Ok(()), Err)
    }

    /// Writes the last line of the log. Returns an error if work is unfinished.
    fn log_end(&self, unfinished: Unfinished, awaited: Option<AwaitedThread>) -> Option<String> {
        let progress = self.vitals.drain.progress(self.clock.read().at, 0);
        let (moved, stragglers) = (progress.moved, progress.stragglers);
        let took_ms = progress.elapsed.as_millis() as u64;
        if unfinished.is_nothing() && awaited.is_none() {
            tracing::info!(moved, stragglers, took_ms, "stopped");
            return None;
        }
        let Unfinished { appends, closes, bytes } = unfinished;
        let awaited = awaited.map(AwaitedThread::as_str);
        tracing::error!(
            unanswered_publishes = appends,
            unsent_closes = closes,
            unsent_bytes = bytes,
            awaited,
            moved,
            stragglers,
            took_ms,
            "stopped with unfinished work"
        );
        Some("work was unfinished at the deadline: see the last line of the log".into())
    }
}

/// How to stop the process, for the start banner.
pub(super) fn describe(config: &Config) -> String {
    let exit_s = config.drain.exit.as_secs_f32().round();
    format!("Ctrl-C (drains for at most {exit_s} s; press twice to exit at once)")
}
