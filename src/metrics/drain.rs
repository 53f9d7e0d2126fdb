//! How far the end of the process has come, for all threads to see, without a lock.
//!
//! Anybody may begin a drain, once. The main thread then leads: it alone enters the phases that follow. Each reactor looks
//! once a turn, follows, and counts what it does into cells of its own.

use super::Cell;
use crate::clock::{Moment, Now};
use crate::drain::progress::{Progress, Unfinished};
use crate::drain::{Cause, Ending, Phase, Plan, Timetable};
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// One reactor's part.
#[derive(Debug, Default)]
pub struct ReactorDrain {
    /// Whether its listener is closed, and everybody it will ever hold is counted as a connection.
    pub closed: AtomicBool,
    /// Connections that were given a slot.
    pub told: Cell,
    /// Connections that left by themselves after they were given one.
    pub moved: Cell,
    /// Connections that it closed.
    pub stragglers: Cell,
    /// Publications that got no answer.
    pub appends: Cell,
    /// Connections whose close was not sent.
    pub closes: Cell,
    /// Bytes that waited for them.
    pub bytes: Cell,
}

/// See the module.
#[derive(Debug)]
pub struct Drain {
    /// By reactor.
    pub reactors: Vec<ReactorDrain>,
    plan: ArcSwap<Plan>,
    /// The plan it began with: what clients were told stays true whatever is reloaded meanwhile.
    begun: OnceLock<Plan>,
    phase: AtomicU8,
    cause: AtomicU8,
    /// When it began, in microseconds of the clock; 0 before.
    since: AtomicU64,
    since_unix_ms: AtomicU64,
    answer_by: AtomicU64,
    end_by: AtomicU64,
}

/// Whether a drain was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// By this call.
    Now,
    /// By an earlier one.
    Before,
}

impl Drain {
    /// None, of so many reactors.
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

    /// Another plan holds for a drain that has not begun.
    pub fn revise(&self, plan: Plan) {
        self.plan.store(Arc::new(plan));
    }

    fn plan(&self) -> Plan {
        self.begun.get().copied().unwrap_or_else(|| **self.plan.load())
    }

    /// Begins it, unless it has begun. The main thread is to be woken after it.
    pub fn begin(&self, cause: Cause, now: Now) -> Began {
        let since = now.at.micros().max(1);
        if self.since.compare_exchange(0, since, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return Began::Before;
        }
        let _first = self.begun.set(**self.plan.load());
        self.cause.store(cause as u8, Ordering::Relaxed);
        self.since_unix_ms.store(now.unix_ms, Ordering::Relaxed);
        // What a fault ends does not accept first.
        if cause != Cause::Fault {
            self.enter(Phase::Accepting);
        }
        Began::Now
    }

    /// Another phase holds from here on, unless a later one does; only the main thread may, once it began. The reactors
    /// are to be woken after it.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Release);
    }

    /// Everybody is to be closed, by these deadlines; only the main thread may, again if they become earlier.
    pub fn close(&self, ending: Ending) {
        self.answer_by.fetch_min(ending.answer_by.micros(), Ordering::Relaxed);
        self.end_by.fetch_min(ending.end_by.micros(), Ordering::Relaxed);
        self.enter(Phase::Closing);
    }

    /// Where it stands.
    #[inline]
    pub fn phase(&self) -> Phase {
        Phase::ALL.get(usize::from(self.phase.load(Ordering::Acquire))).copied().unwrap_or(Phase::Closing)
    }

    /// What is not answered by then is closed without its answer.
    pub fn answer_by(&self) -> Moment {
        Moment::from_micros(self.answer_by.load(Ordering::Relaxed))
    }

    /// Who has not taken its close by then is dropped.
    pub fn end_by(&self) -> Moment {
        Moment::from_micros(self.end_by.load(Ordering::Relaxed))
    }

    /// What follows, and when; of no use before it began.
    pub fn timetable(&self) -> Timetable {
        Timetable { since: Moment::from_micros(self.since.load(Ordering::Acquire)), plan: self.plan() }
    }

    /// Why and when it began, Unix milliseconds.
    pub fn began(&self) -> Option<(Cause, u64)> {
        // The phase is written last.
        let begun = self.phase() != Phase::Serving;
        let cause = Cause::ALL.get(usize::from(self.cause.load(Ordering::Relaxed)));
        begun.then_some((*cause?, self.since_unix_ms.load(Ordering::Relaxed)))
    }

    /// Reactors that may still take somebody in.
    pub fn listeners(&self) -> usize {
        self.reactors.iter().filter(|reactor| !reactor.closed.load(Ordering::Acquire)).count()
    }

    /// What is given up so far.
    pub fn unfinished(&self) -> Unfinished {
        Unfinished {
            appends: self.sum(|reactor| &reactor.appends),
            closes: self.sum(|reactor| &reactor.closes),
            bytes: self.sum(|reactor| &reactor.bytes),
        }
    }

    /// For people and programs; `connections` are those of the process.
    pub fn progress(&self, now: Moment, connections: u64) -> Progress {
        let began = self.began();
        Progress {
            phase: self.phase(),
            began,
            plan: self.plan(),
            elapsed: began.map(|_| now.since(self.timetable().since)).unwrap_or_default(),
            connections,
            told: self.sum(|reactor| &reactor.told),
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
    fn a_drain_begins_once_and_is_not_ready_from_that_moment() {
        let drain = Drain::new(1, Plan::default());
        assert_eq!((drain.phase(), drain.began()), (Phase::Serving, None));
        let now = |ms: u64| Now { at: Moment::from_micros(ms * 1_000), unix_ms: ms };
        assert_eq!(drain.begin(Cause::Operator, now(7)), Began::Now);
        assert_eq!(drain.phase(), Phase::Accepting);
        assert_eq!(drain.begin(Cause::Terminate, now(9)), Began::Before);
        let progress = drain.progress(Moment::from_micros(12_000), 3);
        assert_eq!(progress.began, Some((Cause::Operator, 7)));
        assert_eq!((progress.elapsed.as_millis(), progress.connections), (5, 3));
    }

    #[test]
    fn a_reload_changes_the_plan_of_the_drain_to_come() {
        let drain = Drain::new(1, Plan::default());
        drain.revise(Plan { close: std::time::Duration::from_secs(40), ..Plan::default() });
        drain.begin(Cause::Terminate, Now { at: Moment::from_micros(1_000_000), unix_ms: 1 });
        assert_eq!(drain.timetable().close_at(), Moment::from_micros(41_000_000));
        // A reload that was under way when it began comes too late.
        drain.revise(Plan::default());
        assert_eq!(drain.timetable().close_at(), Moment::from_micros(41_000_000));
    }

    #[test]
    fn a_hurry_that_comes_late_makes_no_deadline_later() {
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
        // Whoever began it may come to say so only now.
        drain.enter(Phase::Accepting);
        assert_eq!(drain.phase(), Phase::Closing);
    }

    #[test]
    fn every_phase_is_read_as_it_was_entered() {
        let drain = Drain::new(1, Plan::default());
        for phase in Phase::ALL {
            drain.enter(phase);
            assert_eq!(drain.phase(), phase);
        }
    }
}
