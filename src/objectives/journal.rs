//! The rows of this instance that the shared store may not have: in memory, and in `slo.db` for the next process.

use crate::job::shared_counts::{CountsRow, ROWS_WRITTEN};
use crate::slo::deployment::MINUTES_SHARED;
use crate::slo::minute_row::MinuteRow;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// A minute may have a row of a run that was killed and one of the next.
const ROWS_MAX: usize = 2 * MINUTES_SHARED as usize;
/// Confirmed rows are kept, and written to the store again, for this long, in minutes.
const CONFIRMED_MINUTES: u64 = 10;
/// The newest rows are written again, because they may have grown.
const CHANGING_ROWS: usize = 3;

pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS unshared (minute INTEGER, run INTEGER, counts TEXT NOT NULL, PRIMARY KEY (minute, run)) WITHOUT ROWID;
";

/// A row in the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct JournalRow {
    counts: MinuteRow,
    /// The minutes of the first and of the last answer to this version.
    confirmed: Option<(u64, u64)>,
}

/// The rows, by minute and run.
#[derive(Debug, Default)]
pub(super) struct CountsJournal {
    rows: BTreeMap<(u64, i64), JournalRow>,
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

    /// Adds a version of a row. If there are too many, confirmed rows give way, then the oldest ones.
    pub(super) fn note(&mut self, row: CountsRow) {
        let known = self.rows.entry((row.minute, row.run)).or_default();
        let before = known.counts;
        known.counts.merge(&row.counts);
        if known.counts != before {
            known.confirmed = None;
        }
        if self.rows.len() > ROWS_MAX {
            let confirmed =
                self.rows.iter().find(|(_, row)| row.confirmed.is_some()).map(|(place, _)| *place);
            match confirmed {
                Some(place) => drop(self.rows.remove(&place)),
                None => drop(self.rows.pop_first()),
            }
        }
    }

    /// Drops rows that the store would refuse, and rows that it has had for a while, `now` minutes after 1970.
    pub(super) fn forget_old(&mut self, now: u64) {
        self.rows = self.rows.split_off(&(now.saturating_sub(MINUTES_SHARED), i64::MIN));
        self.rows.retain(|_, row| row.confirmed.is_none_or(|(first, _)| now < first + CONFIRMED_MINUTES));
    }

    /// The rows to write now: the newest one, which is being counted, and the oldest others; then confirmed ones, once a minute, in
    /// case that the store has lost them.
    pub(super) fn due(&self, now: u64) -> Vec<CountsRow> {
        let row = |((minute, run), row): (&(u64, i64), &JournalRow)| CountsRow {
            run: *run,
            minute: *minute,
            counts: row.counts,
        };
        let mut news = self.rows.iter().filter(|(_, row)| row.confirmed.is_none());
        let newest = news.next_back();
        let again = self.rows.iter().filter(|(_, row)| row.confirmed.is_some_and(|(_, last)| last < now));
        newest.into_iter().chain(news).chain(again).map(row).take(ROWS_WRITTEN).collect()
    }

    /// Takes that the store has these rows, unless they have grown since. A crash of its server, or a change to a standby, can still lose
    /// them, because no commit of them waits for the disk.
    pub(super) fn confirm(&mut self, written: &[CountsRow], now: u64) {
        for row in written {
            if let Some(known) = self.rows.get_mut(&(row.minute, row.run))
                && known.counts == row.counts
            {
                let first = known.confirmed.map_or(now, |(first, _)| first);
                known.confirmed = Some((first, now));
            }
        }
    }

    /// The rows that the store has not confirmed.
    pub(super) fn len(&self) -> usize {
        self.rows.values().filter(|row| row.confirmed.is_none()).count()
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
        for (place, ((minute, run), row)) in self.rows.iter().rev().enumerate() {
            if place >= CHANGING_ROWS && known.contains(&(key(*minute), *run)) {
                continue;
            }
            transaction
                .prepare_cached("INSERT OR REPLACE INTO unshared VALUES (?, ?, ?)")?
                .execute(params![key(*minute), run, row.counts.text()])?;
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
    fn rows_are_kept_until_the_store_has_had_their_newest_version_for_a_while() {
        let mut connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(TABLES).expect("tables");
        let mut journal = CountsJournal::default();
        for (minute, good) in [(1, 4), (2, 1), (2, 5)] {
            journal.note(row(minute, good));
            journal.store(&mut connection).expect("written");
        }
        let due = journal.due(2);
        assert_eq!(due, [row(2, 5), row(1, 4)]);
        journal.note(row(2, 6));
        journal.confirm(&due, 2);
        assert_eq!((journal.len(), journal.due(2)), (1, vec![row(2, 6)]));
        assert_eq!(journal.due(3), [row(2, 6), row(1, 4)], "a confirmed one is written again after a minute");
        journal.confirm(&journal.due(3), 3);
        assert_eq!((journal.len(), journal.due(3)), (0, vec![]));
        journal.store(&mut connection).expect("written");
        let mut next = CountsJournal::default();
        next.load(&connection).expect("readable");
        assert_eq!(next.due(3), [row(2, 6), row(1, 4)], "a crash may have followed");
        journal.forget_old(2 + CONFIRMED_MINUTES);
        assert_eq!(journal.due(100), [row(2, 6)]);
        journal.note(row(2, 6));
        journal.forget_old(3 + CONFIRMED_MINUTES);
        assert_eq!((journal.rows.len(), journal.due(100)), (0, vec![]));
    }

    #[test]
    fn journal_of_days_without_a_store_is_bounded_and_old_rows_are_dropped() {
        let mut journal = CountsJournal::default();
        (0..ROWS_MAX as u64 + 5).for_each(|minute| journal.note(row(minute, 1)));
        assert_eq!(journal.len(), ROWS_MAX);
        assert_eq!(journal.due(0).len(), ROWS_WRITTEN);
        journal.forget_old(ROWS_MAX as u64 + 4);
        assert_eq!(journal.len() as u64, MINUTES_SHARED + 1);
        let mut journal = CountsJournal::default();
        (10..10 + ROWS_MAX as u64).for_each(|minute| journal.note(row(minute, 1)));
        journal.confirm(&[row(12, 1)], 13);
        journal.note(row(5, 1));
        assert_eq!((journal.len(), journal.rows.len()), (ROWS_MAX, ROWS_MAX), "the confirmed one gave way");
    }
}
