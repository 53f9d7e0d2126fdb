//! Weeks at the end of the hundred days of which the store keeps quarters.

use super::*;
use crate::job::shared_questions::ClosedWeek;

const DAY_MS: u64 = 24 * HOUR_MS;
const WEEKS: u64 = 16;

/// The leader closes weeks for the first time when some are gone, and a part of one.
#[test]
fn week_of_which_only_a_part_is_kept_is_not_closed() {
    let mut month = Month::new();
    for _ in 0..WEEKS {
        for days in [6, 1] {
            month.count();
            month.turn();
            month.pass(10_000);
            month.turn();
            month.store.weeks.clear();
            month.pass(days * DAY_MS - 10_000);
        }
    }
    month.instances.iter_mut().for_each(|instance| instance.start(&mut month.store));
    month.turn();
    month.pass(10_000);
    month.turn();
    let kept_ms = month.judged_ms - 100 * DAY_MS;
    let first = (0..WEEKS).find(|week| START_MS + week * 7 * DAY_MS >= kept_ms).expect("a whole week");
    let is_cut = START_MS + first * 7 * DAY_MS > kept_ms + DAY_MS;
    assert!(first > 0 && is_cut, "some days are left of the week before");
    let closed: Vec<&ClosedWeek> = month.store.weeks.values().collect();
    let first_ms = closed.iter().map(|week| week.from_ms).min();
    assert_eq!(first_ms, Some(START_MS + first * 7 * DAY_MS));
    for week in closed {
        let within = |at: u64| (week.from_ms..week.from_ms + 7 * DAY_MS).contains(&at);
        let totals = week.counts[SloPart::Attempt.index()].totals;
        assert_eq!((totals.good, totals.bad), month.events.sums(SloPart::Attempt, within), "{}", week.week);
    }
}
