//! Weeks of the calendar of reports in `slo.db`, for 800 days: sums of the quarters of an hour, which are kept for a hundred.

use super::report_rows::{QUARTERS_KEPT, quarters};
use crate::slo::calendar::{IsoWeek, QUARTER_MS, QUARTERS_PER_DAY, QuarterSpan, ReportZone};
use crate::slo::counts_row;
use crate::slo::trend::{WeekSums, weeks_of};
use rusqlite::{Connection, params};

/// Weeks of another time zone stay as they are until they are too old.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS weeks (zone TEXT, week TEXT, from_ms INTEGER NOT NULL, counts TEXT NOT NULL, PRIMARY KEY (zone, week)) WITHOUT ROWID;
";
const DAYS_KEPT: u64 = 800;
/// Rows may be added to quarters of this many days ago.
const DAYS_OPEN: u64 = 4;

/// Sums the quarters of the last weeks, from the last one that was summed on, and deletes weeks that are too old.
pub(super) fn sum_weeks(connection: &Connection, zone: &ReportZone, quarter: u64) -> rusqlite::Result<()> {
    let text = "SELECT max(from_ms) FROM weeks WHERE zone = ?";
    let last_ms: Option<i64> = connection.query_row(text, [zone.name()], |row| row.get(0))?;
    let last = last_ms.map_or(0, |ms| unsigned(ms) / QUARTER_MS).min(quarter);
    let first = whole_week_from(zone, quarter.saturating_sub(QUARTERS_KEPT))
        .max(week_begin(zone, last.saturating_sub(DAYS_OPEN * QUARTERS_PER_DAY)));
    let weeks = weeks_of(&quarters(connection, QuarterSpan { from: first, until: quarter + 1 })?, zone);
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO weeks VALUES (?, ?, ?, ?)")?;
    for (week, counts) in weeks {
        let from_ms = zone.week(week).map_or(0, QuarterSpan::from_ms);
        let row = params![zone.name(), week.to_string(), signed(from_ms), counts_row::text_of(&counts)];
        statement.execute(row)?;
    }
    let oldest_ms = quarter.saturating_sub(DAYS_KEPT * QUARTERS_PER_DAY) * QUARTER_MS;
    connection.execute("DELETE FROM weeks WHERE from_ms < ?", [signed(oldest_ms)])?;
    Ok(())
}

/// The weeks of a time zone. At most 800 days are kept.
pub(super) fn weeks(connection: &Connection, zone: &ReportZone) -> rusqlite::Result<WeekSums> {
    let mut statement = connection.prepare_cached("SELECT week, counts FROM weeks WHERE zone = ?")?;
    let mut rows = statement.query([zone.name()])?;
    let mut weeks = WeekSums::new();
    while let Some(row) = rows.next()? {
        if let Some(week) = IsoWeek::parse(row.get_ref(0)?.as_str()?) {
            weeks.insert(week, counts_row::read(row.get_ref(1)?.as_str()?));
        }
    }
    Ok(weeks)
}

/// The first quarter of the week of a quarter.
fn week_begin(zone: &ReportZone, quarter: u64) -> u64 {
    let week = zone.week_of(quarter * QUARTER_MS).and_then(|week| zone.week(week));
    week.map_or(quarter, |span| span.from)
}

/// The first quarter of the first week that begins at this quarter or later.
pub(super) fn whole_week_from(zone: &ReportZone, quarter: u64) -> u64 {
    let week = quarter.checked_sub(1).and_then(|before| zone.week_of(before * QUARTER_MS));
    week.and_then(|week| zone.week(week)).map_or(0, |span| span.until)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
