//! The gateway as something that is watched: its own numbers, read every 2 s and judged like a probe's result.
//!
//! It has a board of its own, with one entry. So it has a state, a past, events and a drill-down as a dependency has, and
//! nothing of it reaches the snapshot: a gateway in need is local, and admission and readiness judge that themselves.

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

/// Commands are judged over so long.
const WINDOW: Duration = Duration::from_secs(10);
/// Counts that are kept for the window: it is looked at every 500 ms at most, and ten times a second when asked to.
const COUNTS_MAX: usize = 128;

/// Where the numbers are.
pub struct Sources {
    /// Descriptors, memory, turns.
    pub vitals: Arc<Vitals>,
    /// Commands and those that failed.
    pub metrics: Arc<Metrics>,
    /// Queues to the workers. They end when all senders are gone, so the watch ends before the workers do.
    pub queues: Queues,
    /// Lanes into the reactors.
    pub mailboxes: Arc<[Mailbox]>,
}

/// See the module.
pub(super) struct Own {
    board: Board,
    sources: Sources,
    counts: VecDeque<(Moment, Commands)>,
}

/// The board of the gateway itself, before anybody looked.
pub fn board(now: Now) -> Board {
    Board::new(vec![capacity::definition()], AdmissionMode::Observe, now)
}

impl Own {
    pub(super) fn new(board: Board, sources: Sources) -> Own {
        Own { board, sources, counts: VecDeque::new() }
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    pub(super) fn board_mut(&mut self) -> &mut Board {
        &mut self.board
    }

    /// Looks, if it is time to. `clock` measures what that took.
    pub(super) fn look(&mut self, clock: impl Fn() -> Now, random: u64) -> Option<Changes> {
        let began = clock();
        let due = self.board.due(began.at)?;
        let Sources { vitals, metrics, queues, mailboxes } = &self.sources;
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

/// Takes the totals of now, and answers with what failed and what there was within the window.
fn recent(counts: &mut VecDeque<(Moment, Commands)>, total: Commands, now: Moment) -> (u64, u64) {
    // The newest that is as old as the window stays: the difference to it is the window's.
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
    fn errors_are_those_of_ten_seconds() {
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
