//! Operators' exclusions: times whose events are kept out of budgets and alerts.
//!
//! Instances that share a store have the exclusions of its rows, and copies of them in `slo.db` for a start without the store. One that was
//! added by an earlier release, which kept its own, is shared with the first call.

use super::doubtful_orders::DoubtfulOrder;
use super::questions::{QuestionStep, unreadable};
use super::shared_state::ExclusionSource;
use super::{Keeper, exclusion_rows};
use crate::clock::Now;
use crate::job::shared_questions::{ExclusionRow, StoreQuestion};
use crate::job::slo::{ExclusionWish, SloAnswer, SloProblem, SloQuestion};
use crate::slo::budget_exclusion::{BudgetExclusion, ExclusionFault};
use crate::slo::calendar::ReportZone;
use crate::slo::exclusion::ExclusionList;
use rusqlite::Connection;

impl<C: Fn() -> Now> Keeper<C> {
    /// All exclusions, as JSON.
    pub(super) fn list_exclusions(&self) -> SloAnswer {
        if self.database.is_none() && self.exclusion_source == ExclusionSource::File {
            return Err(unreadable());
        }
        let list = self.exclusions.list();
        serde_json::to_string(&serde_json::json!({"timezone": self.reports.zone.name(), "exclusions": list}))
            .map_or_else(|_| Err(unreadable()), |text| Ok(text + "\n"))
    }

    /// Adds an exclusion: it is stored before it counts.
    pub(super) fn exclude(&mut self, wish: &ExclusionWish, by: &str) -> Result<QuestionStep, SloProblem> {
        let at_ms = (self.clock)().unix_ms;
        let zone = &self.reports.zone;
        let (from_ms, until_ms) = (time(zone, "from", &wish.from)?, time(zone, "until", &wish.until)?);
        let ExclusionWish { objective, why, .. } = wish.clone();
        let by = by.to_owned();
        let exclusion = BudgetExclusion { number: 0, objective, from_ms, until_ms, why, by, at_ms };
        self.check_objective(exclusion.objective.as_deref())?;
        self.exclusions.check(&exclusion).map_err(|fault| SloProblem::Refused(fault.to_string()))?;
        if self.deployment.is_some() {
            return Ok(QuestionStep::Ask(StoreQuestion::Exclude(row_of(&exclusion))));
        }
        let database = self.database.as_mut().ok_or_else(unreadable)?;
        let stored = exclusion_rows::insert(database.connection(), exclusion).map_err(|_| unreadable())?;
        Ok(QuestionStep::Answer(Ok(self.note_added(stored))))
    }

    /// Takes that the store has an exclusion under this number; `None`: it has too many.
    pub(super) fn finish_exclude(&mut self, row: &ExclusionRow, number: Option<u64>) -> SloAnswer {
        let refused = || SloProblem::Refused(ExclusionFault::TooMany.to_string());
        let number = number.ok_or_else(refused)?;
        let known = self.exclusions.list().iter().find(|known| known.number == number);
        // The same one was there. Numbers of the file are others until the first list of the store.
        if let (Some(known), ExclusionSource::Store) = (known, self.exclusion_source) {
            // The list may have come before this answer.
            if exclusion_of(number, &row.body).as_ref() == Some(known) {
                self.audit(known, &known.by, "exclusion added");
            }
            return Ok(text_of(known));
        }
        let added = exclusion_of(number, &row.body).ok_or_else(unreadable)?;
        let answer = self.note_added(added);
        self.copy_exclusions();
        Ok(answer)
    }

    fn note_added(&mut self, added: BudgetExclusion) -> String {
        self.audit(&added, &added.by, "exclusion added");
        let answer = text_of(&added);
        self.exclusions.add(added);
        self.sum_again();
        answer
    }

    /// Lets the periods be summed again after this slot.
    fn sum_again(&mut self) {
        (self.summed.own, self.summed.shared) = (0, 0);
    }

    /// Removes an exclusion: its events count again.
    pub(super) fn end_exclusion(&mut self, number: u64, by: &str) -> Result<QuestionStep, SloProblem> {
        if self.deployment.is_some() {
            return Ok(QuestionStep::Ask(StoreQuestion::EndExclusion(number)));
        }
        let database = self.database.as_mut().ok_or_else(unreadable)?;
        if !self.exclusions.list().iter().any(|exclusion| exclusion.number == number) {
            return Err(no_exclusion(number));
        }
        exclusion_rows::delete(database.connection(), number).map_err(|_| unreadable())?;
        let removed = self.exclusions.remove(number).ok_or_else(unreadable)?;
        self.audit(&removed, by, "exclusion removed");
        self.sum_again();
        Ok(QuestionStep::Answer(Ok(text_of(&removed))))
    }

    /// Takes that the store has removed an exclusion with this body; `None`: it had none of this number.
    pub(super) fn finish_end(&mut self, number: u64, by: &str, body: Option<&str>) -> SloAnswer {
        let body = body.ok_or_else(|| no_exclusion(number))?;
        let removed = exclusion_of(number, body).ok_or_else(unreadable)?;
        self.audit(&removed, by, "exclusion removed");
        if self.exclusion_source == ExclusionSource::Store {
            self.exclusions.remove(number);
        }
        self.sum_again();
        self.copy_exclusions();
        Ok(text_of(&removed))
    }

    /// Keeps an order that the store was given and has not answered.
    pub(super) fn doubt(&mut self, question: &SloQuestion, asked: &StoreQuestion) {
        let order = match (question, asked) {
            (SloQuestion::Exclude(..), StoreQuestion::Exclude(row)) => {
                exclusion_of(0, &row.body).map(DoubtfulOrder::Exclude)
            }
            (SloQuestion::EndExclusion(number, by), StoreQuestion::EndExclusion(_)) => {
                tracing::warn!(target: "audit", number, by, "removal of an exclusion unconfirmed");
                let known = self.exclusions.list().iter().find(|known| known.number == *number);
                known.map(|known| DoubtfulOrder::End(known.clone(), by.clone()))
            }
            (_, _) => None,
        };
        if let Some(DoubtfulOrder::Exclude(wanted)) = &order {
            tracing::warn!(
                target: "audit",
                objective = wanted.objective.as_deref().unwrap_or("all"),
                why = wanted.why,
                by = wanted.by,
                "exclusion unconfirmed"
            );
        }
        if let Some(order) = order {
            self.asked.doubts.add(order, (self.clock)().at);
        }
    }

    /// Logs the orders that a list of the store shows as carried out. Returns how many there are.
    fn settle_doubts(&mut self, list: &ExclusionList) -> usize {
        let done = self.asked.doubts.settle(list, (self.clock)().at);
        for order in &done {
            match order {
                DoubtfulOrder::Exclude(added) => self.audit(added, &added.by, "exclusion added"),
                DoubtfulOrder::End(removed, by) => self.audit(removed, by, "exclusion removed"),
            }
        }
        done.len()
    }

    /// Reads the exclusions of the file, unless those of all instances are known, which are written to it.
    pub(super) fn load_exclusions(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        if self.exclusion_source == ExclusionSource::Store {
            // The file could not be read when those of the store came: its own ones are still to be shared.
            if let Some(deployment) = &mut self.deployment {
                let own: Vec<_> = exclusion_rows::read(connection)?.1.iter().map(row_of).collect();
                deployment.unshared.retain(|row| !own.contains(row));
                deployment.unshared.extend(own);
            }
            return exclusion_rows::replace(connection, &self.exclusions);
        }
        let (all, own) = exclusion_rows::read(connection)?;
        self.exclusions = all;
        if let Some(deployment) = &mut self.deployment {
            deployment.unshared = own.iter().map(row_of).collect();
        }
        Ok(())
    }

    /// Takes the exclusions of all instances: numbers, and bodies.
    pub(super) fn take_exclusions(&mut self, rows: &[(u64, String)]) {
        let list = rows.iter().filter_map(|(number, body)| exclusion_of(*number, body)).collect();
        let list = ExclusionList::restore(list);
        let own_orders = self.settle_doubts(&list);
        let before = std::mem::replace(&mut self.exclusion_source, ExclusionSource::Store);
        if before == ExclusionSource::Store && list == self.exclusions {
            return;
        }
        if before == ExclusionSource::Store && own_orders == 0 {
            tracing::info!(count = list.list().len(), "exclusions changed at another instance");
        }
        self.exclusions = list;
        self.sum_again();
        self.copy_exclusions();
    }

    /// Writes the exclusions of all instances to the file, for a start without the store.
    fn copy_exclusions(&mut self) {
        let Some(database) = &mut self.database else { return };
        if self.exclusion_source == ExclusionSource::File {
            return;
        }
        if let Err(error) = exclusion_rows::replace(database.connection(), &self.exclusions) {
            self.report_loss(&error);
        }
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

fn no_exclusion(number: u64) -> SloProblem {
    SloProblem::Unknown(format!(
        "no exclusion has the number {number}: `seawall slo exclusions` lists them (GET /slo/exclusions)"
    ))
}

/// The row of an exclusion. What it says is its objective, its time and its reason.
fn row_of(exclusion: &BudgetExclusion) -> ExclusionRow {
    let BudgetExclusion { objective, from_ms, until_ms, why, .. } = exclusion;
    ExclusionRow {
        identity: serde_json::json!([objective, from_ms, until_ms, why]).to_string(),
        until_ms: *until_ms,
        body: serde_json::to_string(exclusion).unwrap_or_default(),
    }
}

/// The exclusion of a row; `None` if a newer version wrote it.
fn exclusion_of(number: u64, body: &str) -> Option<BudgetExclusion> {
    let exclusion: BudgetExclusion = serde_json::from_str(body).ok()?;
    Some(BudgetExclusion { number, ..exclusion })
}

fn text_of(exclusion: &BudgetExclusion) -> String {
    serde_json::to_string(exclusion).unwrap_or_default() + "\n"
}
