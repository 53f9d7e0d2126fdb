//! The state of the objectives, as operators and `/metrics` see it.

use super::Keeper;
use crate::clock::{Moment, Now};
use crate::slo::SloPart;
use crate::slo::report::{ObjectiveReport, SloReport};
use crate::slo::scoreboard::Measured;

impl<C: Fn() -> Now> Keeper<C> {
    /// Publishes the state after a judgement, and returns that of the objectives.
    pub(super) fn publish(&mut self, now: Now) -> Vec<ObjectiveReport> {
        let complete = self.deployment.as_ref().filter(|deployment| deployment.is_complete());
        let of_file = || self.database.as_ref()?.measured(now.unix_ms, self.board.period_days_max()).ok();
        let measured = match complete {
            Some(deployment) => deployment.measured(now.at),
            None => of_file(),
        };
        let own = now.at.since(self.began.at).as_secs();
        let measured = measured.unwrap_or(Measured { known_s: own, up_s: own });
        let objectives = self.board.report(measured);
        let since = |(part, at): (SloPart, Moment)| (part, now.at.since(at).as_secs());
        let is_alone = self.deployment.as_ref().is_some_and(|deployment| deployment.is_alone(now.at));
        self.metrics.slo.publish(SloReport {
            signs: self.signs(now),
            stale_s: SloPart::ALL.into_iter().zip(self.slot.counted).map(since).collect(),
            judged: now.unix_ms,
            exclusions: self.exclusions.between(now.unix_ms, now.unix_ms + 1),
            instance: self.instance.to_string(),
            instances: complete.map_or(1, |deployment| deployment.instances(now.at)),
            unshared_rows: self.deployment.as_ref().map_or(0, |deployment| deployment.journal.len()),
            stored: self.database.is_some(),
            objectives: objectives.clone(),
        });
        if std::mem::replace(&mut self.is_alone, is_alone) != is_alone {
            self.log_alone();
        }
        objectives
    }

    fn log_alone(&self) {
        if self.is_alone {
            let effect =
                "this instance judges what it counts, and keeps it in slo.db until the store is back";
            tracing::warn!(effect, "objectives judged alone");
        } else {
            tracing::info!("objectives judged with other instances");
        }
    }
}
