//! This instance's share in the counts of the deployment: rows to the shared store and back.

use super::journal::CountsJournal;
use crate::clock::Moment;
use crate::job::shared_counts::{
    CountsAnswer, CountsCall, CountsRow, QuarterWork, ROWS_READ, ROWS_WRITTEN, RowPlace, SharedCounts,
    SharedRun, SharedRunEnd,
};
use crate::job::shared_questions::{ExclusionRow, StoreQuestions};
use crate::slo::SloPart;
use crate::slo::calendar::QuarterSpan;
use crate::slo::deployment::{DeploymentCounts, QUARTERS_SHARED};
use crate::slo::exclusion::ExclusionList;
use crate::slo::minute_row::MinuteRow;
use crate::slo::run_counts::{AllCounts, MINUTES_PER_QUARTER};
use crate::slo::scoreboard::Measured;
use crate::slo::store_clock::StoreClock;
use crate::slo::weekly_rows::QuarterRows;
use crossbeam_channel::Receiver;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

const MINUTE_MS: u64 = 60_000;
const SLOT_MS: u64 = 10_000;
/// Quarters that are known and read all the same.
const QUARTERS_READ_TWICE: u64 = 4;
/// Without an answer for this long, the own counts are judged alone.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// The process ends after this wait for its last row to be written.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// Rows are read again from this long before the last one: a change is visible when its transaction has ended. In microseconds.
const OVERLAP_US: u64 = 15_000_000;
/// A run whose row is older does not count as running. Without an answer of the store for as long, this instance is alone.
const SILENT: Duration = Duration::from_secs(30);

/// A call in progress.
#[derive(Debug)]
struct RowsCall {
    asked: Moment,
    asked_ms: u64,
    written: Vec<CountsRow>,
    killed: Vec<i64>,
    /// The closed quarters that it writes.
    closed: usize,
    /// The quarter of an hour whose work it does.
    quarter: Option<u64>,
    /// Own exclusions that it shares.
    exclusions: Vec<ExclusionRow>,
    /// An order has changed the exclusions since it began.
    list: ExclusionAge,
}

/// The age of a list of exclusions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExclusionAge {
    New,
    /// It may be from before an order.
    Old,
}

/// The rows that were read.
#[derive(Debug, Default)]
struct RowsRead {
    /// The next call reads the ones that changed after this one.
    after: RowPlace,
    /// The versions of rows after that one that were read, and are read again.
    seen: BTreeSet<RowPlace>,
}

/// The deployment's counts, and the way to them.
#[derive(Debug)]
pub(super) struct Deployment {
    shared: SharedCounts,
    instance: Arc<str>,
    counts: DeploymentCounts,
    /// The longest period.
    days: u32,
    clock: StoreClock,
    pub(super) journal: CountsJournal,
    /// The row that is being counted.
    row: Option<CountsRow>,
    killed: Vec<i64>,
    read: RowsRead,
    /// Closed quarters that are not written yet.
    closed: Vec<(u64, AllCounts)>,
    /// The quarter of an hour whose work was done.
    turned: Option<u64>,
    call: Option<RowsCall>,
    /// The last call has not read or written everything.
    is_behind: bool,
    /// A slot waits for the answer until this time, to be judged with the rows of the others.
    waits: Option<Moment>,
    began: Moment,
    /// The last answer.
    answered: Option<Moment>,
    runs: Vec<SharedRun>,
    measured: Option<(Measured, Moment)>,
    /// Exclusions that only this instance has.
    pub(super) unshared: Vec<ExclusionRow>,
    /// The exclusions of all instances, if they were read since [`Deployment::take_exclusions`].
    exclusions: Option<Vec<(u64, String)>>,
}

impl Deployment {
    /// `days` is the longest period.
    pub(super) fn new(
        shared: SharedCounts,
        instance: Arc<str>,
        days: u32,
        now: Moment,
        now_ms: u64,
    ) -> Deployment {
        Deployment {
            began: now,
            shared,
            instance,
            counts: DeploymentCounts::new(now_ms / MINUTE_MS, days),
            days,
            clock: StoreClock::default(),
            journal: CountsJournal::default(),
            row: None,
            killed: Vec::new(),
            read: RowsRead::default(),
            closed: Vec::new(),
            turned: None,
            call: None,
            is_behind: false,
            waits: None,
            answered: None,
            runs: Vec::new(),
            measured: None,
            unshared: Vec::new(),
            exclusions: None,
        }
    }

    /// The time of the store, in Unix milliseconds.
    pub(super) fn store_ms(&self, now_ms: u64) -> u64 {
        self.clock.read(now_ms)
    }

    /// The same, if any call was answered.
    pub(super) fn known_store_ms(&self, now_ms: u64) -> Option<u64> {
        self.clock.known(now_ms)
    }

    /// True exactly if the counts of the deployment are judged, not those of this instance.
    pub(super) fn is_complete(&self) -> bool {
        self.counts.is_complete()
    }

    /// Takes the rows of runs that were killed: their open sessions ended without a reason.
    pub(super) fn note_killed(&mut self, rows: &[(i64, u64, AllCounts)]) {
        for (run, minute, counts) in rows {
            self.journal.note(CountsRow {
                run: *run,
                minute: *minute,
                counts: MinuteRow { counts: *counts, ..MinuteRow::default() },
            });
            self.killed.push(*run);
        }
    }

    /// Adds the own counts of a slot.
    pub(super) fn add(&mut self, run: i64, minute: u64, slot: &AllCounts, now_ms: u64) {
        if self.row.is_none_or(|row| (row.run, row.minute) != (run, minute)) {
            self.row = Some(CountsRow { run, minute, counts: MinuteRow::default() });
        }
        if let Some(row) = &mut self.row {
            let place = self.clock.read(now_ms) % MINUTE_MS / SLOT_MS;
            row.counts.add_slot(usize::try_from(place).unwrap_or(0), slot);
            if row.counts != MinuteRow::default() {
                self.journal.note(*row);
                self.counts.take(run, minute, &row.counts);
            }
        }
    }

    /// Writes the rows that the store does not have, and reads changed ones.
    pub(super) fn begin_turn(&mut self, run: (i64, SharedRunEnd), sessions: u64, now: Moment, now_ms: u64) {
        let minute = self.store_ms(now_ms) / MINUTE_MS;
        self.journal.forget_old(minute);
        self.closed.extend(self.counts.advance(minute));
        // A store that is away for months.
        self.closed.truncate(QUARTERS_SHARED as usize);
        self.waits = self.counts.is_complete().then_some(now + ANSWER_WAIT);
        self.send(run, sessions, now, now_ms);
    }

    fn send(&mut self, run: (i64, SharedRunEnd), sessions: u64, now: Moment, now_ms: u64) {
        if self.call.is_some() {
            return;
        }
        let minute = self.store_ms(now_ms) / MINUTE_MS;
        let quarter = minute / MINUTES_PER_QUARTER;
        let days = self.days;
        let quarters = match self.turned {
            None => QuarterWork::Read { days },
            Some(turned) if turned < quarter => QuarterWork::Turn { closed: self.closed.clone(), days },
            Some(_) => QuarterWork::None,
        };
        let does_quarter = (quarters != QuarterWork::None).then_some(quarter);
        let (written, killed) = (self.journal.due(minute), self.killed.clone());
        let (number, end) = run;
        let call = CountsCall {
            run: number,
            instance: Arc::clone(&self.instance),
            sessions,
            end,
            killed: killed.clone(),
            rows: written.clone(),
            after: self.read.after,
            quarters,
            exclusions: self.unshared.clone(),
        };
        if self.shared.call(call) {
            self.call = Some(RowsCall {
                asked: now,
                asked_ms: now_ms,
                written,
                killed,
                closed: self.closed.len(),
                quarter: does_quarter,
                exclusions: self.unshared.clone(),
                list: ExclusionAge::New,
            });
        }
    }

    /// The answers, for a wait; [`Deployment::take`] takes what comes.
    pub(super) fn answers(&self) -> Receiver<Option<CountsAnswer>> {
        self.shared.answers.clone()
    }

    /// True exactly once after [`Deployment::begin_turn`], and when all rows were read for the first time: the rows of the others are
    /// known, or are not waited for any more.
    pub(super) fn is_judged_now(&mut self, now: Moment) -> bool {
        let is_known = self.call.is_none() && self.counts.is_complete();
        let is_due = self.waits.is_some_and(|until| is_known || now >= until);
        if is_due {
            self.waits = None;
        }
        is_due
    }

    /// Takes an answer; `None`: the store could not be reached.
    pub(super) fn take(&mut self, answer: Option<CountsAnswer>, now: Moment, now_ms: u64) {
        let Some(call) = self.call.take() else { return };
        let Some(answer) = answer else { return };
        let took = u64::try_from(now.since(call.asked).as_millis()).unwrap_or(0);
        self.clock.note(answer.store_ms, call.asked_ms, call.asked_ms + took);
        self.journal.confirm(&call.written, self.store_ms(now_ms) / MINUTE_MS);
        self.killed.retain(|run| !call.killed.contains(run));
        self.unshared.retain(|row| !call.exclusions.contains(row));
        if call.list == ExclusionAge::New {
            self.exclusions = Some(answer.exclusions);
        }
        if let Some(quarter) = call.quarter {
            match self.turned.replace(quarter) {
                None => self.counts.restore_quarters(answer.quarters),
                Some(_) => drop(self.closed.drain(..call.closed.min(self.closed.len()))),
            }
        }
        if let Some(measured) = answer.measured {
            self.measured = Some((measured, now));
        }
        let minute = self.clock.read(now_ms) / MINUTE_MS;
        self.closed.extend(self.counts.advance(minute));
        for (place, row) in &answer.rows {
            if self.read.seen.insert(*place) {
                self.counts.take(place.run, place.minute, row);
            }
        }
        let last = answer.rows.last().map(|(place, _)| *place);
        self.runs = answer.runs;
        self.answered = Some(now);
        if self.counts.is_in_doubt(minute) {
            // They are read again at once.
            self.counts = DeploymentCounts::new(minute, self.days);
            (self.read, self.turned) = (RowsRead::default(), None);
        } else if let (Some(last), ROWS_READ..) = (last, answer.rows.len()) {
            self.read.after = last;
        } else {
            let known_us = last.map_or(0, |last| last.changed_us.saturating_sub(OVERLAP_US));
            self.read.after = RowPlace { changed_us: known_us, ..RowPlace::default() }.max(self.read.after);
            if !self.counts.is_complete() {
                self.counts.note_complete();
                self.waits = Some(now);
            }
        }
        self.read.seen = self.read.seen.split_off(&self.read.after);
        self.is_behind = !self.counts.is_complete() || self.journal.len() > ROWS_WRITTEN;
    }

    /// Goes on at once while there are more rows than one call reads or writes.
    pub(super) fn go_on(&mut self, run: (i64, SharedRunEnd), sessions: u64, now: Moment, now_ms: u64) {
        if std::mem::take(&mut self.is_behind) {
            self.send(run, sessions, now, now_ms);
        }
    }

    /// The counts that came since the last slot, or everything if windows have to be filled again.
    pub(super) fn take_slot(&mut self) -> DeploymentSlot {
        let slot = self.counts.take_slot();
        match self.counts.take_late() {
            true => DeploymentSlot::Again(slot),
            false => DeploymentSlot::New(slot),
        }
    }

    /// The counts of each instance that came since the last slot.
    pub(super) fn take_instance_slots(&mut self, own: i64) -> Vec<(Arc<str>, AllCounts)> {
        let runs = &self.runs;
        let name = |run: i64| match runs.iter().find(|known| known.run == run) {
            Some(known) => Some(Arc::clone(&known.instance)),
            None => (run == own).then(|| Arc::clone(&self.instance)),
        };
        let slots = self.counts.take_run_slots();
        slots.into_iter().filter_map(|(run, counts)| Some((name(run)?, counts))).collect()
    }

    /// The minutes with events of the last three days.
    pub(super) fn minutes(&self) -> Vec<(u64, AllCounts)> {
        self.counts.minutes().collect()
    }

    /// The closed quarters of these that have to be read from the store. A few that are known are among them, because time passes until
    /// the answer.
    pub(super) fn unknown_quarters(&self, span: QuarterSpan) -> Range<u64> {
        let known = self.counts.first_quarter() + QUARTERS_READ_TWICE;
        span.from..span.until.min(known).max(span.from)
    }

    /// The counts of these quarters of an hour, with rows that were read from the store.
    pub(super) fn quarters(&self, span: QuarterSpan, stored: Vec<(u64, AllCounts)>) -> QuarterRows {
        let span = span.from..span.until;
        let mut quarters: QuarterRows = self.closed.iter().copied().collect();
        quarters.extend(stored);
        quarters.retain(|quarter, _| span.contains(quarter));
        quarters.extend(self.counts.quarters(span));
        quarters
    }

    /// The exclusions of all instances, if they were read since the last call.
    pub(super) fn take_exclusions(&mut self) -> Option<Vec<(u64, String)>> {
        self.exclusions.take()
    }

    /// Ignores the exclusions that a call in progress reads, because an order has changed them.
    pub(super) fn note_order(&mut self) {
        self.exclusions = None;
        if let Some(call) = &mut self.call {
            call.list = ExclusionAge::Old;
        }
    }

    /// Questions about rows that are not in memory, and orders.
    pub(super) fn questions(&mut self) -> &mut StoreQuestions {
        &mut self.shared.questions
    }

    /// The counts of each part from its quarter on, without the ones that exclusions keep out.
    pub(super) fn sums(&self, from: &[u64; SloPart::ALL.len()], exclusions: &ExclusionList) -> AllCounts {
        self.counts.sums(from, exclusions)
    }

    /// The time in which any instance ran.
    pub(super) fn measured(&self, now: Moment) -> Option<Measured> {
        let (measured, at) = self.measured?;
        let since = now.since(at).as_secs();
        Some(Measured { known_s: measured.known_s + since, up_s: measured.up_s + since })
    }

    /// True exactly while the store does not answer.
    pub(super) fn is_alone(&self, now: Moment) -> bool {
        now.since(self.answered.unwrap_or(self.began)) >= SILENT
    }

    /// The instances whose events are judged: all that run, or only this one while the store cannot be reached.
    pub(super) fn instances(&self, now: Moment) -> usize {
        if self.is_alone(now) {
            return 1;
        }
        let silent_ms = u64::try_from(SILENT.as_millis()).unwrap_or(u64::MAX);
        let mut names: Vec<&str> = self
            .runs
            .iter()
            .filter(|run| !run.is_over && run.age_ms < silent_ms)
            .map(|run| &*run.instance)
            .chain([&*self.instance])
            .collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }

    /// Writes the last row of a process that ends.
    pub(super) fn finish(&mut self, run: i64, sessions: u64, now: Moment, now_ms: u64) {
        // Only one call can be in progress, and the answer to it says nothing about the next.
        if self.call.take().is_some() && self.shared.wait(ANSWER_WAIT).is_none() {
            return;
        }
        self.send((run, SharedRunEnd::Clean), sessions, now, now_ms);
        if let (Some(call), Some(_)) = (self.call.take(), self.shared.wait(LAST_WAIT)) {
            self.journal.confirm(&call.written, self.store_ms(now_ms) / MINUTE_MS);
        }
    }
}

#[cfg(test)]
mod tests;

/// The counts of ten seconds of the deployment.
#[derive(Debug)]
pub(super) enum DeploymentSlot {
    New(AllCounts),
    /// Earlier minutes have changed as well.
    Again(AllCounts),
}
