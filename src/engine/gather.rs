//! A short wait for more publications, which halves the writes of a costly fan-out.

use super::Engine;
use crate::clock::Moment;
use crate::drain::DrainPhase;
use crate::limits::{COMPLETIONS_PER_TURN, GATHER_MAX, GATHER_MIN, WRITE_COST_MAX};
use std::time::Duration;

/// The quota of the inbox in this turn, and the wait for more publications.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    left: InboxLeft,
    /// Publications, and then completions, that may still be taken in this turn.
    pub(super) quota: usize,
    /// The start of the wait; `None` while there is none.
    since: Option<Moment>,
    /// About the duration of the last fan-out: that of its turn, but no more than its writes can have taken.
    pub(super) fan_out: Duration,
    /// The total of delivered runs at the last measurement.
    runs_before: u64,
}

/// Says that the quota left a part of the inbox for the next turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InboxLeft {
    #[default]
    No,
    Yes,
}

impl Gathering {
    /// True exactly when the inbox can wait for the next wake-up.
    pub(super) fn is_done(&self) -> bool {
        self.left == InboxLeft::No
    }

    /// The end of the wait.
    pub(super) fn due(&self) -> Option<Moment> {
        self.since.map(|since| since + self.fan_out.min(GATHER_MAX))
    }

    /// Notes a turn that took `took`, if it delivered runs. `runs` is the total of the engine.
    ///
    /// A turn with a few deliveries may take long because of other work, or because the thread had no core. A wait would not
    /// reduce that, and everything in the inbox would wait with it.
    pub(super) fn measure(&mut self, runs: u64, took: Duration) {
        let writes = runs.wrapping_sub(self.runs_before);
        if writes > 0 {
            self.runs_before = runs;
            let writes = u32::try_from(writes).unwrap_or(u32::MAX);
            self.fan_out = took.min(WRITE_COST_MAX.saturating_mul(writes));
        }
    }
}

impl Engine {
    /// True exactly when the inbox is left for a moment because more publications of this reactor's clients are about to come.
    ///
    /// A subscriber gets all publications of a turn with one write, so two publications in one turn cost half as much as in
    /// two turns. While a fan-out runs, the store commits the next publications; without a wait, the two would alternate for
    /// ever and each turn would find only a part. So a fan-out waits until the store has answered every append, but never
    /// longer than the last fan-out took: a quiet reactor waits for nothing, and a busy one gains more than it waits.
    ///
    /// `answers` and `broadcasts` are the lengths of the two lanes.
    pub fn gathers(&mut self, answers: usize, broadcasts: usize) -> bool {
        let gathering = &mut self.gathering;
        gathering.left = InboxLeft::No;
        gathering.quota = COMPLETIONS_PER_TURN;
        let gain = gathering.fan_out.min(GATHER_MAX);
        let answered = answers >= self.pending.appends();
        if answered
            || gain < GATHER_MIN
            || broadcasts == 0
            || self.rounds.draining.phase == DrainPhase::Closing
        {
            gathering.since = None;
            return false;
        }
        let since = *gathering.since.get_or_insert(self.now.at);
        if since + gain <= self.now.at {
            gathering.since = None;
        }
        gathering.since.is_some()
    }

    /// True exactly when another broadcast may be handed in; false leaves the rest for the next turn.
    pub fn wants_broadcast(&mut self) -> bool {
        self.gathering.quota > 0 || self.leave_rest()
    }

    /// True exactly when another completion may be handed in; false leaves the rest for the next turn. One is taken even in
    /// a full turn: turns that reads fill again and again must not starve the workers' answers.
    pub fn wants_completion(&mut self) -> bool {
        let quota = self.gathering.quota;
        quota == COMPLETIONS_PER_TURN || quota > 0 && !self.turn_is_full() || self.leave_rest()
    }

    fn leave_rest(&mut self) -> bool {
        self.gathering.left = InboxLeft::Yes;
        false
    }
}
