//! The store that instances share, in memory: what `share_counts` and the statements of `store-slo` do.

use super::super::*;
use crate::job::shared_counts::{
    CountsAnswer, CountsCall, CountsEnds, QuarterWork, ROWS_READ, RowPlace, SharedRun, SharedRunEnd,
};
use crate::job::shared_questions::{
    ClosedWeek, ExclusionRow, PastRows, PastSpan, StoreAnswer, StoreQuestion,
};
use crate::slo::calendar::QUARTER_MS;
use crate::slo::deployment::{MINUTES_SHARED, first_quarter_read};
use crate::slo::minute_row::MinuteRow;
use crate::slo::weekly_rows::{RunEnding, RunSpan};
use std::collections::BTreeMap;

/// A run: its instance, its begin and its last sign of life in milliseconds, and its end.
type RunRow = (Arc<str>, u64, u64, SharedRunEnd);

#[derive(Default)]
pub(super) struct StoreRows {
    pub(super) rows: BTreeMap<(u64, i64), (MinuteRow, u64)>,
    pub(super) quarters: BTreeMap<u64, AllCounts>,
    runs: BTreeMap<i64, RunRow>,
    pub(super) exclusions: BTreeMap<u64, ExclusionRow>,
    /// The last number of an exclusion.
    number: u64,
    pub(super) weeks: BTreeMap<(String, String), ClosedWeek>,
    /// Grows with each change.
    changes: u64,
    pub(super) is_down: bool,
}

impl StoreRows {
    /// Carries out what an instance asks for, until it asks for nothing more.
    pub(super) fn serve<C: Fn() -> Now>(&mut self, ends: &CountsEnds, keeper: &mut Keeper<C>, now_ms: u64) {
        loop {
            if let Ok(call) = ends.calls.try_recv() {
                let answer = (!self.is_down).then(|| self.answer(&call, now_ms));
                keeper.take_answer(answer);
            } else if let Ok(question) = ends.questions.calls.try_recv() {
                let answer = (!self.is_down).then(|| self.carry_out(&question));
                keeper.take_store_answer(answer);
            } else {
                return;
            }
        }
    }

    fn answer(&mut self, call: &CountsCall, now_ms: u64) -> CountsAnswer {
        let begun = (Arc::clone(&call.instance), now_ms, now_ms, call.end);
        let run = self.runs.entry(call.run).or_insert(begun);
        (run.2, run.3) = (now_ms, call.end);
        for row in call.rows.iter().filter(|row| row.minute > now_ms / MINUTE_MS - MINUTES_SHARED) {
            let (known, changed) = self.rows.entry((row.minute, row.run)).or_default();
            let before = *known;
            known.merge(&row.counts);
            if *known != before {
                self.changes += 1;
                *changed = now_ms * 1_000 + self.changes % 1_000;
            }
        }
        call.exclusions.iter().for_each(|row| {
            self.exclude(row);
        });
        let mut answer = CountsAnswer { store_ms: now_ms, ..CountsAnswer::default() };
        answer.exclusions = self.exclusions.iter().map(|(number, row)| (*number, row.body.clone())).collect();
        match &call.quarters {
            QuarterWork::None => {}
            QuarterWork::Turn { closed, .. } => {
                for (quarter, counts) in closed {
                    self.quarters.entry(*quarter).or_insert(*counts);
                }
                self.rows.retain(|(minute, _), _| minute + 4 * MINUTES_PER_DAY > now_ms / MINUTE_MS);
            }
            QuarterWork::Read { days } => {
                let first = first_quarter_read(now_ms / QUARTER_MS, *days);
                answer.quarters = self.quarters.range(first..).map(|(at, counts)| (*at, *counts)).collect();
            }
        }
        let row = |((minute, run), (row, changed_us)): (&(u64, i64), &(MinuteRow, u64))| {
            (RowPlace { changed_us: *changed_us, minute: *minute, run: *run }, *row)
        };
        let mut rows: Vec<_> = self.rows.iter().map(row).collect();
        rows.retain(|(place, _)| *place > call.after);
        rows.sort_by_key(|(place, _)| *place);
        rows.truncate(ROWS_READ);
        answer.rows = rows;
        let shared = |(run, (instance, _, last_ms, end)): (&i64, &RunRow)| SharedRun {
            run: *run,
            instance: Arc::clone(instance),
            is_over: *end == SharedRunEnd::Clean,
            age_ms: now_ms - last_ms,
        };
        answer.runs = self.runs.iter().map(shared).filter(|run| run.age_ms < 900_000).collect();
        answer
    }

    pub(super) fn carry_out(&mut self, question: &StoreQuestion) -> StoreAnswer {
        match question {
            StoreQuestion::Past(span) => StoreAnswer::Past(self.past(span)),
            StoreQuestion::Close(zone, weeks) => {
                for week in weeks {
                    let key = (zone.clone(), week.week.clone());
                    self.weeks.entry(key).or_insert_with(|| week.clone());
                }
                StoreAnswer::Closed
            }
            StoreQuestion::Exclude(row) => StoreAnswer::Excluded(Some(self.exclude(row))),
            StoreQuestion::EndExclusion(number) => {
                StoreAnswer::Ended(self.exclusions.remove(number).map(|row| row.body))
            }
        }
    }

    fn exclude(&mut self, row: &ExclusionRow) -> u64 {
        if let Some((number, _)) = self.exclusions.iter().find(|(_, known)| known.identity == row.identity) {
            return *number;
        }
        self.number += 1;
        self.exclusions.insert(self.number, row.clone());
        self.number
    }

    fn past(&self, span: &PastSpan) -> PastRows {
        let PastSpan { quarters, week_ms, zone } = span;
        let quarters = self.quarters.range(quarters.clone()).map(|(at, counts)| (*at, *counts));
        let run = |(_, began_ms, last_ms, end): &RunRow| RunSpan {
            began_ms: *began_ms,
            last_ms: *last_ms,
            ending: if *end == SharedRunEnd::Clean { RunEnding::Stopped } else { RunEnding::Killed },
        };
        let mut runs: Vec<RunSpan> = self.runs.values().map(run).collect();
        let week = week_ms.clone().unwrap_or_default();
        let before = runs.iter().map(|run| run.last_ms).filter(|last_ms| *last_ms < week.start).max();
        runs.retain(|run| run.began_ms < week.end && run.last_ms >= before.unwrap_or(0));
        runs.sort_by_key(|run| run.began_ms);
        let weeks = self.weeks.iter().filter(|((known, _), _)| Some(known) == zone.as_ref());
        let weeks = weeks.map(|(_, week)| week.clone()).collect();
        PastRows { quarters: quarters.collect(), runs, weeks, ..PastRows::default() }
    }
}
