//! The thread `slo`: every ten seconds it takes what the reactors counted, judges the objectives, and writes the counts to `slo.db`.
//!
//! Every second it looks at what else makes an incident, and hands due notices to the channels ([`alerts`]).
//!
//! It only reads the cells of the reactors, so a slow disk delays a report, and nothing else.

mod alerts;
mod database;
mod deployment;
mod doubtful_orders;
mod exclusion_rows;
mod exclusions;
mod history;
mod journal;
mod keeper_state;
mod published;
mod questions;
mod report_rows;
mod shared_state;
mod shared_turn;
#[cfg(test)]
mod tests;
mod waiting;
mod week_alerts;
mod week_rows;

use crate::clock::Now;
use crate::job::alerts::AlertRequest;
use crate::job::shared_counts::SharedCounts;
use crate::job::slo::SloRequest;
use crate::metrics::scrape::Metrics;
use crate::slo::calendar::{ReportZone, WeekTime};
use crate::slo::exclusion::ExclusionList;
use crate::slo::history::SLOT_S;
use crate::slo::part::PartTotals;
use crate::slo::run_counts::{Advance, AllCounts, MINUTES_PER_QUARTER, RunCounts};
use crate::slo::scoreboard::{PartCounts, Scoreboard};
use crate::slo::{Objective, SloPart};
use alerts::AlertDesk;
pub use alerts::AlertParts;
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use database::{ProcessRun, RunEnd, SloDatabase};
use deployment::Deployment;
use doubtful_orders::DoubtfulOrders;
use keeper_state::{LastSlot, OpenQuestions, ScoreFile, SumTimes, WeekDuties};
use shared_state::ExclusionSource;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(SLOT_S as u64);
/// The time between two looks at dependencies and channels.
const TICK: Duration = Duration::from_secs(1);
/// The time between two tries to open `slo.db`.
const REOPEN: Duration = Duration::from_secs(60);
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
    pub alerts: AlertParts,
    /// `None`: no other instance shares the store.
    pub shared: Option<SharedCounts>,
    pub reports: ReportPlan,
    /// From operators.
    pub questions: Receiver<SloRequest>,
}

/// The settings of reports.
#[derive(Clone, Debug, Default)]
pub struct ReportPlan {
    pub zone: ReportZone,
    /// The time at which the last week is reported; `None`: it is not.
    pub at: Option<WeekTime>,
    pub objectives: Vec<(&'static str, Objective)>,
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

/// Opens `slo.db`, judges for the first time, and starts the thread. Before that, operators would read that objectives are off.
pub fn start(
    parts: ObjectiveParts,
    clock: impl Fn() -> Now + Send + 'static,
) -> io::Result<RunningObjectives> {
    let (alive, over) = bounded(0);
    let mut keeper = Keeper::new(parts, clock);
    keeper.turn(RunEnd::Runs);
    keeper.tick();
    let thread = Builder::new().name("slo".into()).spawn(move || keeper.run(&over))?;
    Ok(RunningObjectives { alive, thread })
}

/// The state of the thread.
struct Keeper<C> {
    board: Scoreboard,
    metrics: Arc<Metrics>,
    instance: Arc<str>,
    file: ScoreFile,
    clock: C,
    slot: LastSlot,
    began: Now,
    run: ProcessRun,
    counts: RunCounts,
    summed: SumTimes,
    /// `None` while it cannot be used.
    database: Option<SloDatabase>,
    /// Slots of the deployment that are over and not judged yet, and what this instance counted in them.
    unjudged: (u64, AllCounts),
    alerts: AlertDesk,
    /// The counts of all instances; `None` if this is the only one.
    deployment: Option<Deployment>,
    reports: ReportPlan,
    exclusions: ExclusionList,
    exclusion_source: ExclusionSource,
    weeks: WeekDuties,
    asked: OpenQuestions,
    /// The store that other instances share cannot be reached.
    is_alone: bool,
}

impl<C: Fn() -> Now> Keeper<C> {
    fn new(parts: ObjectiveParts, clock: C) -> Keeper<C> {
        let now = clock();
        let ObjectiveParts { board, metrics, instance, folder, alerts, shared, reports, questions } = parts;
        let mut keeper = Keeper {
            alerts: AlertDesk::new(alerts, &metrics, &instance, board.names(), now.unix_ms),
            slot: LastSlot {
                before: Default::default(),
                ended: now.at,
                counted: [now.at; SloPart::ALL.len()],
            },
            began: now,
            run: ProcessRun::begin(now.unix_ms),
            counts: RunCounts::new(now.unix_ms / MINUTE_MS),
            summed: SumTimes::default(),
            deployment: shared.map(|shared| {
                let days = board.period_days_max();
                Deployment::new(shared, Arc::clone(&instance), days, now.at, now.unix_ms)
            }),
            is_alone: false,
            database: None,
            unjudged: (0, AllCounts::default()),
            board,
            metrics,
            instance,
            file: ScoreFile { folder, tried: now.at },
            clock,
            reports,
            exclusions: ExclusionList::default(),
            exclusion_source: ExclusionSource::File,
            weeks: WeekDuties::default(),
            asked: OpenQuestions { queue: questions, waiting: None, doubts: DoubtfulOrders::default() },
        };
        match keeper.open(now) {
            Ok(database) => keeper.database = Some(database),
            Err(error) => keeper.report_loss(&error),
        }
        keeper.alerts.end_unknown(now.unix_ms);
        keeper
    }

    fn run(mut self, over: &Receiver<Infallible>) {
        loop {
            let (orders, results) = (self.alerts.ends.orders.clone(), self.alerts.ends.results.clone());
            let answers = self.deployment.as_ref().map_or_else(never, Deployment::answers);
            let (stored, late) = self.waits();
            // The next ones stay in their queue while one waits.
            let questions = if self.asked.waiting.is_some() { never() } else { self.asked.queue.clone() };
            select! {
                recv(over) -> _ => break,
                recv(orders) -> request => match request {
                    Ok(request) => self.order(request),
                    // The admin listener ends with the process.
                    Err(_) => self.alerts.ends.orders = never(),
                },
                recv(questions) -> request => match request {
                    Ok(request) => self.answer(request),
                    // The admin listener ends with the process.
                    Err(_) => self.asked.queue = never(),
                },
                recv(results) -> result => match result {
                    Ok(result) => {
                        let now_ms = self.now_ms((self.clock)());
                        self.alerts.take(&result, now_ms);
                    }
                    // No channel has a thread.
                    Err(_) => self.alerts.ends.results = never(),
                },
                recv(answers) -> answer => match answer {
                    Ok(answer) => self.take_answer(answer),
                    Err(_) => self.leave_store(),
                },
                recv(stored) -> answer => match answer {
                    Ok(answer) => self.take_store_answer(answer),
                    Err(_) => self.leave_store(),
                },
                recv(late) -> _ => self.give_up_waiting(),
                default(TICK) => {}
            }
            if (self.clock)().at.since(self.slot.ended) >= PERIOD {
                self.turn(RunEnd::Runs);
            }
            self.tick();
        }
        self.turn(RunEnd::Clean);
        self.finish();
    }

    /// The time for incidents, in Unix milliseconds: it does not go back while the process runs.
    fn now_ms(&self, now: Now) -> u64 {
        self.began.unix_ms + u64::try_from(now.at.since(self.began.at).as_millis()).unwrap_or(0)
    }

    fn order(&mut self, request: AlertRequest) {
        let now_ms = self.now_ms((self.clock)());
        let answer = self.alerts.order(request.order, &request.by, now_ms);
        // The report shows the change before the answer.
        self.tick();
        // An operator who does not wait any more has no use for it.
        let _ = request.reply.try_send(answer);
    }

    /// Looks at everything but the objectives, and sends what is due.
    fn tick(&mut self) {
        let now = (self.clock)();
        if self.database.is_none() && now.at.since(self.file.tried) >= REOPEN {
            self.reopen(now);
        }
        self.judge_deployment(now);
        let now_ms = self.now_ms(now);
        let connection = self.database.as_mut().map(SloDatabase::connection);
        if let Err(error) = self.alerts.turn(connection, now, now_ms) {
            self.report_loss(&error);
        }
    }

    /// Opens the database after it could not be used. The board has its own counts.
    fn reopen(&mut self, now: Now) {
        self.file.tried = now.at;
        let now_ms = self.now_ms(now);
        let opened = SloDatabase::open(&self.file.folder, self.run).and_then(|mut database| {
            self.alerts.load(database.connection(), &mut self.board, now_ms)?;
            self.load_exclusions(database.connection())?;
            if let Some(deployment) = &mut self.deployment {
                deployment.note_killed(&database.take_killed());
            }
            Ok(database)
        });
        if let Ok(database) = opened {
            tracing::info!(folder = %self.file.folder.display(), "slo.db available");
            (self.database, self.summed.own) = (Some(database), 0);
            // The rows of the start were not read until now.
            self.alerts.end_unknown(now_ms);
        }
    }

    /// Opens the database, and restores the minutes that windows look back on.
    fn open(&mut self, now: Now) -> rusqlite::Result<SloDatabase> {
        let mut database = SloDatabase::open(&self.file.folder, self.run)?;
        self.load_exclusions(database.connection())?;
        let (minute, nothing) = (now.unix_ms / MINUTE_MS, AllCounts::default());
        let minutes = database.minutes(minute.saturating_sub(RESTORED_MINUTES))?;
        // A minute without events has no row. Before the first row there was nothing.
        let mut next = minutes.first().map_or(minute, |(first, _)| *first);
        for (at, counts) in minutes {
            (next..at.min(minute)).for_each(|_| self.restore(&nothing));
            let judged = self.exclusions.judged(at / MINUTES_PER_QUARTER, &counts);
            self.restore(&judged);
            next = at + 1;
        }
        (next..minute).for_each(|_| self.restore(&nothing));
        self.alerts.load(database.connection(), &mut self.board, now.unix_ms)?;
        if let Some(deployment) = &mut self.deployment {
            deployment.journal.load(database.connection())?;
            deployment.note_killed(&database.take_killed());
        }
        Ok(database)
    }

    fn restore(&mut self, counts: &AllCounts) {
        for (part, counts) in SloPart::ALL.into_iter().zip(counts) {
            self.board.restore_minute(part, counts);
        }
    }

    /// Closes the slots that ended, stores the counts, and publishes the report.
    fn turn(&mut self, end: RunEnd) {
        let now = (self.clock)();
        let totals = self.metrics.slo_totals();
        let mut slot = AllCounts::default();
        for ((counts, now), before) in slot.iter_mut().zip(totals).zip(self.slot.before) {
            *counts = PartCounts::of_slot(now.since(before));
        }
        self.slot.before = totals;
        for (at, counts) in self.slot.counted.iter_mut().zip(&slot) {
            if *counts != PartCounts::default() {
                *at = now.at;
            }
        }
        let passed = now.at.since(self.slot.ended).as_secs() / u64::from(SLOT_S);
        self.slot.ended = now.at;
        let quarter = self.minute(now) / MINUTES_PER_QUARTER;
        let is_shared = self.deployment.as_ref().is_some_and(Deployment::is_complete);
        if !is_shared {
            self.close_slots(passed, &slot, quarter);
        }
        if self.counts.add(self.minute(now), &slot) == Advance::OtherRun {
            self.run = ProcessRun::begin(now.unix_ms);
            self.summed.own = 0;
            if let Some(database) = &mut self.database {
                database.begin_other_run(self.run);
            }
        }
        self.share(now, &slot);
        self.store(now, end);
        if is_shared {
            // Judged with the rows of the others.
            self.unjudged = (passed, slot);
        } else {
            self.judge_alone(now, &slot);
        }
    }

    /// Judges a slot of the deployment, and what each instance counted in it.
    fn judge(&mut self, now: Now, slot: &AllCounts, instances: &[(Arc<str>, AllCounts)]) {
        let objectives = self.publish(now);
        let now_ms = self.now_ms(now);
        let judged = self.exclusions.judged(self.minute(now) / MINUTES_PER_QUARTER, slot);
        self.alerts.judge(&mut self.board, (&judged, instances), &objectives, now_ms);
        self.report_week(now);
        self.close_weeks(now);
    }

    /// A thread that was late closes several slots: the last one has the counts.
    fn close_slots(&mut self, passed: u64, slot: &AllCounts, quarter: u64) {
        let slot = &self.exclusions.judged(quarter, slot);
        for _ in 1..passed.min(RESTORED_MINUTES) {
            SloPart::ALL.into_iter().for_each(|part| self.board.close_slot(part, PartTotals::default()));
        }
        for (part, counts) in SloPart::ALL.into_iter().zip(slot) {
            self.board.close_slot(part, counts.totals);
        }
    }

    /// Writes the current minute. When a quarter of an hour ends, the oldest one leaves the periods, so their sums are read.
    fn store(&mut self, now: Now, end: RunEnd) {
        let minute = self.minute(now);
        let Some(database) = &mut self.database else { return };
        let sessions = self.metrics.sessions_open();
        let stored = database.write(&self.counts, now.unix_ms, sessions, end).and_then(|()| {
            if let Some(deployment) = &self.deployment {
                deployment.journal.store(database.connection())?;
            }
            let quarter = minute / MINUTES_PER_QUARTER;
            if self.summed.own == quarter {
                return Ok(());
            }
            self.summed.own = quarter;
            database.forget_old(minute, &self.reports.zone)?;
            if self.exclusion_source == ExclusionSource::File {
                self.exclusions = exclusion_rows::read(database.connection())?.0;
            }
            if self.deployment.as_ref().is_some_and(Deployment::is_complete) {
                return Ok(());
            }
            let sums = database.sums(&periods(&self.board, minute), &self.exclusions)?;
            for (part, counts) in SloPart::ALL.into_iter().zip(sums) {
                self.board.set_period(part, counts);
            }
            Ok(())
        });
        if let Err(error) = stored {
            self.report_loss(&error);
        }
    }

    fn report_loss(&mut self, error: &rusqlite::Error) {
        self.database = None;
        self.file.tried = (self.clock)().at;
        tracing::warn!(
            %error,
            folder = %self.file.folder.display(),
            effect = "objectives are judged, and their counts end with this process",
            "slo.db unavailable"
        );
    }
}

/// The first quarter of an hour of the period of each part, in declaration order.
fn periods(board: &Scoreboard, minute: u64) -> [u64; SloPart::ALL.len()] {
    let mut from = [minute / MINUTES_PER_QUARTER; SloPart::ALL.len()];
    for (part, days) in board.parts() {
        if let Some(from) = from.get_mut(part.index()) {
            *from = minute.saturating_sub(u64::from(days) * MINUTES_PER_DAY) / MINUTES_PER_QUARTER;
        }
    }
    from
}
