//! Rows of `slo.db` for reports: quarters of an hour and days, runs, outages and notices.
//!
//! A day in UTC is the sum of its quarters. Quarters are kept for 100 days, days for 800: histories use them where no week of their time zone
//! is kept.

use super::week_alerts::alerts_of_week;
use crate::slo::calendar::{IsoWeek, QUARTERS_PER_DAY, QuarterSpan};
use crate::slo::counts_row;
use crate::slo::exclusion::ExclusionList;
use crate::slo::run_counts::add_all;
use crate::slo::trend::{DayRows, days_of};
use crate::slo::weekly_rows::{QuarterRows, RunEnding, RunSpan, WeekRows};
use crate::slo::weekly_text::ReportFormat;
use rusqlite::{Connection, OptionalExtension as _, params};

pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS days (day INTEGER PRIMARY KEY, counts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS reports (deployment TEXT, week TEXT, made_ms INTEGER NOT NULL, text TEXT NOT NULL, markdown TEXT NOT NULL,
    json TEXT NOT NULL, PRIMARY KEY (deployment, week));
";
pub(super) const QUARTERS_KEPT: u64 = 100 * QUARTERS_PER_DAY;
const DAYS_KEPT: u64 = 800;
/// Three years.
const REPORT_DAYS_KEPT: u64 = 1_096;
const DAY_MS: u64 = 86_400_000;
/// The days before the last one that are summed again, because rows may be added to them later.
const DAYS_OPEN: u64 = 4;

/// A report that was sent, in each of its forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredReport {
    pub(super) deployment: String,
    /// As in `2026-W48`.
    pub(super) week: String,
    /// The begin of the week, in Unix milliseconds.
    pub(super) from_ms: u64,
    pub(super) made_ms: u64,
    pub(super) text: String,
    pub(super) markdown: String,
    pub(super) json: String,
}

impl StoredReport {
    /// Adds the row, unless the deployment has one of this week.
    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let StoredReport { deployment, week, from_ms: _, made_ms, text, markdown, json } = self;
        let row = params![deployment, week, signed(*made_ms), text, markdown, json];
        connection.execute("INSERT OR IGNORE INTO reports VALUES (?, ?, ?, ?, ?, ?)", row)?;
        Ok(())
    }
}

/// The report of a week as it was sent, in one form.
pub(super) fn sent_report(
    connection: &Connection,
    deployment: &str,
    week: IsoWeek,
    format: ReportFormat,
) -> rusqlite::Result<Option<String>> {
    let text = format!("SELECT {} FROM reports WHERE deployment = ? AND week = ?", format.as_str());
    connection.query_row(&text, params![deployment, week.to_string()], |row| row.get(0)).optional()
}

/// All rows of a report about `week`, whose figures need the quarters of `needed`. `now_ms` ends what still goes on.
pub(super) fn week_rows(
    connection: &Connection,
    exclusions: &ExclusionList,
    week: QuarterSpan,
    needed: QuarterSpan,
    now_ms: u64,
) -> rusqlite::Result<WeekRows> {
    let (from_ms, until_ms) = (week.from_ms(), week.until_ms());
    let incidents = incidents(connection, from_ms, until_ms)?;
    let notices = notices(connection, from_ms, until_ms)?;
    Ok(WeekRows {
        quarters: quarters(connection, needed)?,
        runs: runs(connection, until_ms)?,
        exclusions: exclusions.clone(),
        ..alerts_of_week(&incidents, &notices, week, now_ms)
    })
}

/// The counts of each quarter with events, of all runs.
pub(super) fn quarters(connection: &Connection, span: QuarterSpan) -> rusqlite::Result<QuarterRows> {
    let mut quarters = QuarterRows::new();
    let mut statement = connection
        .prepare_cached("SELECT quarter, counts FROM quarters WHERE quarter >= ? AND quarter < ?")?;
    let mut rows = statement.query(params![signed(span.from), signed(span.until)])?;
    while let Some(row) = rows.next()? {
        add_all(
            quarters.entry(unsigned(row.get(0)?)).or_default(),
            &counts_row::read(row.get_ref(1)?.as_str()?),
        );
    }
    Ok(quarters)
}

/// The counts of each day in UTC with events, from this one on, of all runs.
pub(super) fn days(connection: &Connection, from: u64) -> rusqlite::Result<DayRows> {
    let mut statement = connection.prepare_cached("SELECT day, counts FROM days WHERE day >= ?")?;
    let rows = statement.query_map([signed(from)], |row| {
        Ok((unsigned(row.get(0)?), counts_row::read(row.get_ref(1)?.as_str()?)))
    })?;
    rows.collect()
}

/// The runs that began before this time.
fn runs(connection: &Connection, before_ms: u64) -> rusqlite::Result<Vec<RunSpan>> {
    let mut statement = connection
        .prepare_cached("SELECT began_ms, last_ms, ended FROM runs WHERE began_ms < ? ORDER BY began_ms")?;
    let rows = statement.query_map([signed(before_ms)], |row| {
        let is_clean = row.get_ref(2)?.as_str()? == "clean";
        let ending = if is_clean { RunEnding::Stopped } else { RunEnding::Killed };
        Ok(RunSpan { began_ms: unsigned(row.get(0)?), last_ms: unsigned(row.get(1)?), ending })
    })?;
    rows.collect()
}

/// The incidents that were open at any time between these.
fn incidents(connection: &Connection, from_ms: u64, until_ms: u64) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT body FROM incidents WHERE json_extract(body, '$.since_ms') < ?2
         AND coalesce(json_extract(body, '$.end.at_ms'), ?1 + 1) > ?1",
    )?;
    let rows = statement.query_map(params![signed(from_ms), signed(until_ms)], |row| row.get(0))?;
    rows.collect()
}

/// The notices of a time that channels accepted, or that were given up: the fate and the body of each.
fn notices(connection: &Connection, from_ms: u64, until_ms: u64) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare_cached(
        "SELECT fate, body FROM notices WHERE fate IN ('sent', 'dead')
         AND json_extract(body, '$.content.at_ms') >= ? AND json_extract(body, '$.content.at_ms') < ?",
    )?;
    let rows = statement
        .query_map(params![signed(from_ms), signed(until_ms)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Sums the quarters of the last days, of all days if none was summed yet, and deletes days and reports that are too old.
pub(super) fn sum_days(connection: &Connection, quarter: u64) -> rusqlite::Result<()> {
    let last: Option<i64> = connection.query_row("SELECT max(day) FROM days", [], |row| row.get(0))?;
    let today = quarter / QUARTERS_PER_DAY;
    let first = last.map_or(0, |last| unsigned(last).min(today).saturating_sub(DAYS_OPEN));
    let span = QuarterSpan { from: first * QUARTERS_PER_DAY, until: (today + 1) * QUARTERS_PER_DAY };
    let days = days_of(&quarters(connection, span)?);
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO days VALUES (?, ?)")?;
    for (day, counts) in days {
        statement.execute(params![signed(day), counts_row::text_of(&counts)])?;
    }
    connection.execute("DELETE FROM days WHERE day < ?", [signed(today.saturating_sub(DAYS_KEPT))])?;
    let made_ms = today.saturating_sub(REPORT_DAYS_KEPT) * DAY_MS;
    connection.execute("DELETE FROM reports WHERE made_ms < ?", [signed(made_ms)])?;
    Ok(())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
