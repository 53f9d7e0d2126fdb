//! Operators' exclusions: times whose events are kept out of budgets and alerts.

use super::questions::unreadable;
use super::{Keeper, exclusion_rows};
use crate::clock::Now;
use crate::job::slo::{ExclusionWish, SloAnswer, SloProblem};
use crate::slo::budget_exclusion::BudgetExclusion;
use crate::slo::calendar::ReportZone;

impl<C: Fn() -> Now> Keeper<C> {
    /// All exclusions, as JSON.
    pub(super) fn list_exclusions(&self) -> SloAnswer {
        if self.database.is_none() {
            return Err(unreadable());
        }
        let list = self.exclusions.list();
        serde_json::to_string(&serde_json::json!({"timezone": self.reports.zone.name(), "exclusions": list}))
            .map_or_else(|_| Err(unreadable()), |text| Ok(text + "\n"))
    }

    /// Adds an exclusion: it is stored before it counts.
    pub(super) fn exclude(&mut self, wish: ExclusionWish, by: String) -> SloAnswer {
        let at_ms = (self.clock)().unix_ms;
        let zone = &self.reports.zone;
        let (from_ms, until_ms) = (time(zone, "from", &wish.from)?, time(zone, "until", &wish.until)?);
        let ExclusionWish { objective, why, .. } = wish;
        let exclusion = BudgetExclusion { number: 0, objective, from_ms, until_ms, why, by, at_ms };
        self.check_objective(exclusion.objective.as_deref())?;
        self.exclusions.check(&exclusion).map_err(|fault| SloProblem::Refused(fault.to_string()))?;
        let database = self.database.as_mut().ok_or_else(unreadable)?;
        let stored = exclusion_rows::insert(database.connection(), exclusion).map_err(|_| unreadable())?;
        self.audit(&stored, &stored.by, "exclusion added");
        self.exclusions.add(stored.clone());
        // The periods are summed again after this slot.
        self.summed = 0;
        Ok(text_of(&stored))
    }

    /// Removes an exclusion: its events count again.
    pub(super) fn end_exclusion(&mut self, number: u64, by: &str) -> SloAnswer {
        let database = self.database.as_mut().ok_or_else(unreadable)?;
        if !self.exclusions.list().iter().any(|exclusion| exclusion.number == number) {
            return Err(SloProblem::Unknown(format!(
                "no exclusion has the number {number}: GET /slo/exclusions lists them"
            )));
        }
        exclusion_rows::delete(database.connection(), number).map_err(|_| unreadable())?;
        let removed = self.exclusions.remove(number).ok_or_else(unreadable)?;
        self.audit(&removed, by, "exclusion removed");
        self.summed = 0;
        Ok(text_of(&removed))
    }

    fn check_objective(&self, name: Option<&str>) -> Result<(), SloProblem> {
        let names = self.board.names();
        match name {
            Some(name) if !names.contains(&name) => {
                let known = names.join(", ");
                Err(SloProblem::Refused(format!("there is no objective {name:?}; there are: {known}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn audit(&self, exclusion: &BudgetExclusion, by: &str, event: &'static str) {
        let zone = &self.reports.zone;
        tracing::info!(
            target: "audit",
            number = exclusion.number,
            objective = exclusion.objective.as_deref().unwrap_or("all"),
            from = zone.label(exclusion.from_ms),
            until = zone.label(exclusion.until_ms),
            why = exclusion.why,
            by,
            "{event}"
        );
    }
}

fn time(zone: &ReportZone, name: &str, text: &str) -> Result<u64, SloProblem> {
    zone.time(text).ok_or_else(|| {
        SloProblem::Refused(format!(
            "{name} is {text:?}: it must be a time in {} like 2026-11-24T02:00 or in UTC like 2026-11-24T02:00Z; \
             a time that clocks skip or have twice must be in UTC",
            zone.name()
        ))
    })
}

fn text_of(exclusion: &BudgetExclusion) -> String {
    serde_json::to_string(exclusion).unwrap_or_default() + "\n"
}
