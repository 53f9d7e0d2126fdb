//! The rows of this instance that the shared store has not confirmed: in memory, and in `slo.db` for the next process.

use crate::job::shared_counts::{CountsRow, ROWS_WRITTEN};
use crate::slo::deployment::MINUTES_SHARED;
use crate::slo::minute_row::MinuteRow;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// A minute may have a row of a run that was killed and one of the next.
const ROWS_MAX: usize = 2 * MINUTES_SHARED as usize;
/// The newest rows are written again, because they may have grown.
const CHANGING_ROWS: usize = 3;

pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS unshared (minute INTEGER, run INTEGER, counts TEXT NOT NULL, PRIMARY KEY (minute, run)) WITHOUT ROWID;
";

/// The rows, by minute and run.
#[derive(Debug, Default)]
pub(super) struct CountsJournal {
    rows: BTreeMap<(u64, i64), MinuteRow>,
}

impl CountsJournal {
    /// Reads the rows that earlier processes left.
    pub(super) fn load(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT minute, run, counts FROM unshared")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (minute, run): (i64, i64) = (row.get(0)?, row.get(1)?);
            let counts = MinuteRow::read(row.get_ref(2)?.as_str()?);
            self.note(CountsRow { run, minute: u64::try_from(minute).unwrap_or(0), counts });
        }
        Ok(())
    }

    /// Adds a version of a row. The oldest rows give way.
    pub(super) fn note(&mut self, row: CountsRow) {
        self.rows.entry((row.minute, row.run)).or_default().merge(&row.counts);
        if self.rows.len() > ROWS_MAX {
            self.rows.pop_first();
        }
    }

    /// Drops rows that the store would refuse, `now` minutes after 1970.
    pub(super) fn forget_old(&mut self, now: u64) {
        self.rows = self.rows.split_off(&(now.saturating_sub(MINUTES_SHARED), i64::MIN));
    }

    /// The rows to write now: the newest one, which is being counted, and the oldest others.
    pub(super) fn due(&self) -> Vec<CountsRow> {
        let row = |((minute, run), counts): (&(u64, i64), &MinuteRow)| CountsRow {
            run: *run,
            minute: *minute,
            counts: *counts,
        };
        let newest = self.rows.last_key_value().map(row);
        let others = self.rows.iter().rev().skip(1).rev().take(ROWS_WRITTEN - 1).map(row);
        newest.into_iter().chain(others).collect()
    }

    /// Removes the rows that the store has, unless they have grown since.
    pub(super) fn confirm(&mut self, written: &[CountsRow]) {
        for row in written {
            if self.rows.get(&(row.minute, row.run)) == Some(&row.counts) {
                self.rows.remove(&(row.minute, row.run));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Writes the rows in place of the earlier ones.
    pub(super) fn store(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        let mut known: BTreeSet<(i64, i64)> = BTreeSet::new();
        {
            let mut statement = transaction.prepare_cached("SELECT minute, run FROM unshared")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                known.insert((row.get(0)?, row.get(1)?));
            }
        }
        let key = |minute: u64| i64::try_from(minute).unwrap_or(i64::MAX);
        for (minute, run) in &known {
            let (minute, run) = (*minute, *run);
            if !self.rows.contains_key(&(u64::try_from(minute).unwrap_or(0), run)) {
                transaction
                    .prepare_cached("DELETE FROM unshared WHERE minute = ? AND run = ?")?
                    .execute(params![minute, run])?;
            }
        }
        // Earlier rows do not change any more, apart from the last few.
        for (place, ((minute, run), counts)) in self.rows.iter().rev().enumerate() {
            if place >= CHANGING_ROWS && known.contains(&(key(*minute), *run)) {
                continue;
            }
            transaction
                .prepare_cached("INSERT OR REPLACE INTO unshared VALUES (?, ?, ?)")?
                .execute(params![key(*minute), run, counts.text()])?;
        }
        transaction.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::SloPart;

    fn row(minute: u64, good: u64) -> CountsRow {
        let mut counts = MinuteRow::default();
        counts.counts[SloPart::Publish.index()].totals.good = good;
        CountsRow { run: 7, minute, counts }
    }

    #[test]
    fn rows_are_kept_until_the_store_has_their_newest_version() {
        let mut connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(TABLES).expect("tables");
        let mut journal = CountsJournal::default();
        for (minute, good) in [(1, 4), (2, 1), (2, 5)] {
            journal.note(row(minute, good));
            journal.store(&mut connection).expect("written");
        }
        let due = journal.due();
        assert_eq!(due, [row(2, 5), row(1, 4)]);
        journal.note(row(2, 6));
        journal.confirm(&due);
        assert_eq!(journal.due(), [row(2, 6)]);
        journal.store(&mut connection).expect("written");
        let mut next = CountsJournal::default();
        next.load(&connection).expect("readable");
        assert_eq!(next.due(), [row(2, 6)]);
        next.confirm(&[row(2, 6)]);
        assert_eq!((next.len(), next.due().len()), (0, 0));
    }

    #[test]
    fn journal_of_days_without_a_store_is_bounded_and_old_rows_are_dropped() {
        let mut journal = CountsJournal::default();
        (0..ROWS_MAX as u64 + 5).for_each(|minute| journal.note(row(minute, 1)));
        assert_eq!(journal.len(), ROWS_MAX);
        assert_eq!(journal.due().len(), ROWS_WRITTEN);
        journal.forget_old(ROWS_MAX as u64 + 4);
        assert_eq!(journal.len() as u64, MINUTES_SHARED + 1);
    }
}
