//! Leads the process to its end: through the phases of a drain, or straight there when it cannot go on.
//!
//! One thread leads, the main one. It looks at the timetable, enters the phase that is due, wakes the reactors, which do the
//! work, and says in the log where things stand. What has not ended at its deadline is left behind and named.

use super::{capacity, config::Config};
use crate::clock::{Moment, Now};
use crate::drain::progress::Unfinished;
use crate::drain::{Cause, Ending, Left, Phase};
use crate::id::{Epoch, ReactorId};
use crate::job::Mailbox;
use crate::metrics::drain::Began;
use crate::metrics::vitals::Vitals;
use crate::reactor::Clock;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select};
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::time::Duration;

/// How often resident memory and the store's epoch are looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// How often it is looked whether everybody has left.
const LEFT_PERIOD: Duration = Duration::from_millis(50);

/// What the main thread is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// SIGTERM or SIGINT came.
    Signal(Cause),
    /// An operator began a drain.
    Began,
    /// A reactor ended; before its time unless everybody is being closed.
    ReactorEnded(ReactorId),
}

/// Why the process cannot go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// A reactor ended although nobody asked it to.
    ReactorFailed(ReactorId),
    /// Somebody gave the store another epoch: from the one we know to this one.
    EpochReplaced(Epoch, Epoch),
}

impl Fault {
    /// For the operator, as the last word of the process.
    pub(super) fn message(self) -> String {
        match self {
            Fault::ReactorFailed(id) => format!("reactor {} failed; see the log", id.0),
            Fault::EpochReplaced(known, found) => format!(
                "the store has epoch {found} in place of {known} (`seawall store new-epoch`): what this process knows is of \
                 the old logs; start it again"
            ),
        }
    }
}

/// What of the process is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The reactors: what is in flight is answered, everybody is closed.
    Reactors,
    /// The watch thread.
    Watch,
    /// What hears the bus.
    BusEar,
    /// The store: what was taken is committed.
    Store,
    /// What speaks to the bus: what was committed is sent.
    BusMouth,
    /// The auth worker.
    Auth,
}

impl Awaited {
    const fn as_str(self) -> &'static str {
        match self {
            Awaited::Reactors => "the reactors",
            Awaited::Watch => "the watch",
            Awaited::BusEar => "what hears the bus",
            Awaited::Store => "the store",
            Awaited::BusMouth => "what speaks to the bus",
            Awaited::Auth => "the auth worker",
        }
    }
}

/// Where the threads have come that are being ended, and at last what of them failed.
#[derive(Debug)]
pub(super) enum Step {
    Awaits(Awaited),
    Ended(Option<String>),
}

/// See the module.
pub(super) struct Leader<'a> {
    pub(super) clock: Clock,
    pub(super) vitals: &'a Vitals,
    pub(super) mailboxes: &'a [Mailbox],
    pub(super) notices: Receiver<Notice>,
    announced: bool,
    signals: u32,
    gone_by: Moment,
}

/// Wakes the main thread after a drain was begun.
pub(super) fn bell(notices: &Sender<Notice>) -> Arc<dyn Fn() + Send + Sync> {
    let notices = notices.clone();
    Arc::new(move || {
        // Full: it is awake, and looks.
        let _ = notices.try_send(Notice::Began);
    })
}

impl<'a> Leader<'a> {
    pub(super) fn new(
        clock: Clock,
        vitals: &'a Vitals,
        mailboxes: &'a [Mailbox],
        notices: Receiver<Notice>,
    ) -> Leader<'a> {
        let gone_by = Moment::from_micros(u64::MAX);
        Leader { clock, vitals, mailboxes, notices, announced: false, signals: 0, gone_by }
    }

    /// Waits until everybody is to be closed; says why, where that is a fault. `look` is asked each second whether the process
    /// may go on.
    pub(super) fn lead(&mut self, mut look: impl FnMut() -> Option<Fault>) -> Option<Fault> {
        let mut look_at = Moment::ZERO;
        loop {
            let now = self.clock.read();
            if look_at <= now.at {
                look_at = now.at + LOOK_PERIOD;
                self.vitals.set_memory_bytes(capacity::resident_bytes());
                if let Some(fault) = look() {
                    return Some(self.fail(fault, now));
                }
            }
            if self.advance(now) == Phase::Closing {
                return None;
            }
            match self.notices.recv_timeout(self.patience(now.at, look_at)) {
                Ok(Notice::Signal(cause)) => self.heed(cause),
                Ok(Notice::ReactorEnded(id)) => {
                    return Some(self.fail(Fault::ReactorFailed(id), self.clock.read()));
                }
                Ok(Notice::Began) | Err(RecvTimeoutError::Timeout) => {}
                // The threads that hold its other end live as long as the process.
                Err(RecvTimeoutError::Disconnected) => self.heed(Cause::Terminate),
            }
        }
    }

    fn patience(&self, now: Moment, look_at: Moment) -> Duration {
        let drain = &self.vitals.drain;
        let phase = drain.phase();
        let due = drain.timetable().due(phase).map(|due| due.since(now));
        let left = (phase == Phase::Moving).then_some(LEFT_PERIOD);
        due.into_iter().chain(left).fold(look_at.since(now), Duration::min)
    }

    /// Enters the phases that are due; says which one holds then.
    fn advance(&mut self, now: Now) -> Phase {
        let vitals = self.vitals;
        let drain = &vitals.drain;
        if drain.phase() != Phase::Serving && !self.announced {
            self.announced = true;
            self.announce();
        }
        let left = Left { listeners: drain.listeners(), connections: vitals.connections() };
        while let Some(next) = drain.timetable().next(drain.phase(), now.at, left) {
            let progress = drain.progress(now.at, left.connections);
            match next {
                Phase::Serving | Phase::Accepting => {}
                Phase::Moving => {
                    drain.enter(next);
                    tracing::info!(
                        connections = left.connections,
                        "draining: accepts nobody any more, clients are told when to move"
                    );
                }
                Phase::Closing => {
                    self.close(drain.timetable().ending(now.at));
                    tracing::info!(
                        connections = left.connections,
                        told = progress.told,
                        moved = progress.moved,
                        "draining: who is left is closed"
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
            "draining: not ready from here on, and gone by exit_ms, or when nobody is left after accept_ms"
        );
    }

    /// The first signal begins a drain, unless an operator has; the next one ends it at once.
    fn heed(&mut self, cause: Cause) {
        self.signals += 1;
        let now = self.clock.read();
        match self.vitals.drain.begin(cause, now) {
            Began::Now => {}
            Began::Before if self.signals == 1 => {
                tracing::info!(signal = cause.as_str(), "draining already; another signal ends it at once");
            }
            Began::Before => return self.hurry(now),
        }
        if stderr().is_terminal() {
            tracing::info!("Ctrl-C once more ends it at once");
        }
    }

    fn hurry(&mut self, now: Now) {
        tracing::warn!(
            connections = self.vitals.connections(),
            "another signal: everybody is closed at once, gone within 2 s"
        );
        self.close(Ending::hurried(now.at));
        self.ring();
    }

    fn fail(&mut self, fault: Fault, now: Now) -> Fault {
        match fault {
            Fault::ReactorFailed(id) => tracing::error!(reactor = id.0, "a reactor ended; stopping"),
            Fault::EpochReplaced(..) => tracing::error!("the store has another epoch; stopping"),
        }
        self.vitals.drain.begin(Cause::Fault, now);
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
            if let Err(error) = mailbox.ring() {
                tracing::warn!(%error, "cannot wake a reactor");
            }
        }
    }

    /// Waits for the threads that are being ended, until the deadline. An error says what was not finished.
    pub(super) fn finish(mut self, steps: &Receiver<Step>, fault: Option<Fault>) -> Result<(), String> {
        let mut awaited = Some(Awaited::Reactors);
        let mut failed = None;
        let mut hurried = fault.is_some() || self.signals > 1;
        let notices = self.notices.clone();
        while awaited.is_some() {
            let now = self.clock.read();
            select! {
                recv(steps) -> step => match step {
                    Ok(Step::Awaits(next)) => awaited = Some(next),
                    Ok(Step::Ended(failure)) => (awaited, failed) = (None, failure),
                    Err(_) => (awaited, failed) = (None, Some("the ending of the threads panicked; see the log".into())),
                },
                recv(notices) -> notice => if let Ok(Notice::Signal(_)) = notice {
                    self.signals += 1;
                    // The first one may come this late when an operator began the drain.
                    if self.signals > 1 && !hurried {
                        hurried = true;
                        self.hurry(now);
                    }
                },
                default(self.gone_by.since(now.at)) => break,
            }
        }
        let unfinished = self.vitals.drain.unfinished();
        let told = self.say_how(unfinished, awaited);
        fault.map(Fault::message).or(failed).or(told).map_or(Ok(()), Err)
    }

    /// The last line of the log.
    fn say_how(&self, unfinished: Unfinished, awaited: Option<Awaited>) -> Option<String> {
        let progress = self.vitals.drain.progress(self.clock.read().at, 0);
        let (moved, stragglers) = (progress.moved, progress.stragglers);
        let took_ms = progress.elapsed.as_millis() as u64;
        if unfinished.is_nothing() && awaited.is_none() {
            tracing::info!(moved, stragglers, took_ms, "stopped");
            return None;
        }
        let Unfinished { appends, closes, bytes } = unfinished;
        let awaited = awaited.map(Awaited::as_str);
        tracing::error!(
            unanswered_publishes = appends,
            unsent_closes = closes,
            unsent_bytes = bytes,
            awaited,
            moved,
            stragglers,
            took_ms,
            "stopped, and not everything was finished"
        );
        Some("not everything was finished in time; the last line of the log says what".into())
    }
}

/// What a person is told first of how to end it.
pub(super) fn describe(config: &Config) -> String {
    let exit_s = config.drain.exit.as_secs_f32().round();
    format!("Ctrl-C (drains for at most {exit_s} s; twice: at once)")
}
