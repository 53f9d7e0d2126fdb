//! The thread `slo`: every ten seconds it takes what the reactors counted, judges the objectives, and writes the counts to `slo.db`.
//!
//! It only reads the cells of the reactors, so a slow disk delays a report, and nothing else.

mod database;

use crate::clock::{Moment, Now};
use crate::metrics::scrape::Metrics;
use crate::slo::SloPart;
use crate::slo::history::SLOT_S;
use crate::slo::part::PartTotals;
use crate::slo::report::SloReport;
use crate::slo::run_counts::{Advance, AllCounts, MINUTES_PER_QUARTER, RunCounts};
use crate::slo::scoreboard::{Measured, PartCounts, Scoreboard};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use database::{RunEnd, SloDatabase};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(SLOT_S as u64);
const MINUTE_MS: u64 = 60_000;
/// The minutes that the longest window of a tier looks back.
const RESTORED_MINUTES: u64 = 3 * 1_440;
const MINUTES_PER_DAY: u64 = 1_440;

/// The parts that the thread shares with others, and its settings.
pub struct ObjectiveParts {
    pub board: Scoreboard,
    /// Knows the counts, and shows the report.
    pub metrics: Arc<Metrics>,
    pub instance: Arc<str>,
    /// The data folder, where `slo.db` is.
    pub folder: PathBuf,
}

/// A thread that runs.
#[derive(Debug)]
pub struct RunningObjectives {
    /// Its drop ends the thread.
    alive: Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl RunningObjectives {
    /// Ends the thread, which writes what was counted last. Call it after the reactors have ended.
    pub fn stop(self) {
        drop(self.alive);
        if self.thread.join().is_err() {
            tracing::error!("slo panicked");
        }
    }
}

/// Opens `slo.db`, and starts the thread.
pub fn start(
    parts: ObjectiveParts,
    clock: impl Fn() -> Now + Send + 'static,
) -> io::Result<RunningObjectives> {
    let (alive, over) = bounded(0);
    let keeper = Keeper::new(parts, clock);
    let thread = Builder::new().name("slo".into()).spawn(move || keeper.run(&over))?;
    Ok(RunningObjectives { alive, thread })
}

/// The state of the thread.
struct Keeper<C> {
    parts: ObjectiveParts,
    clock: C,
    /// The counts at the end of the last slot, and its end.
    before: [PartTotals; SloPart::ALL.len()],
    slot_ended: Moment,
    began: Now,
    counts: RunCounts,
    /// The quarter of an hour in which the sums of the periods were last read.
    summed: u64,
    /// `None` while it cannot be used.
    database: Option<SloDatabase>,
}

impl<C: Fn() -> Now> Keeper<C> {
    fn new(parts: ObjectiveParts, clock: C) -> Keeper<C> {
        let now = clock();
        let mut keeper = Keeper {
            before: Default::default(),
            slot_ended: now.at,
            began: now,
            counts: RunCounts::new(now.unix_ms / MINUTE_MS),
            summed: 0,
            database: None,
            parts,
            clock,
        };
        match keeper.open(now) {
            Ok(database) => keeper.database = Some(database),
            Err(error) => keeper.report_loss(&error),
        }
        keeper
    }

    fn run(mut self, over: &Receiver<Infallible>) {
        self.turn(RunEnd::Runs);
        while over.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            self.turn(RunEnd::Runs);
        }
        self.turn(RunEnd::Clean);
    }

    /// Opens the database, and restores the minutes that windows look back on.
    fn open(&mut self, now: Now) -> rusqlite::Result<SloDatabase> {
        let database = SloDatabase::open(&self.parts.folder, now.unix_ms)?;
        let (minute, nothing) = (now.unix_ms / MINUTE_MS, AllCounts::default());
        let minutes = database.minutes(minute.saturating_sub(RESTORED_MINUTES))?;
        // A minute without events has no row. Before the first row there was nothing.
        let mut next = minutes.first().map_or(minute, |(first, _)| *first);
        for (at, counts) in minutes {
            (next..at.min(minute)).for_each(|_| self.restore(&nothing));
            self.restore(&counts);
            next = at + 1;
        }
        (next..minute).for_each(|_| self.restore(&nothing));
        Ok(database)
    }

    fn restore(&mut self, counts: &AllCounts) {
        for (part, counts) in SloPart::ALL.into_iter().zip(counts) {
            self.parts.board.restore_minute(part, counts);
        }
    }

    /// Closes the slots that ended, stores the counts, and publishes the report.
    fn turn(&mut self, end: RunEnd) {
        let now = (self.clock)();
        let totals = self.parts.metrics.slo_totals();
        let mut slot = AllCounts::default();
        for ((counts, now), before) in slot.iter_mut().zip(totals).zip(self.before) {
            *counts = PartCounts::of_slot(now.since(before));
        }
        self.before = totals;
        self.close_slots(now.at, &slot);
        if self.counts.add(now.unix_ms / MINUTE_MS, &slot) == Advance::OtherRun
            && let Some(database) = &mut self.database
        {
            database.begin_other_run(now.unix_ms);
            self.summed = 0;
        }
        self.store(now, end);
        self.publish(now);
    }

    /// A thread that was late closes several slots: the last one has the counts.
    fn close_slots(&mut self, now: Moment, slot: &AllCounts) {
        let passed = now.since(self.slot_ended).as_secs() / u64::from(SLOT_S);
        for _ in 1..passed.min(RESTORED_MINUTES) {
            SloPart::ALL
                .into_iter()
                .for_each(|part| self.parts.board.close_slot(part, PartTotals::default()));
        }
        self.slot_ended = now;
        for (part, counts) in SloPart::ALL.into_iter().zip(slot) {
            self.parts.board.close_slot(part, counts.totals);
        }
    }

    /// Writes the current minute. When a quarter of an hour ends, the oldest one leaves the periods, so their sums are read.
    fn store(&mut self, now: Now, end: RunEnd) {
        let Some(database) = &mut self.database else { return };
        let sessions = self.parts.metrics.sessions_open();
        let stored = database.write(&self.counts, now.unix_ms, sessions, end).and_then(|()| {
            let minute = now.unix_ms / MINUTE_MS;
            let quarter = minute / MINUTES_PER_QUARTER;
            if self.summed == quarter {
                return Ok(());
            }
            self.summed = quarter;
            database.forget_old(minute)?;
            let mut from = [quarter; SloPart::ALL.len()];
            for (part, days) in self.parts.board.parts() {
                from[part.index()] =
                    minute.saturating_sub(u64::from(days) * MINUTES_PER_DAY) / MINUTES_PER_QUARTER;
            }
            for (part, counts) in SloPart::ALL.into_iter().zip(database.sums(&from)?) {
                self.parts.board.set_period(part, counts);
            }
            Ok(())
        });
        if let Err(error) = stored {
            self.report_loss(&error);
        }
    }

    fn publish(&mut self, now: Now) {
        let measured = self
            .database
            .as_ref()
            .and_then(|database| database.measured(now.unix_ms, self.parts.board.period_days_max()).ok());
        let own = now.at.since(self.began.at).as_secs();
        let measured = measured.unwrap_or(Measured { known_s: own, up_s: own });
        self.parts.metrics.slo.publish(SloReport {
            judged: now.unix_ms,
            instance: self.parts.instance.to_string(),
            stored: self.database.is_some(),
            objectives: self.parts.board.report(measured),
        });
    }

    fn report_loss(&mut self, error: &rusqlite::Error) {
        self.database = None;
        tracing::warn!(
            %error,
            folder = %self.parts.folder.display(),
            effect = "objectives are judged, and their counts end with this process",
            "slo.db unavailable"
        );
    }
}
