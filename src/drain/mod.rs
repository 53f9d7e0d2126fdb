//! The timetable of a drain: how a process that shuts down lets its clients move first.
//!
//! All times count from the beginning of the drain. Load balancers take seconds to notice that an instance is not
//! ready, so the process keeps accepting for a while. Then every client is assigned a slot, the time at which it
//! moves. The slots are spread evenly, so that the other instances see a steady trickle instead of a storm. Clients
//! that have not moved by the end are closed with a `bye`. This module never waits: the gateway asks
//! [`Timetable::next`] for the next phase.

pub mod progress;

use crate::clock::Moment;
use std::time::Duration;

/// The `[drain]` settings. Times count from the beginning of the drain unless noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `drain.accept_ms`: the process accepts connections until this time.
    pub accept: Duration,
    /// `drain.spread_ms`: the slots are spread over this period, which follows `accept`.
    pub spread: Duration,
    /// `drain.close_ms`: remaining clients are closed at this time.
    pub close: Duration,
    /// `drain.exit_ms`: the process has ended by this time.
    pub exit: Duration,
    /// `drain.return_ms`: the retry times of closed clients are spread over this period, which begins at their close.
    pub returns: Duration,
}

/// The shortest time from the first close to the exit. In-flight requests must be answered and the store closed.
pub const CLOSING_MIN: Duration = Duration::from_secs(1);

/// The time from a second signal to the exit.
pub const HURRIED: Duration = Duration::from_millis(1_900);

impl Default for Plan {
    /// Fits into the 30 s that Kubernetes grants.
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

impl Plan {
    /// The plan of a drain with this cause. A person at a terminal does not wait for load balancers if no client is connected.
    pub fn of(self, cause: DrainCause, connections: u64) -> Plan {
        match cause {
            DrainCause::Interrupt if connections == 0 => Plan { accept: Duration::ZERO, ..self },
            DrainCause::Interrupt | DrainCause::Terminate | DrainCause::Operator | DrainCause::Fault => self,
        }
    }
}

/// The phase of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainPhase {
    /// No drain has begun.
    #[default]
    Serving,
    /// Readiness fails; everything else is unchanged.
    Accepting,
    /// No connections are accepted. Each client moves in its slot.
    Moving,
    /// In-flight requests are answered, and all other connections are closed.
    Closing,
}

impl DrainPhase {
    /// All phases, in order.
    pub const ALL: [DrainPhase; 4] =
        [DrainPhase::Serving, DrainPhase::Accepting, DrainPhase::Moving, DrainPhase::Closing];

    /// The name in reports, metrics and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            DrainPhase::Serving => "serving",
            DrainPhase::Accepting => "accepting",
            DrainPhase::Moving => "moving",
            DrainPhase::Closing => "closing",
        }
    }
}

/// The reason why a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainCause {
    Terminate,
    /// SIGINT, usually a Ctrl-C.
    Interrupt,
    /// `POST /drain` on the admin listener.
    Operator,
    /// The process cannot continue because a reactor failed or the store was replaced by another one. It ends without
    /// a drain.
    Fault,
}

impl DrainCause {
    /// All causes, in declaration order.
    pub const ALL: [DrainCause; 4] =
        [DrainCause::Terminate, DrainCause::Interrupt, DrainCause::Operator, DrainCause::Fault];

    /// The name in reports and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            DrainCause::Terminate => "SIGTERM",
            DrainCause::Interrupt => "SIGINT",
            DrainCause::Operator => "operator",
            DrainCause::Fault => "fault",
        }
    }
}

/// The clients that have not left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Reactors that may still accept connections.
    pub listeners: usize,
    /// Connections of all reactors.
    pub connections: u64,
}

/// A plan with its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timetable {
    pub since: Moment,
    pub plan: Plan,
}

impl Timetable {
    /// The time at which the listener closes.
    pub fn accept_until(self) -> Moment {
        self.since + self.plan.accept
    }

    /// The end of the last slot.
    pub fn slots_until(self) -> Moment {
        self.since + self.plan.accept + self.plan.spread
    }

    /// The time at which remaining clients are closed.
    pub fn close_at(self) -> Moment {
        self.since + self.plan.close
    }

    /// The time at which the process has ended.
    pub fn exit_at(self) -> Moment {
        self.since + self.plan.exit
    }

    /// The phase that follows `phase`, if `phase` is over now.
    pub fn next(self, phase: DrainPhase, now: Moment, left: Remaining) -> Option<DrainPhase> {
        let empty = left.listeners == 0 && left.connections == 0;
        match phase {
            DrainPhase::Accepting if now >= self.accept_until() => Some(DrainPhase::Moving),
            DrainPhase::Moving if now >= self.close_at() || empty => Some(DrainPhase::Closing),
            DrainPhase::Serving | DrainPhase::Accepting | DrainPhase::Moving | DrainPhase::Closing => None,
        }
    }

    /// The latest time at which [`Timetable::next`] must be asked again.
    pub fn due(self, phase: DrainPhase) -> Option<Moment> {
        match phase {
            DrainPhase::Accepting => Some(self.accept_until()),
            DrainPhase::Moving => Some(self.close_at()),
            DrainPhase::Serving | DrainPhase::Closing => None,
        }
    }

    /// The deadlines of a closing phase that begins now.
    pub fn ending(self, now: Moment) -> Ending {
        Ending::between(now, self.exit_at().max(now + CLOSING_MIN))
    }
}

/// The deadlines of the closing phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Requests that are not answered by then are closed without an answer.
    pub answer_by: Moment,
    /// Connections that have not taken their close frame by then are dropped.
    pub end_by: Moment,
    /// Store, bus and the other workers have ended by then, or the process ends without them.
    pub gone_by: Moment,
}

impl Ending {
    /// The deadlines of a process that must end soon, after a second signal or a fault.
    pub fn hurried(now: Moment) -> Ending {
        Ending::between(now, now + HURRIED)
    }

    /// Gives most of the time to answers: a store commits in milliseconds, or has a reason to take long.
    fn between(now: Moment, exit: Moment) -> Ending {
        let whole = exit.since(now);
        Ending {
            answer_by: now + whole * 6 / 10,
            end_by: now + whole * 8 / 10,
            // The rest is for the exit of the process itself.
            gone_by: now + whole * 95 / 100,
        }
    }
}

/// The slot of client `index` of `count`, relative to the earliest slot. It is a random point in the client's own
/// share of the spread. `random` is in `0.0 .. 1.0`.
///
/// With freely drawn slots, some seconds would hold half as many again as others. With one share for each client,
/// every stretch of the spread holds its fair number, except for the two shares at its ends.
pub fn slot(index: usize, count: usize, spread: Duration, random: f32) -> Duration {
    let share = spread.as_secs_f64() / count.max(1) as f64;
    let at = share * (index as f64 + f64::from(random.clamp(0.0, 1.0)));
    Duration::from_secs_f64(at.min(spread.as_secs_f64()))
}

/// A wait in whole milliseconds, as it is sent to clients.
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

    /// Returns the phases and when each begins, checked every `step_ms`. `left` returns the remaining clients at a
    /// time.
    fn course(step_ms: u64, left: impl Fn(u64) -> Remaining) -> Vec<(DrainPhase, u64)> {
        let mut phase = DrainPhase::Accepting;
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
    fn default_drain_accepts_for_three_seconds_and_closes_after_twenty_three() {
        let busy = |_| Remaining { listeners: 0, connections: 1 };
        assert_eq!(course(10, busy), [(DrainPhase::Moving, 3_000), (DrainPhase::Closing, 23_000)]);
    }

    #[test]
    fn only_an_interrupt_without_clients_ends_without_waiting() {
        let plan = Plan::default();
        assert_eq!(plan.of(DrainCause::Interrupt, 0).accept, Duration::ZERO);
        assert_eq!(plan.of(DrainCause::Interrupt, 1), plan);
        assert_eq!(plan.of(DrainCause::Terminate, 0), plan);
    }

    #[test]
    fn drain_ends_once_all_clients_left_and_no_listener_is_open() {
        let leaves = |ms| Remaining { listeners: 0, connections: u64::from(ms < 9_000) };
        assert_eq!(course(10, leaves), [(DrainPhase::Moving, 3_000), (DrainPhase::Closing, 9_000)]);
        let empty = |_| Remaining { listeners: 0, connections: 0 };
        assert_eq!(course(10, empty), [(DrainPhase::Moving, 3_000), (DrainPhase::Closing, 3_000)]);
        // A reactor that has not closed its listener may have accepted a connection.
        let open = |ms| Remaining { listeners: usize::from(ms < 4_000), connections: 0 };
        assert_eq!(course(10, open), [(DrainPhase::Moving, 3_000), (DrainPhase::Closing, 4_000)]);
    }

    #[test]
    fn late_check_enters_every_phase_in_order() {
        let empty = |_| Remaining { listeners: 0, connections: 0 };
        assert_eq!(course(30_000, empty), [(DrainPhase::Moving, 30_000), (DrainPhase::Closing, 30_000)]);
    }

    #[test]
    fn closing_deadlines_are_ordered_and_before_the_exit() {
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
        /// Every stretch of the spread holds its fair number of slots, give or take one at each end, and the next
        /// slot is never further away than two shares.
        #[test]
        fn slots_are_evenly_spread(
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
    fn slots_of_a_hundred_connections_are_close_and_fill_no_second() {
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
