//! The timetable of a drain: how a process that is to end lets its clients move first.
//!
//! Everything is counted from the moment a drain begins. Load balancers take seconds to notice that an instance is not
//! ready, so it accepts for a while yet; then every client is given a slot, a time to move, and the slots are spread evenly,
//! so that the successor sees a steady trickle in place of a storm. Who has not moved in the end is closed with a `bye`.
//! The gateway asks [`Timetable::next`] what follows; nothing here waits.

pub mod progress;

use crate::clock::Moment;
use std::time::Duration;

/// `[drain]`: its periods, counted from the beginning where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `drain.accept_ms`: until then it accepts.
    pub accept: Duration,
    /// `drain.spread_ms`: the slots are spread over so long, from there on.
    pub spread: Duration,
    /// `drain.close_ms`: who is still here is closed.
    pub close: Duration,
    /// `drain.exit_ms`: the process is gone.
    pub exit: Duration,
    /// `drain.return_ms`: the returns of those who were closed are spread over so long, from their close on.
    pub returns: Duration,
}

/// Least time from the first close to the exit: what is in flight has to be answered, and a store to be closed.
pub const CLOSING_MIN: Duration = Duration::from_secs(1);

/// From the second signal to the exit.
pub const HURRIED: Duration = Duration::from_millis(1_900);

impl Default for Plan {
    /// Fits into the 30 s that Kubernetes gives.
    fn default() -> Plan {
        Plan {
            accept: Duration::from_secs(3),
            spread: Duration::from_secs(18),
            close: Duration::from_secs(23),
            exit: Duration::from_secs(28),
            returns: Duration::from_secs(10),
        }
    }
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// There is none.
    #[default]
    Serving,
    /// Not ready any more, and everything else as before.
    Accepting,
    /// Nobody is taken in; clients move, each in its slot.
    Moving,
    /// What is in flight is answered, and everybody else is closed.
    Closing,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Phase; 4] = [Phase::Serving, Phase::Accepting, Phase::Moving, Phase::Closing];

    /// One word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Serving => "serving",
            Phase::Accepting => "accepting",
            Phase::Moving => "moving",
            Phase::Closing => "closing",
        }
    }
}

/// Why a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM.
    Terminate,
    /// SIGINT, a Ctrl-C as a rule.
    Interrupt,
    /// `POST /drain` on the admin listener.
    Operator,
    /// It cannot go on: a reactor failed, or the store is another one. There is no drain then, only an end.
    Fault,
}

impl Cause {
    /// All, in the order of their declaration.
    pub const ALL: [Cause; 4] = [Cause::Terminate, Cause::Interrupt, Cause::Operator, Cause::Fault];

    /// One word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Terminate => "SIGTERM",
            Cause::Interrupt => "SIGINT",
            Cause::Operator => "operator",
            Cause::Fault => "fault",
        }
    }
}

/// Who is still here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Reactors that may still take somebody in.
    pub listeners: usize,
    /// Connections of all reactors.
    pub connections: u64,
}

/// A plan and when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timetable {
    /// The beginning.
    pub since: Moment,
    /// What follows, and when.
    pub plan: Plan,
}

impl Timetable {
    /// The listener closes.
    pub fn accept_until(self) -> Moment {
        self.since + self.plan.accept
    }

    /// The last slot.
    pub fn slots_until(self) -> Moment {
        self.since + self.plan.accept + self.plan.spread
    }

    /// Who is still here is closed.
    pub fn close_at(self) -> Moment {
        self.since + self.plan.close
    }

    /// The process is gone.
    pub fn exit_at(self) -> Moment {
        self.since + self.plan.exit
    }

    /// The phase that follows on `phase` now, if it is over.
    pub fn next(self, phase: Phase, now: Moment, left: Left) -> Option<Phase> {
        let nobody = left.listeners == 0 && left.connections == 0;
        match phase {
            Phase::Accepting if now >= self.accept_until() => Some(Phase::Moving),
            Phase::Moving if now >= self.close_at() || nobody => Some(Phase::Closing),
            Phase::Serving | Phase::Accepting | Phase::Moving | Phase::Closing => None,
        }
    }

    /// When [`Timetable::next`] is to be asked again at the latest.
    pub fn due(self, phase: Phase) -> Option<Moment> {
        match phase {
            Phase::Accepting => Some(self.accept_until()),
            Phase::Moving => Some(self.close_at()),
            Phase::Serving | Phase::Closing => None,
        }
    }

    /// The deadlines of a closing that begins now.
    pub fn ending(self, now: Moment) -> Ending {
        Ending::between(now, self.exit_at().max(now + CLOSING_MIN))
    }
}

/// The deadlines of a closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What is not answered by then is closed without its answer.
    pub answer_by: Moment,
    /// Who has not taken its close by then is dropped.
    pub end_by: Moment,
    /// Store, bus and the rest have ended, or the process ends without them.
    pub gone_by: Moment,
}

impl Ending {
    /// Of a process that is to be gone soon: after a second signal, or when it cannot go on.
    pub fn hurried(now: Moment) -> Ending {
        Ending::between(now, now + HURRIED)
    }

    /// Most of the time is for the answers: a store commits in milliseconds, or has a reason to take long.
    fn between(now: Moment, exit: Moment) -> Ending {
        let whole = exit.since(now);
        Ending {
            answer_by: now + whole * 6 / 10,
            end_by: now + whole * 8 / 10,
            // The rest is for the process itself to leave.
            gone_by: now + whole * 95 / 100,
        }
    }
}

/// The slot of the `index`th of `count`, from the first slot's earliest moment: somewhere in its own share of the spread.
/// `random` is in `0.0 .. 1.0`.
///
/// Drawn freely, some seconds would hold half as much again as others; drawn each from a share of its own, every stretch
/// of the spread holds what it should, save for the two shares at its ends.
pub fn slot(index: usize, count: usize, spread: Duration, random: f32) -> Duration {
    let share = spread.as_secs_f64() / count.max(1) as f64;
    let at = share * (index as f64 + f64::from(random.clamp(0.0, 1.0)));
    Duration::from_secs_f64(at.min(spread.as_secs_f64()))
}

/// A wait as clients are told it.
pub fn whole_ms(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Moment = Moment::from_micros(3_600_000_000);

    fn timetable() -> Timetable {
        Timetable { since: HOUR, plan: Plan::default() }
    }

    fn after(ms: u64) -> Moment {
        HOUR + Duration::from_millis(ms)
    }

    /// Phases and when each begins, asked every `step_ms`; `left` tells who is here at a time.
    fn course(step_ms: u64, left: impl Fn(u64) -> Left) -> Vec<(Phase, u64)> {
        let mut phase = Phase::Accepting;
        let mut course = Vec::new();
        for ms in (0..60_000).step_by(step_ms as usize) {
            while let Some(next) = timetable().next(phase, after(ms), left(ms)) {
                phase = next;
                course.push((phase, ms));
            }
        }
        course
    }

    #[test]
    fn a_drain_accepts_for_three_seconds_and_closes_after_twenty_three() {
        let busy = |_| Left { listeners: 0, connections: 1 };
        assert_eq!(course(10, busy), [(Phase::Moving, 3_000), (Phase::Closing, 23_000)]);
    }

    #[test]
    fn it_ends_as_soon_as_nobody_is_here_but_never_while_somebody_may_still_come() {
        let leaves = |ms| Left { listeners: 0, connections: u64::from(ms < 9_000) };
        assert_eq!(course(10, leaves), [(Phase::Moving, 3_000), (Phase::Closing, 9_000)]);
        let empty = |_| Left { listeners: 0, connections: 0 };
        assert_eq!(course(10, empty), [(Phase::Moving, 3_000), (Phase::Closing, 3_000)]);
        // A reactor that has not yet closed its listener may have taken somebody in.
        let open = |ms| Left { listeners: usize::from(ms < 4_000), connections: 0 };
        assert_eq!(course(10, open), [(Phase::Moving, 3_000), (Phase::Closing, 4_000)]);
    }

    #[test]
    fn a_late_look_enters_every_phase_in_order() {
        let empty = |_| Left { listeners: 0, connections: 0 };
        assert_eq!(course(30_000, empty), [(Phase::Moving, 30_000), (Phase::Closing, 30_000)]);
    }

    #[test]
    fn the_deadlines_of_a_closing_are_in_order_and_end_before_the_exit() {
        let planned = timetable().ending(after(23_000));
        let hurried = Ending::hurried(after(4_000));
        let late = timetable().ending(after(40_000));
        for (ending, exit) in
            [(planned, after(28_000)), (hurried, after(4_000) + HURRIED), (late, after(41_000))]
        {
            assert!(ending.answer_by < ending.end_by && ending.end_by < ending.gone_by, "{ending:?}");
            assert!(ending.gone_by < exit, "{ending:?}");
        }
        assert!(planned.answer_by >= after(26_000));
    }

    proptest! {
        /// Every stretch of the spread holds what it should, give or take one at each end, and the next slot is never
        /// farther than two shares.
        #[test]
        fn slots_are_even(
            count in 1_usize..3_000,
            spread_ms in 1_u64..60_000,
            from in 0.0_f64..1.0,
            length in 0.0_f64..1.0,
            seed in any::<u64>(),
        ) {
            let spread = Duration::from_millis(spread_ms);
            let mut random = fastrand::Rng::with_seed(seed);
            let slots: Vec<f64> = (0..count)
                .map(|index| slot(index, count, spread, random.f32()).as_secs_f64() / spread.as_secs_f64())
                .collect();
            prop_assert!(slots.is_sorted());
            prop_assert!(slots.iter().all(|slot| (0.0..=1.0).contains(slot)));
            let end = (from + length).min(1.0);
            let within = slots.iter().filter(|slot| **slot >= from && **slot < end).count() as f64;
            let fair = (end - from) * count as f64;
            prop_assert!((within - fair).abs() <= 2.0, "{within} of {fair}");
            let share = 1.0 / count as f64;
            let gap = slots.windows(2).map(|pair| pair[1] - pair[0]).fold(slots[0], f64::max);
            prop_assert!(gap <= 2.0 * share + 1e-6, "{gap}");
        }
    }

    #[test]
    fn with_a_hundred_connections_no_two_slots_are_half_a_second_apart_and_no_second_is_full() {
        let mut random = fastrand::Rng::with_seed(1);
        let spread = Plan::default().spread;
        let slots: Vec<u32> =
            (0..100).map(|index| whole_ms(slot(index, 100, spread, random.f32()))).collect();
        assert!(slots.windows(2).all(|pair| pair[1] - pair[0] <= 500), "{slots:?}");
        for second in 0..18 {
            let held = slots.iter().filter(|slot| **slot / 1_000 == second).count();
            assert!(held <= 8, "{held} in second {second}");
        }
    }
}
