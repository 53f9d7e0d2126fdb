//! The state of a drain, readable by all threads without a lock.
//!
//! Any thread may begin a drain, once. From then on the main thread leads: it alone enters the following phases. Each
//! reactor checks the phase once a turn, follows it, and counts its part into cells of its own.

use super::Cell;
use crate::clock::{Moment, Now};
use crate::drain::progress::{Progress, Unfinished};
use crate::drain::{DrainCause, DrainPhase, Ending, Plan, Timetable};
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The part of one reactor.
#[derive(Debug, Default)]
pub struct ReactorDrain {
    /// True if the listener is closed and every connection it will ever accept is counted in `connections`.
    pub closed: AtomicBool,
    /// Connections that were assigned a slot.
    pub notified: Cell,
    /// Connections that left by themselves after they were assigned a slot.
    pub moved: Cell,
    /// Connections that the reactor closed.
    pub stragglers: Cell,
    /// Publications that were not answered.
    pub appends: Cell,
    /// Connections whose close frame was not sent.
    pub closes: Cell,
    /// Bytes that were waiting for those connections.
    pub bytes: Cell,
}

/// The state of a drain; see the module.
#[derive(Debug)]
pub struct Drain {
    /// Indexed by reactor.
    pub reactors: Vec<ReactorDrain>,
    plan: ArcSwap<Plan>,
    /// The plan at the beginning of the drain. A later reload does not change it, because clients were already sent
    /// their slots.
    begun: OnceLock<Plan>,
    phase: AtomicU8,
    cause: AtomicU8,
    /// The beginning in microseconds of the clock; 0 before.
    since: AtomicU64,
    since_unix_ms: AtomicU64,
    answer_by: AtomicU64,
    end_by: AtomicU64,
}

/// The result of [`Drain::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// This call began the drain.
    Now,
    /// An earlier call did.
    Before,
}

impl Drain {
    /// Creates the state of a process with `reactors` reactors that is serving.
    pub fn new(reactors: usize, plan: Plan) -> Drain {
        Drain {
            reactors: (0..reactors).map(|_| ReactorDrain::default()).collect(),
            plan: ArcSwap::from_pointee(plan),
            begun: OnceLock::new(),
            phase: AtomicU8::new(0),
            cause: AtomicU8::new(0),
            since: AtomicU64::new(0),
            since_unix_ms: AtomicU64::new(0),
            answer_by: AtomicU64::new(u64::MAX),
            end_by: AtomicU64::new(u64::MAX),
        }
    }

    /// Replaces the plan. A drain that has begun keeps its own.
    pub fn revise(&self, plan: Plan) {
        self.plan.store(Arc::new(plan));
    }

    /// The plan of the drain that has begun, or of the next one.
    pub fn plan(&self) -> Plan {
        self.begun.get().copied().unwrap_or_else(|| **self.plan.load())
    }

    /// Begins a drain unless one has begun. The caller wakes the main thread afterwards.
    pub fn begin(&self, cause: DrainCause, now: Now) -> Began {
        self.begin_with(self.plan(), cause, now)
    }

    /// Like [`Drain::begin`], with a plan of its own.
    pub fn begin_with(&self, plan: Plan, cause: DrainCause, now: Now) -> Began {
        let since = now.at.micros().max(1);
        if self.since.compare_exchange(0, since, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return Began::Before;
        }
        let _first = self.begun.set(plan);
        self.cause.store(cause as u8, Ordering::Relaxed);
        self.since_unix_ms.store(now.unix_ms, Ordering::Relaxed);
        // A process that ends because of a fault skips this phase.
        if cause != DrainCause::Fault {
            self.enter(DrainPhase::Accepting);
        }
        Began::Now
    }

    /// Enters a phase, unless a later one was entered. Only the main thread may call it, after the drain has begun.
    /// The caller wakes the reactors afterwards.
    pub fn enter(&self, phase: DrainPhase) {
        self.phase.fetch_max(phase as u8, Ordering::Release);
    }

    /// Enters [`DrainPhase::Closing`] with these deadlines. Only the main thread may call it; it may call it again with
    /// earlier deadlines.
    pub fn close(&self, ending: Ending) {
        self.answer_by.fetch_min(ending.answer_by.micros(), Ordering::Relaxed);
        self.end_by.fetch_min(ending.end_by.micros(), Ordering::Relaxed);
        self.enter(DrainPhase::Closing);
    }

    #[inline]
    pub fn phase(&self) -> DrainPhase {
        DrainPhase::ALL
            .get(usize::from(self.phase.load(Ordering::Acquire)))
            .copied()
            .unwrap_or(DrainPhase::Closing)
    }

    /// Deadline for answers. Requests without an answer are closed then.
    pub fn answer_by(&self) -> Moment {
        Moment::from_micros(self.answer_by.load(Ordering::Relaxed))
    }

    /// Deadline for close frames. Connections that have not taken theirs are dropped then.
    pub fn end_by(&self) -> Moment {
        Moment::from_micros(self.end_by.load(Ordering::Relaxed))
    }

    /// The timetable. Meaningless before the drain has begun.
    pub fn timetable(&self) -> Timetable {
        Timetable { since: Moment::from_micros(self.since.load(Ordering::Acquire)), plan: self.plan() }
    }

    /// The cause and the beginning in Unix milliseconds.
    pub fn began(&self) -> Option<(DrainCause, u64)> {
        // The phase is written last.
        let begun = self.phase() != DrainPhase::Serving;
        let cause = DrainCause::ALL.get(usize::from(self.cause.load(Ordering::Relaxed)));
        begun.then_some((*cause?, self.since_unix_ms.load(Ordering::Relaxed)))
    }

    /// Reactors that may still accept connections.
    pub fn listeners(&self) -> usize {
        self.reactors.iter().filter(|reactor| !reactor.closed.load(Ordering::Acquire)).count()
    }

    /// The work that has been abandoned so far.
    pub fn unfinished(&self) -> Unfinished {
        Unfinished {
            appends: self.sum(|reactor| &reactor.appends),
            closes: self.sum(|reactor| &reactor.closes),
            bytes: self.sum(|reactor| &reactor.bytes),
        }
    }

    /// The progress report. `connections` is the number for the whole process.
    pub fn progress(&self, now: Moment, connections: u64) -> Progress {
        let began = self.began();
        Progress {
            phase: self.phase(),
            began,
            plan: self.plan(),
            elapsed: began.map(|_| now.since(self.timetable().since)).unwrap_or_default(),
            connections,
            notified: self.sum(|reactor| &reactor.notified),
            moved: self.sum(|reactor| &reactor.moved),
            stragglers: self.sum(|reactor| &reactor.stragglers),
            unfinished: self.unfinished(),
        }
    }

    fn sum(&self, cell: impl Fn(&ReactorDrain) -> &Cell) -> u64 {
        self.reactors.iter().map(|reactor| cell(reactor).read()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drain_begins_once_and_leaves_serving_at_once() {
        let drain = Drain::new(1, Plan::default());
        assert_eq!((drain.phase(), drain.began()), (DrainPhase::Serving, None));
        let now = |ms: u64| Now { at: Moment::from_micros(ms * 1_000), unix_ms: ms };
        assert_eq!(drain.begin(DrainCause::Operator, now(7)), Began::Now);
        assert_eq!(drain.phase(), DrainPhase::Accepting);
        assert_eq!(drain.begin(DrainCause::Terminate, now(9)), Began::Before);
        let progress = drain.progress(Moment::from_micros(12_000), 3);
        assert_eq!(progress.began, Some((DrainCause::Operator, 7)));
        assert_eq!((progress.elapsed.as_millis(), progress.connections), (5, 3));
    }

    #[test]
    fn reload_changes_the_plan_only_before_the_drain_begins() {
        let drain = Drain::new(1, Plan::default());
        drain.revise(Plan { close: std::time::Duration::from_secs(40), ..Plan::default() });
        drain.begin(DrainCause::Terminate, Now { at: Moment::from_micros(1_000_000), unix_ms: 1 });
        assert_eq!(drain.timetable().close_at(), Moment::from_micros(41_000_000));
        // The drain has begun, so a reload comes too late.
        drain.revise(Plan::default());
        assert_eq!(drain.timetable().close_at(), Moment::from_micros(41_000_000));
    }

    #[test]
    fn repeated_close_never_moves_a_deadline_later() {
        let drain = Drain::new(1, Plan::default());
        let ending = |ms: u64| Ending {
            answer_by: Moment::from_micros(ms * 1_000),
            end_by: Moment::from_micros(ms * 1_000 + 500_000),
            gone_by: Moment::from_micros(ms * 1_000 + 900_000),
        };
        drain.close(ending(5_000));
        drain.close(ending(6_000));
        assert_eq!(
            (drain.answer_by(), drain.end_by()),
            (Moment::from_micros(5_000_000), Moment::from_micros(5_500_000))
        );
        drain.close(ending(4_000));
        assert_eq!(drain.answer_by(), Moment::from_micros(4_000_000));
        // The thread that began the drain may enter the first phase late.
        drain.enter(DrainPhase::Accepting);
        assert_eq!(drain.phase(), DrainPhase::Closing);
    }

    #[test]
    fn every_phase_survives_the_atomic() {
        let drain = Drain::new(1, Plan::default());
        for phase in DrainPhase::ALL {
            drain.enter(phase);
            assert_eq!(drain.phase(), phase);
        }
    }
}
