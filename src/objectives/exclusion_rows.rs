//! Exclusions in `slo.db`.

use crate::slo::budget_exclusion::BudgetExclusion;
use crate::slo::exclusion::ExclusionList;
use rusqlite::{Connection, params};

pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS exclusions (number INTEGER PRIMARY KEY, until_ms INTEGER NOT NULL, body TEXT NOT NULL);
";

/// A number that no exclusion had before.
const NEXT_NUMBER: &str = "INSERT INTO numbers VALUES ('exclusion', 1)
    ON CONFLICT (name) DO UPDATE SET last = last + 1 RETURNING last";

pub(super) fn read(connection: &Connection) -> rusqlite::Result<ExclusionList> {
    let mut statement = connection.prepare_cached("SELECT body FROM exclusions ORDER BY number")?;
    let mut stored = Vec::new();
    for body in statement.query_map([], |row| row.get::<_, String>(0))? {
        // One of a newer version is left out.
        stored.extend(serde_json::from_str(&body?).ok());
    }
    Ok(ExclusionList::restore(stored))
}

/// Stores one under the next number, and returns it.
pub(super) fn insert(
    connection: &mut Connection,
    exclusion: BudgetExclusion,
) -> rusqlite::Result<BudgetExclusion> {
    let transaction = connection.transaction()?;
    let number: i64 = transaction.query_row(NEXT_NUMBER, [], |row| row.get(0))?;
    let exclusion = BudgetExclusion { number: u64::try_from(number).unwrap_or(0), ..exclusion };
    let body = serde_json::to_string(&exclusion)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let until_ms = i64::try_from(exclusion.until_ms).unwrap_or(i64::MAX);
    transaction.execute("INSERT INTO exclusions VALUES (?, ?, ?)", params![number, until_ms, body])?;
    transaction.commit()?;
    Ok(exclusion)
}

pub(super) fn delete(connection: &Connection, number: u64) -> rusqlite::Result<()> {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    connection.execute("DELETE FROM exclusions WHERE number = ?", [number])?;
    Ok(())
}

/// Deletes the exclusions of quarters that are not kept any more.
pub(super) fn forget_old(connection: &Connection, before_ms: u64) -> rusqlite::Result<()> {
    let before_ms = i64::try_from(before_ms).unwrap_or(i64::MAX);
    connection.execute("DELETE FROM exclusions WHERE until_ms < ?", [before_ms])?;
    Ok(())
}
