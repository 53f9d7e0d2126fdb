//! Orders with times, from a file or generated from a seed.

use crate::mode::{Direction, Garble, Mode, Pace};
use crate::order::Order;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// The maximum number of steps of a file; more is taken for a mistake.
const STEPS_MAX: usize = 100_000;

/// An order and the time to wait before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The time since the previous step, or since the start.
    pub after: Duration,
    pub order: Order,
}

/// A sequence of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(pub Vec<Step>);

impl Schedule {
    /// Parses lines of milliseconds since the previous step and an order: `500 stall`. Empty lines are ignored, and so is
    /// text after a `#`.
    ///
    /// # Errors
    ///
    /// Returns the number of the first bad line, its mistake, and what to write.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (after, order) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let after = after.parse::<u32>().map_err(|_| {
                format!(
                    "line {number}: `{after}`: begin with milliseconds since the last step, as in `500 stall`"
                )
            })?;
            let order = order.parse().map_err(|error| format!("line {number}: {error}"))?;
            if steps.len() == STEPS_MAX {
                return Err(format!("line {number}: a schedule has at most {STEPS_MAX} steps"));
            }
            steps.push(Step { after: Duration::from_millis(after.into()), order });
        }
        Ok(Schedule(steps))
    }

    /// Generates faults of 50 ms to 2 s with pauses in the same range; the same seed gives the same schedule.
    pub fn seeded(seed: u64, faults: usize) -> Schedule {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut steps = Vec::new();
        for _ in 0..faults.min(STEPS_MAX) {
            let order = fault(&mut random);
            for order in [order, Order::Set(Mode::Pass)] {
                steps.push(Step { after: Duration::from_millis(random.u64(50..=2_000)), order });
            }
        }
        Schedule(steps)
    }
}

fn fault(random: &mut fastrand::Rng) -> Order {
    let mode = match random.u32(0..13) {
        0 => return Order::CutNow,
        1 => return Order::ResetNow,
        2 => Mode::Refuse,
        3 => Mode::Cut,
        4 => Mode::Reset,
        5 => Mode::Stall,
        6 => Mode::HalfOpen(if random.bool() { Direction::Requests } else { Direction::Answers }),
        7 => Mode::Slow(Pace {
            bytes_per_s: NonZeroU64::new(random.u64(0..100_000)),
            latency: Duration::from_millis(random.u64(0..500)),
        }),
        8 => Mode::ResetOnce(random.u64(0..1_000)),
        9 => Mode::ResetEach(random.u64(0..10_000)),
        10 => Mode::Garble(Garble {
            seed: random.u32(..).into(),
            every: NonZeroU32::MIN.saturating_add(random.u32(0..1_000)),
        }),
        11 => Mode::Unanswered,
        _ => Mode::BlackHole,
    };
    Order::Set(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_parsed_line_by_line() {
        let schedule = Schedule::parse("# begin\n500 stall\n\n1000 pass # again\n0 cut now\n").expect("good");
        let after: Vec<u128> = schedule.0.iter().map(|step| step.after.as_millis()).collect();
        assert_eq!(after, [500, 1000, 0]);
        assert_eq!(schedule.0[2].order, Order::CutNow);
    }

    #[test]
    fn error_names_the_bad_line() {
        let error = Schedule::parse("1 pass\nsoon stall").expect_err("no time");
        assert!(error.starts_with("line 2: `soon`: begin with milliseconds"), "{error}");
        let error = Schedule::parse("1").expect_err("no order");
        assert!(error.starts_with("line 1: ") && error.contains("black-hole"), "{error}");
    }

    #[test]
    fn seeded_schedule_is_reproducible_and_parses_from_its_text() {
        let schedule = Schedule::seeded(5, 200);
        assert_eq!(schedule, Schedule::seeded(5, 200));
        assert_ne!(schedule, Schedule::seeded(6, 200));
        let lines: Vec<String> =
            schedule.0.iter().map(|step| format!("{} {}", step.after.as_millis(), step.order)).collect();
        assert_eq!(Schedule::parse(&lines.join("\n")), Ok(schedule));
    }
}
