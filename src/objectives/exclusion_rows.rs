//! Exclusions in `slo.db`.

use crate::slo::budget_exclusion::BudgetExclusion;
use crate::slo::exclusion::ExclusionList;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS exclusions (number INTEGER PRIMARY KEY, until_ms INTEGER NOT NULL, body TEXT NOT NULL);
";

/// A number that no exclusion had before.
const NEXT_NUMBER: &str = "INSERT INTO numbers VALUES ('exclusion', 1)
    ON CONFLICT (name) DO UPDATE SET last = last + 1 RETURNING last";

/// An exclusion in the file.
#[derive(Serialize, Deserialize)]
struct StoredExclusion {
    #[serde(flatten)]
    exclusion: BudgetExclusion,
    /// A copy of the one in the store that instances share.
    #[serde(default)]
    shared: bool,
}

/// The exclusions of the file, and the ones among them that are in no shared store.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<(ExclusionList, Vec<BudgetExclusion>)> {
    let mut statement = connection.prepare_cached("SELECT body FROM exclusions ORDER BY number")?;
    let (mut all, mut own) = (Vec::new(), Vec::new());
    for body in statement.query_map([], |row| row.get::<_, String>(0))? {
        // One of a newer version is left out.
        let Ok(StoredExclusion { exclusion, shared }) = serde_json::from_str(&body?) else { continue };
        if !shared {
            own.push(exclusion.clone());
        }
        all.push(exclusion);
    }
    Ok((ExclusionList::restore(all), own))
}

/// Writes copies of the exclusions of all instances in place of what is there.
pub(super) fn replace(connection: &mut Connection, list: &ExclusionList) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM exclusions", [])?;
    for exclusion in list.list() {
        write(&transaction, StoredExclusion { exclusion: exclusion.clone(), shared: true })?;
        // A release that keeps its own ones gives later numbers.
        let used = "INSERT INTO numbers VALUES ('exclusion', ?1) ON CONFLICT (name) DO UPDATE SET last = max(last, ?1)";
        transaction.execute(used, [signed(exclusion.number)])?;
    }
    transaction.commit()
}

/// Stores one under the next number, and returns it.
pub(super) fn insert(
    connection: &mut Connection,
    exclusion: BudgetExclusion,
) -> rusqlite::Result<BudgetExclusion> {
    let transaction = connection.transaction()?;
    let number: i64 = transaction.query_row(NEXT_NUMBER, [], |row| row.get(0))?;
    let exclusion = BudgetExclusion { number: u64::try_from(number).unwrap_or(0), ..exclusion };
    write(&transaction, StoredExclusion { exclusion: exclusion.clone(), shared: false })?;
    transaction.commit()?;
    Ok(exclusion)
}

fn write(connection: &Connection, stored: StoredExclusion) -> rusqlite::Result<()> {
    let body = serde_json::to_string(&stored)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let StoredExclusion { exclusion, .. } = stored;
    let row = params![signed(exclusion.number), signed(exclusion.until_ms), body];
    connection.execute("INSERT INTO exclusions VALUES (?, ?, ?)", row)?;
    Ok(())
}

pub(super) fn delete(connection: &Connection, number: u64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM exclusions WHERE number = ?", [signed(number)])?;
    Ok(())
}

/// Deletes the exclusions of quarters that are not kept any more.
pub(super) fn forget_old(connection: &Connection, before_ms: u64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM exclusions WHERE until_ms < ?", [signed(before_ms)])?;
    Ok(())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::alerts::rows;
    use super::*;

    fn exclusion(number: u64) -> BudgetExclusion {
        BudgetExclusion {
            number,
            objective: None,
            from_ms: 0,
            until_ms: 900_000,
            why: "move".into(),
            by: "192.0.2.7".into(),
            at_ms: 0,
        }
    }

    #[test]
    fn copies_of_shared_ones_take_the_place_of_own_ones_and_leave_their_numbers_to_nothing_else() {
        let mut connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(&format!("{TABLES}{}", rows::TABLES)).expect("tables");
        // As the release before this wrote it.
        let body = serde_json::to_string(&exclusion(1)).expect("JSON");
        connection.execute("INSERT INTO exclusions VALUES (1, 900000, ?)", [body]).expect("a row");
        assert_eq!(read(&connection).expect("readable").1, [exclusion(1)]);
        let shared = ExclusionList::restore(vec![exclusion(4), exclusion(9)]);
        replace(&mut connection, &shared).expect("written");
        assert_eq!(read(&connection).expect("readable"), (shared, vec![]));
        let own = insert(&mut connection, exclusion(0)).expect("written");
        assert_eq!((own.number, read(&connection).expect("readable").1), (10, vec![exclusion(10)]));
        // The release before this reads all of them.
        let body: String = connection
            .query_row("SELECT body FROM exclusions WHERE number = 9", [], |row| row.get(0))
            .expect("a row");
        assert_eq!(serde_json::from_str::<BudgetExclusion>(&body).expect("readable"), exclusion(9));
    }
}
