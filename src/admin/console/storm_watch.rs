//! Finds storms of returning clients, which a look at one second does not show. No clock and no thread.

use super::change_watch::FoundChange;
use crate::metrics::changes::ChangeKind;
use crate::metrics::clients::RETURN_BOUNDS_MS;
use crate::slo::returns::ReturnCause;
use std::collections::VecDeque;

/// The seconds that are judged together.
const WINDOW: usize = 10;
/// Windows whose median is the usual number of returns: ten minutes.
const USUAL: usize = 60;
/// Fewer returns in a window are no storm, however quiet it was before.
const STORM_MIN: u64 = 100;
/// A storm has more than this many times the usual number of returns.
const STORM_FACTOR: u64 = 5;

/// The totals of one second since the start of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReturnTotals {
    /// Indexed by [`ReturnCause`].
    pub causes: [u64; ReturnCause::ALL.len()],
    /// By the bounds of the time away; the last has none.
    pub away: [u64; RETURN_BOUNDS_MS.len() + 1],
}

impl ReturnTotals {
    /// Moves are no returns: such a client was never away.
    fn count(&self) -> u64 {
        let moved = self.causes.get(ReturnCause::Moved as usize).copied().unwrap_or(0);
        self.causes.iter().sum::<u64>() - moved
    }

    fn since(&self, before: &ReturnTotals) -> ReturnTotals {
        let mut more = *self;
        for (total, earlier) in more.causes.iter_mut().zip(before.causes) {
            *total = total.saturating_sub(earlier);
        }
        for (total, earlier) in more.away.iter_mut().zip(before.away) {
            *total = total.saturating_sub(earlier);
        }
        more
    }
}

#[derive(Debug, Default)]
pub struct StormWatch {
    /// The totals of the last seconds, the oldest first: at most [`WINDOW`] + 1.
    seconds: VecDeque<ReturnTotals>,
    /// The returns of the last windows: at most [`USUAL`]. Before the start of the process there were none.
    usual: VecDeque<u64>,
    /// Seconds since the last window was added to them.
    passed: usize,
    storm: Option<Storm>,
}

/// A storm that goes on.
#[derive(Debug)]
struct Storm {
    before: ReturnTotals,
    /// Since it was found.
    seconds: usize,
}

impl StormWatch {
    /// Takes the totals of one second. Reports a storm when it is over.
    pub fn look(&mut self, now: ReturnTotals) -> Option<FoundChange> {
        self.seconds.push_back(now);
        if self.seconds.len() > WINDOW + 1 {
            self.seconds.pop_front();
        }
        let oldest = *self.seconds.front()?;
        let returns = now.since(&oldest).count();
        let rages = returns > STORM_MIN && returns > STORM_FACTOR * self.median();
        self.passed += 1;
        if self.passed >= WINDOW {
            self.passed = 0;
            self.usual.push_back(returns);
            if self.usual.len() > USUAL {
                self.usual.pop_front();
            }
        }
        let Some(mut storm) = self.storm.take() else {
            self.storm = rages.then_some(Storm { before: oldest, seconds: 0 });
            return None;
        };
        storm.seconds += 1;
        if rages {
            self.storm = Some(storm);
            return None;
        }
        // The whole window is calm by now.
        let lasted = (storm.seconds + 1).saturating_sub(WINDOW).max(1);
        Some(change_of(&now.since(&storm.before), lasted))
    }

    fn median(&self) -> u64 {
        let mut sorted: Vec<u64> = self.usual.iter().copied().collect();
        sorted.resize(USUAL, 0);
        sorted.sort_unstable();
        sorted.get(USUAL / 2).copied().unwrap_or(0)
    }
}

fn change_of(storm: &ReturnTotals, seconds: usize) -> FoundChange {
    let counted = ReturnCause::ALL.into_iter().zip(storm.causes);
    let cause = counted
        .filter(|(cause, _)| *cause != ReturnCause::Moved)
        .max_by_key(|(_, count)| *count)
        .map_or("other", |(cause, _)| cause.as_str());
    let text = format!("{} clients returned in {seconds} s, most {cause}{}", storm.count(), away(storm));
    FoundChange { kind: ChangeKind::Storm, text, reference: None }
}

/// The time within which 99 of 100 were back, as far as the bounds say.
fn away(storm: &ReturnTotals) -> String {
    let all: u64 = storm.away.iter().sum();
    let mut sum = 0;
    for (count, bound) in storm.away.iter().zip(RETURN_BOUNDS_MS) {
        sum += count;
        if all > 0 && sum * 100 >= all * 99 {
            return format!(", p99 within {} s", bound.div_ceil(1_000));
        }
    }
    let longest = RETURN_BOUNDS_MS.last().copied().unwrap_or_default() / 1_000;
    if all > 0 { format!(", p99 over {longest} s") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at seconds with these numbers of returns, and returns what was found, with the second.
    fn found(returns: impl IntoIterator<Item = u64>) -> Vec<(usize, String)> {
        let mut watch = StormWatch::default();
        let mut totals = ReturnTotals::default();
        let seconds = returns.into_iter().enumerate();
        let look = |(second, count): (usize, u64)| {
            totals.causes[ReturnCause::Restart as usize] += count;
            totals.causes[ReturnCause::Moved as usize] += 1_000;
            totals.away[3] += count;
            watch.look(totals).map(|change| (second, change.text))
        };
        seconds.filter_map(look).collect()
    }

    #[test]
    fn storm_is_one_change_with_its_size_its_length_and_its_cause() {
        let seconds = [vec![2; 120], vec![400; 20], vec![2; 60]].concat();
        let all = found(seconds);
        assert_eq!(all.len(), 1, "{all:?}");
        let (second, text) = &all[0];
        assert!((140..155).contains(second), "it is over: {second}");
        assert!(text.ends_with("s, most restart, p99 within 5 s"), "{text}");
        let count: u64 = text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
        assert!((8_000..8_060).contains(&count), "{text}");
        let lasted: u64 = text.split(' ').nth(4).and_then(|word| word.parse().ok()).expect("a number");
        assert!((20..=22).contains(&lasted), "{text}");
    }

    #[test]
    fn usual_returns_moves_and_a_few_returns_are_no_storm() {
        assert_eq!(found(vec![500; 900]).len(), 1, "the first minutes of a busy gateway, and no more");
        assert_eq!(found([vec![60; 650], vec![290; 12], vec![60; 30]].concat()).len(), 1, "the same");
        assert_eq!(found([vec![0; 100], vec![9; 300]].concat()), []);
        assert_eq!(found(vec![0; 100]), []);
    }
}
