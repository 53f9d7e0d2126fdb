//! The turns of the thread `slo` with the rows of all instances.

use super::deployment::DeploymentSlot;
use super::{Keeper, MINUTE_MS, MINUTES_PER_QUARTER, RESTORED_MINUTES, RunEnd, periods};
use crate::clock::Now;
use crate::job::shared_counts::{CountsAnswer, SharedRunEnd};
use crate::slo::SloPart;
use crate::slo::instance_watch::{clock_skew, silent_canary};
use crate::slo::run_counts::AllCounts;
use crate::wire::stats::InstanceSigns;
use std::sync::Arc;

impl<C: Fn() -> Now> Keeper<C> {
    /// The minute that counts belong to, by the clock of the store if several instances share it.
    pub(super) fn minute(&self, now: Now) -> u64 {
        match &self.deployment {
            Some(deployment) => deployment.store_ms(self.now_ms(now)) / MINUTE_MS,
            None => now.unix_ms / MINUTE_MS,
        }
    }

    /// Faults of this instance that its counts do not show.
    pub(super) fn signs(&self, now: Now) -> InstanceSigns {
        let rounds = self.slot.counted.get(SloPart::ConnectionCanary.index()).copied().unwrap_or(now.at);
        let store_ms = self.deployment.as_ref().and_then(|it| it.known_store_ms(self.now_ms(now)));
        InstanceSigns {
            clock_ms: clock_skew(now.unix_ms, store_ms),
            canary_s: silent_canary(now.at.since(rounds).as_secs(), self.metrics.slo.canary_period()),
        }
    }

    /// Adds the own counts of a slot to the row of this minute, and begins a call of the store.
    pub(super) fn share(&mut self, now: Now, slot: &AllCounts) {
        let (now_ms, sessions) = (self.now_ms(now), self.metrics.sessions_open());
        let (run, minute) = (self.run.number(), self.counts.minute());
        if let Some(deployment) = &mut self.deployment {
            deployment.add(run, minute, slot, now_ms);
            deployment.begin_turn((run, SharedRunEnd::Runs), sessions, now.at, now_ms);
        }
    }

    pub(super) fn take_answer(&mut self, answer: Option<CountsAnswer>) {
        let now = (self.clock)();
        let now_ms = self.now_ms(now);
        let (run, sessions) = (self.run.number(), self.metrics.sessions_open());
        if let Some(deployment) = &mut self.deployment {
            deployment.take(answer, now.at, now_ms);
            deployment.go_on((run, SharedRunEnd::Runs), sessions, now.at, now_ms);
            if let Some(rows) = deployment.take_exclusions() {
                self.take_exclusions(&rows);
            }
        }
    }

    /// Judges the last slot of the deployment, once the rows of the others are known or are not waited for any more.
    pub(super) fn judge_deployment(&mut self, now: Now) {
        let minute = self.minute(now);
        let quarter = minute / MINUTES_PER_QUARTER;
        let Some(deployment) = &mut self.deployment else { return };
        if !deployment.is_judged_now(now.at) {
            return;
        }
        let (passed, own) = std::mem::take(&mut self.unjudged);
        if !deployment.is_complete() {
            self.close_slots(passed, &own, quarter);
            return self.judge_alone(now, &own);
        }
        let instances = deployment.take_instance_slots(self.run.number());
        let slot = match deployment.take_slot() {
            DeploymentSlot::New(slot) => {
                self.close_slots(passed, &slot, quarter);
                slot
            }
            DeploymentSlot::Again(slot) => {
                let minutes = deployment.minutes();
                self.fill_windows(&minutes, minute);
                let now_ms = self.now_ms(now);
                self.alerts.mark_closed(&mut self.board, now_ms);
                self.summed.shared = 0;
                slot
            }
        };
        // In between they grow with each slot.
        if let (Some(deployment), true) = (&self.deployment, self.summed.shared != minute) {
            self.summed.shared = minute;
            let sums = deployment.sums(&periods(&self.board, minute), &self.exclusions);
            for (part, counts) in SloPart::ALL.into_iter().zip(sums) {
                self.board.set_period(part, counts);
            }
        }
        self.judge(now, &slot, &instances);
    }

    /// Judges what this instance counted.
    pub(super) fn judge_alone(&mut self, now: Now, own: &AllCounts) {
        let instance = (Arc::clone(&self.instance), *own);
        self.judge(now, own, &[instance]);
    }

    /// Fills all windows from the minutes with events. What the current one has so far is its first slot.
    fn fill_windows(&mut self, minutes: &[(u64, AllCounts)], minute: u64) {
        self.board.forget_windows();
        let first = minute.saturating_sub(RESTORED_MINUTES);
        let minutes = minutes.iter().filter(|(at, _)| (first..=minute).contains(at));
        let mut next = None;
        for (at, counts) in minutes {
            (next.unwrap_or(*at)..*at).for_each(|_| self.restore(&AllCounts::default()));
            if *at == minute {
                self.close_slots(1, counts, minute / MINUTES_PER_QUARTER);
            } else {
                let judged = self.exclusions.judged(at / MINUTES_PER_QUARTER, counts);
                self.restore(&judged);
            }
            next = Some(at + 1);
        }
        (next.unwrap_or(minute)..minute).for_each(|_| self.restore(&AllCounts::default()));
    }

    /// Lets the store write the last row of this process, and keeps what it does not take.
    pub(super) fn finish(&mut self) {
        let now = (self.clock)();
        let now_ms = self.now_ms(now);
        let (run, sessions) = (self.run.number(), self.metrics.sessions_open());
        if let Some(deployment) = &mut self.deployment {
            deployment.finish(run, sessions, now.at, now_ms);
            self.store(now, RunEnd::Clean);
        }
    }
}
