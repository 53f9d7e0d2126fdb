//! The note of when the store was last in use, by which a wrong clock is noticed.

use super::log::{BatchFault, Log};
use crate::store::columns::{integer, natural};
use rusqlite::OptionalExtension as _;

impl Log {
    /// The wall time at which the store was last in use, Unix milliseconds. In a file that does not note it yet, it is the
    /// time of the newest publication, which is noted before publications of a wrong clock can change it.
    pub(crate) fn last_use_ms(&mut self) -> Result<Option<u64>, BatchFault> {
        let result = self.transaction(|connection| {
            connection.execute(
                "INSERT OR IGNORE INTO meta (name, value)
                 SELECT 'last_use', max(time) FROM channels HAVING max(time) IS NOT NULL
                     AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'last_use')",
                [],
            )?;
            connection
                .query_row("SELECT value FROM meta WHERE name = 'last_use'", [], |row| row.get::<_, i64>(0))
                .optional()
        });
        result.map(|ms| ms.map(natural)).inspect_err(|fault| self.recover(fault))
    }

    /// Writes the time of a trusted clock.
    pub(crate) fn note_use(&mut self, now_ms: u64) -> Result<(), BatchFault> {
        let result = self.transaction(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO meta (name, value) VALUES ('last_use', ?1)
                     ON CONFLICT DO UPDATE SET value = excluded.value",
                )?
                .execute([integer(now_ms)])
                .map(drop)
        });
        result.inspect_err(|fault| self.recover(fault))
    }
}
