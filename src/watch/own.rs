//! The gateway as a watched thing: its own figures, read every 2 s and judged like a probe's result.
//!
//! It has a board of its own with one entry, so it has a state, a history, events and a drill-down like a dependency. None of
//! that reaches the snapshot: a degraded gateway is a local matter, which admission and readiness judge themselves.

use crate::clock::{Moment, Now};
use crate::health::board::{Board, Changes};
use crate::health::capacity::{self, Depth, Load};
use crate::health::snapshot::AdmissionMode;
use crate::job::{Mailbox, Queues};
use crate::metrics::scrape::{Commands, Metrics};
use crate::metrics::vitals::Vitals;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The window over which failed commands are judged.
const WINDOW: Duration = Duration::from_secs(10);
/// Counts kept for the window: it is checked every 500 ms at most, and ten times a second on request.
const COUNTS_MAX: usize = 128;

/// The sources of the gateway's own figures.
pub struct OwnSources {
    /// Descriptors, memory, turns.
    pub vitals: Arc<Vitals>,
    /// Commands, and the failed ones among them.
    pub metrics: Arc<Metrics>,
    /// Queues to the workers. They end when all senders are gone, so the watch must end before the workers.
    pub queues: Queues,
    pub mailboxes: Arc<[Mailbox]>,
}

/// The gateway's own board and its figures.
pub(super) struct Own {
    board: Board,
    sources: OwnSources,
    counts: VecDeque<(Moment, Commands)>,
}

/// The board of the gateway itself, before the first look.
pub fn board(now: Now) -> Board {
    Board::new(vec![capacity::definition()], AdmissionMode::Observe, now)
}

impl Own {
    pub(super) fn new(board: Board, sources: OwnSources) -> Own {
        Own { board, sources, counts: VecDeque::new() }
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    pub(super) fn board_mut(&mut self) -> &mut Board {
        &mut self.board
    }

    /// Looks if one is due. `clock` measures how long the look took.
    pub(super) fn look(&mut self, clock: impl Fn() -> Now, random: u64) -> Option<Changes> {
        let began = clock();
        let due = self.board.due(began.at)?;
        let OwnSources { vitals, metrics, queues, mailboxes } = &self.sources;
        let turns: Vec<Duration> =
            vitals.reactors.iter().map(|reactor| reactor.longest_turn(began.at)).collect();
        let depths: Vec<Depth> = queues.depths().collect();
        let spares: Vec<Depth> = queues.spare_depths().collect();
        let lanes: Vec<Depth> = mailboxes.iter().map(Mailbox::live_depth).collect();
        metrics.watch.own.show(&turns, depths.iter().chain(&spares).copied(), &lanes);
        let load = Load {
            descriptors: (vitals.descriptors(), vitals.descriptors_max),
            memory_bytes: (vitals.memory_bytes(), vitals.memory_bytes_max()),
            errors: recent(&mut self.counts, metrics.commands(), began.at),
            turns: &turns,
            queues: &depths,
            spares: &spares,
            lanes: &lanes,
        };
        let ended = clock();
        let finding = capacity::judge(&load, ended.at.since(began.at));
        Some(self.board.observe(&due, finding, ended, random))
    }
}

/// Adds the current totals, and returns failed and all commands within the window.
fn recent(counts: &mut VecDeque<(Moment, Commands)>, total: Commands, now: Moment) -> (u64, u64) {
    // Keeps the newest count that is at least as old as the window; the difference to it covers the window.
    while counts.len() >= COUNTS_MAX || counts.get(1).is_some_and(|(at, _)| now.since(*at) >= WINDOW) {
        counts.pop_front();
    }
    counts.push_back((now, total));
    let (_, oldest) = counts.front().copied().unwrap_or((now, total));
    (total.failed.saturating_sub(oldest.failed), total.all.saturating_sub(oldest.all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(n: u64) -> Moment {
        Moment::from_micros(n * 1_000_000)
    }

    #[test]
    fn errors_are_counted_over_ten_seconds() {
        let mut counts = VecDeque::new();
        let mut total = Commands { failed: 0, all: 100 };
        assert_eq!(recent(&mut counts, total, s(100)), (0, 0));
        total = Commands { failed: 30, all: 200 };
        assert_eq!(recent(&mut counts, total, s(102)), (30, 100));
        for second in (104..=112).step_by(2) {
            total.all += 1;
            let expected = if second < 112 { 30 } else { 0 };
            assert_eq!(recent(&mut counts, total, s(second)).0, expected, "at {second}");
        }
        for second in 0..1_000 {
            recent(&mut counts, total, s(112) + Duration::from_millis(second));
        }
        assert!(counts.len() <= COUNTS_MAX);
    }
}
