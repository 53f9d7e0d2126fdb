//! `slo.db`: what objectives counted, by minute for four days, by quarter of an hour for a hundred, and by day for 800.
//!
//! It is not the store: a lost row costs a figure, so nothing is synced. A killed process loses at most ten seconds.

use super::alerts::rows;
use super::report_rows::QUARTERS_KEPT;
use super::{exclusion_rows, journal, report_rows, week_rows};
use crate::slo::SloPart;
use crate::slo::calendar::ReportZone;
use crate::slo::counts_row;
use crate::slo::exclusion::ExclusionList;
use crate::slo::run_counts::{AllCounts, MINUTES_PER_QUARTER, RunCounts, add_all};
use crate::slo::scoreboard::Measured;
use rusqlite::{Connection, OptionalExtension, Row, params};
use rustix::process::{Pid, test_kill_process};
use std::mem;
use std::path::Path;
use std::time::Duration;

pub const FILE_NAME: &str = "slo.db";
/// The version of the tables.
const VERSION: i64 = 1;
/// How long another process may hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);
const MINUTES_KEPT: u64 = 4 * 1_440;
const DAY_MS: u64 = 86_400_000;

/// `counts` is the text of [`counts_row`], with the totals of the run in this minute or quarter. A run has at most
/// 1,536 rows a day.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS minutes (minute INTEGER, run INTEGER, counts TEXT NOT NULL, PRIMARY KEY (minute, run)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarters (quarter INTEGER, run INTEGER, counts TEXT NOT NULL, PRIMARY KEY (quarter, run)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, pid INTEGER NOT NULL, began_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    sessions INTEGER NOT NULL, ended TEXT NOT NULL);
";

/// How a run ended, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// It has not, or it was killed.
    Runs,
    Clean,
}

impl RunEnd {
    const fn as_str(self) -> &'static str {
        match self {
            RunEnd::Runs => "",
            RunEnd::Clean => "clean",
        }
    }
}

/// One life of a process, as its rows name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessRun {
    number: i64,
    began_ms: u64,
}

impl ProcessRun {
    pub(super) fn begin(now_ms: u64) -> ProcessRun {
        ProcessRun { number: fastrand::i64(0..i64::MAX), began_ms: now_ms }
    }

    pub(super) const fn number(self) -> i64 {
        self.number
    }
}

/// The open database, and the run that writes to it.
#[derive(Debug)]
pub(super) struct SloDatabase {
    connection: Connection,
    run: ProcessRun,
    /// The last rows of runs that were killed: run, minute, and counts.
    killed: Vec<(i64, u64, AllCounts)>,
}

impl SloDatabase {
    /// Opens the file, or creates it. Sessions of another run that was killed ended without a reason.
    pub(super) fn open(folder: &Path, run: ProcessRun) -> rusqlite::Result<SloDatabase> {
        std::fs::create_dir_all(folder)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let mut connection = Connection::open(folder.join(FILE_NAME))?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > VERSION {
            let text = format!("a newer version of seawall wrote it (version {version} of its tables)");
            return Err(rusqlite::Error::ToSqlConversionFailure(text.into()));
        }
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.execute_batch(rows::TABLES)?;
        transaction.execute_batch(journal::TABLES)?;
        transaction.execute_batch(report_rows::TABLES)?;
        transaction.execute_batch(exclusion_rows::TABLES)?;
        transaction.execute_batch(week_rows::TABLES)?;
        let killed = count_killed(&transaction, run)?;
        transaction.commit()?;
        Ok(SloDatabase { connection, run, killed })
    }

    /// The last rows of runs that were found killed: run, minute, and counts with the ends of their sessions.
    pub(super) fn take_killed(&mut self) -> Vec<(i64, u64, AllCounts)> {
        mem::take(&mut self.killed)
    }

    /// The connection, for the rows of alerts.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Goes on as another run, because the clock was set back.
    pub(super) fn begin_other_run(&mut self, run: ProcessRun) {
        self.run = run;
    }

    /// The counts of each minute with events from this one on, of all runs.
    pub(super) fn minutes(&self, from: u64) -> rusqlite::Result<Vec<(u64, AllCounts)>> {
        let mut minutes: Vec<(u64, AllCounts)> = Vec::new();
        self.read(
            "SELECT minute, counts FROM minutes WHERE minute >= ? ORDER BY minute",
            from,
            |minute, counts| match minutes.last_mut() {
                Some((last, sums)) if *last == minute => add_all(sums, counts),
                Some(_) | None => minutes.push((minute, *counts)),
            },
        )?;
        Ok(minutes)
    }

    /// Calls for each row from this minute or quarter on.
    fn read(&self, text: &str, from: u64, mut row_of: impl FnMut(u64, &AllCounts)) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(text)?;
        let mut rows = statement.query([signed(from)])?;
        while let Some(row) = rows.next()? {
            row_of(unsigned(row.get(0)?), &counts_at(row, 1)?);
        }
        Ok(())
    }

    /// Writes the totals of the current minute and quarter, and that the run goes on.
    pub(super) fn write(
        &mut self,
        counts: &RunCounts,
        now_ms: u64,
        sessions: u64,
        end: RunEnd,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for (table, at, counts) in [
            ("minutes", counts.minute(), counts.of_minute()),
            ("quarters", counts.quarter(), counts.of_quarter()),
        ] {
            if *counts != AllCounts::default() {
                write_row(&transaction, table, signed(at), self.run.number, counts)?;
            }
        }
        transaction.prepare_cached("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)")?.execute(
            params![
                self.run.number,
                std::process::id(),
                signed(self.run.began_ms),
                signed(now_ms),
                signed(sessions),
                end.as_str()
            ],
        )?;
        transaction.commit()
    }

    /// The counts of each part, in declaration order, from its quarter on, without the ones that exclusions keep out.
    pub(super) fn sums(
        &self,
        from: &[u64; SloPart::ALL.len()],
        exclusions: &ExclusionList,
    ) -> rusqlite::Result<AllCounts> {
        let mut sums = AllCounts::default();
        let first = from.iter().copied().min().unwrap_or(0);
        self.read("SELECT quarter, counts FROM quarters WHERE quarter >= ?", first, |quarter, counts| {
            let counts = exclusions.judged(quarter, counts);
            for ((sum, counts), from) in sums.iter_mut().zip(&counts).zip(from) {
                if quarter >= *from {
                    sum.add(counts);
                }
            }
        })?;
        Ok(sums)
    }

    /// The time that counts exist for, at most this many days.
    pub(super) fn measured(&self, now_ms: u64, days: u32) -> rusqlite::Result<Measured> {
        let from = now_ms.saturating_sub(u64::from(days) * DAY_MS);
        let mut statement = self.connection.prepare_cached(
            "SELECT coalesce(min(max(began_ms, ?1)), ?2), coalesce(sum(last_ms - max(began_ms, ?1)), 0) FROM runs WHERE last_ms > ?1",
        )?;
        statement.query_row(params![signed(from), signed(now_ms)], |row| {
            let (first, up_ms) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
            Ok(Measured { known_s: now_ms.saturating_sub(first) / 1_000, up_s: up_ms / 1_000 })
        })
    }

    /// Sums quarters as days and as weeks of the calendar of reports, and deletes rows that no window and no period needs any more.
    pub(super) fn forget_old(&self, minute: u64, zone: &ReportZone) -> rusqlite::Result<()> {
        let quarter = (minute / MINUTES_PER_QUARTER).saturating_sub(QUARTERS_KEPT);
        let last_ms = quarter * MINUTES_PER_QUARTER * 60_000;
        report_rows::sum_days(&self.connection, minute / MINUTES_PER_QUARTER)?;
        week_rows::sum_weeks(&self.connection, zone, minute / MINUTES_PER_QUARTER)?;
        let delete = |text: &str, before: u64| self.connection.execute(text, [signed(before)]);
        delete("DELETE FROM minutes WHERE minute < ?", minute.saturating_sub(MINUTES_KEPT))?;
        delete("DELETE FROM quarters WHERE quarter < ?", quarter)?;
        delete("DELETE FROM runs WHERE last_ms < ?", last_ms)?;
        exclusion_rows::forget_old(&self.connection, last_ms)?;
        rows::forget_old(&self.connection)
    }
}

/// Counts the sessions of runs that were killed as ends without a reason, except those of `own`. Returns their last rows.
fn count_killed(connection: &Connection, own: ProcessRun) -> rusqlite::Result<Vec<(i64, u64, AllCounts)>> {
    let mut killed = Vec::new();
    let mut statement =
        connection.prepare("SELECT run, pid, last_ms, sessions FROM runs WHERE ended = '' AND run <> ?")?;
    let runs: Vec<(i64, i32, u64, i64)> = statement
        .query_map([own.number], |row| Ok((row.get(0)?, row.get(1)?, unsigned(row.get(2)?), row.get(3)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (run, pid, last_ms, sessions) in runs.into_iter().filter(|(_, pid, ..)| !lives_elsewhere(*pid)) {
        let minute = last_minute(connection, run, last_ms)?;
        for (table, column, at) in
            [("minutes", "minute", minute), ("quarters", "quarter", minute / MINUTES_PER_QUARTER)]
        {
            let text = format!("SELECT counts FROM {table} WHERE {column} = ? AND run = ?");
            let counts = connection.query_row(&text, params![signed(at), run], |row| counts_at(row, 0));
            let mut counts = counts.optional()?.unwrap_or_default();
            if let Some(counts) = counts.get_mut(SloPart::Endings.index()) {
                counts.totals.bad += unsigned(sessions);
            }
            write_row(connection, table, signed(at), run, &counts)?;
            if at == minute {
                killed.push((run, minute, counts));
            }
        }
        connection.execute("UPDATE runs SET ended = 'killed' WHERE run = ?", [run])?;
        tracing::warn!(pid, sessions, "previous process ended without a word");
    }
    Ok(killed)
}

/// The minute in which a run ended. If instances share a store, rows have the minutes of its clock, which may be ahead or behind: the
/// minute is that of the last row, unless the run counted nothing for a while.
fn last_minute(connection: &Connection, run: i64, last_ms: u64) -> rusqlite::Result<u64> {
    let minute = last_ms / 60_000;
    let from = minute.saturating_sub(MINUTES_PER_QUARTER);
    let text = "SELECT max(minute) FROM minutes WHERE run = ? AND minute >= ?";
    let last: Option<i64> = connection.query_row(text, params![run, signed(from)], |row| row.get(0))?;
    Ok(last.map_or(minute, unsigned))
}

/// True exactly if another process of this machine has this number: two gateways may use one folder while one takes over.
fn lives_elsewhere(pid: i32) -> bool {
    u32::try_from(pid) != Ok(std::process::id())
        && Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

fn write_row(
    connection: &Connection,
    table: &str,
    at: i64,
    run: i64,
    counts: &AllCounts,
) -> rusqlite::Result<()> {
    let text = format!("INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)");
    connection.prepare_cached(&text)?.execute(params![at, run, counts_row::text_of(counts)])?;
    Ok(())
}

/// A row that another release wrote differently has no counts for this one.
fn counts_at(row: &Row<'_>, column: usize) -> rusqlite::Result<AllCounts> {
    Ok(counts_row::read(row.get_ref(column)?.as_str()?))
}

/// SQLite's integers have a sign, and nothing here is ever that large.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::part::PartTotals;
    use crate::slo::scoreboard::PartCounts;

    const NOW_MS: u64 = 1_800_000_000_000;
    const MINUTE: u64 = NOW_MS / 60_000;
    const QUARTER: u64 = MINUTE / MINUTES_PER_QUARTER;

    fn counted(minute: u64, good: u64) -> RunCounts {
        let mut counts = RunCounts::new(minute);
        let mut slot = AllCounts::default();
        slot[SloPart::Publish.index()] = PartCounts::of_slot(PartTotals { good, bad: 1, excluded: 2 });
        counts.add(minute, &slot);
        counts
    }

    fn sum(database: &SloDatabase, part: SloPart) -> PartTotals {
        database.sums(&[QUARTER; SloPart::ALL.len()], &ExclusionList::default()).expect("readable")
            [part.index()]
        .totals
    }

    #[test]
    fn row_written_again_counts_once_and_other_runs_are_added() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut database = SloDatabase::open(folder.path(), ProcessRun::begin(NOW_MS)).expect("opened");
        for good in [5, 7, 7] {
            database.write(&counted(MINUTE, good), NOW_MS, 0, RunEnd::Clean).expect("written");
        }
        database.begin_other_run(ProcessRun::begin(NOW_MS));
        database.write(&counted(MINUTE, 1), NOW_MS, 0, RunEnd::Clean).expect("written");
        assert_eq!(sum(&database, SloPart::Publish), PartTotals { good: 8, bad: 2, excluded: 4 });
        let minutes = database.minutes(MINUTE).expect("readable");
        assert_eq!(minutes.len(), 1);
        let (minute, counts) = &minutes[0];
        assert_eq!((*minute, counts[SloPart::Publish.index()].totals.good), (MINUTE, 8));
        assert_eq!(counts[SloPart::Publish.index()].looks, 2);
        assert_eq!(database.minutes(MINUTE + 1).expect("readable").len(), 0);
    }

    #[test]
    fn sessions_of_a_killed_run_are_counted_once_and_those_of_a_clean_end_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SloDatabase::open(folder.path(), ProcessRun::begin(NOW_MS)).expect("opened");
        let mut clean = open();
        clean.write(&counted(MINUTE, 1), NOW_MS, 4, RunEnd::Clean).expect("written");
        let mut killed = open();
        killed.write(&counted(MINUTE, 1), NOW_MS, 3, RunEnd::Runs).expect("written");
        drop((clean, killed));
        for _ in 0..2 {
            assert_eq!(sum(&open(), SloPart::Endings).bad, 3);
        }
    }

    #[test]
    fn sessions_of_a_killed_run_are_counted_in_its_last_row() {
        for (row_minute, expected, good) in
            [(MINUTE + 3, MINUTE + 3, 1), (MINUTE - 2, MINUTE - 2, 1), (MINUTE - 60, MINUTE, 0)]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let open = || SloDatabase::open(folder.path(), ProcessRun::begin(NOW_MS)).expect("opened");
            let mut killed = open();
            killed.write(&counted(row_minute, 1), NOW_MS, 3, RunEnd::Runs).expect("written");
            drop(killed);
            let rows = open().take_killed();
            let [(_, minute, counts)] = &rows[..] else { panic!("{rows:?}") };
            let (published, endings) =
                (counts[SloPart::Publish.index()].totals, counts[SloPart::Endings.index()].totals);
            assert_eq!((*minute, published.good, endings.bad), (expected, good, 3));
        }
    }

    #[test]
    fn time_without_a_run_is_not_measured() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut database = SloDatabase::open(folder.path(), ProcessRun::begin(NOW_MS)).expect("opened");
        let at = |seconds: u64| NOW_MS + seconds * 1_000;
        database.write(&counted(MINUTE, 1), at(600), 0, RunEnd::Clean).expect("written");
        database.begin_other_run(ProcessRun::begin(at(700)));
        database.write(&counted(MINUTE, 1), at(1_000), 0, RunEnd::Runs).expect("written");
        let measured = database.measured(at(1_000), 7).expect("readable");
        assert_eq!(measured, Measured { known_s: 1_000, up_s: 900 });
    }

    #[test]
    fn old_rows_are_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut database = SloDatabase::open(folder.path(), ProcessRun::begin(NOW_MS)).expect("opened");
        database.write(&counted(MINUTE, 1), NOW_MS, 0, RunEnd::Clean).expect("written");
        database.forget_old(MINUTE + MINUTES_KEPT + 1, &ReportZone::default()).expect("deleted");
        assert_eq!(database.minutes(0).expect("readable").len(), 0);
        assert_eq!(sum(&database, SloPart::Publish).good, 1, "the quarter is kept longer");
        database
            .forget_old(MINUTE + (QUARTERS_KEPT + 1) * MINUTES_PER_QUARTER, &ReportZone::default())
            .expect("deleted");
        assert_eq!(sum(&database, SloPart::Publish).good, 0);
        assert_eq!(database.measured(NOW_MS, 90).expect("readable"), Measured { known_s: 0, up_s: 0 });
    }

    #[test]
    fn file_of_the_previous_release_gets_its_missing_tables_and_the_days_of_its_quarters() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SloDatabase::open(folder.path(), ProcessRun::begin(NOW_MS)).expect("opened");
        let mut database = open();
        database.write(&counted(MINUTE, 5), NOW_MS, 0, RunEnd::Clean).expect("written");
        let tables = "DROP TABLE days; DROP TABLE weeks; DROP TABLE reports; DROP TABLE numbers;";
        database.connection().execute_batch(tables).expect("as before");
        drop(database);
        let mut database = open();
        database.forget_old(MINUTE, &ReportZone::default()).expect("summed");
        let day = database.connection().query_row("SELECT day, counts FROM days", [], |row| {
            Ok((unsigned(row.get(0)?), counts_at(row, 1)?))
        });
        let (day, counts) = day.expect("one day");
        assert_eq!(
            (day, counts[SloPart::Publish.index()].totals.good),
            (NOW_MS / DAY_MS, 5),
            "a day is the sum of its quarters"
        );
    }

    #[test]
    fn file_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(SloDatabase::open(folder.path(), ProcessRun::begin(NOW_MS)).expect("opened"));
        let connection = Connection::open(folder.path().join(FILE_NAME)).expect("opened");
        connection.pragma_update(None, "user_version", VERSION + 1).expect("written");
        let error = SloDatabase::open(folder.path(), ProcessRun::begin(NOW_MS)).expect_err("newer");
        assert!(error.to_string().contains("a newer version of seawall wrote it"), "{error}");
    }
}
