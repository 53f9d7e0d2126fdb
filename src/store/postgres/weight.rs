//! `retention.bytes`: an estimate of the bytes that the publications take.
//!
//! The size of the files cannot be the measure: deleted rows leave room inside of them, which no query shows, so a bound on
//! the size would go on deleting after enough was deleted. A sum that each append changes would be one row that all of them
//! wait for. So the number of publications, which the channels' rows give exactly, is multiplied with the average size of a
//! sample.

use super::connection::StoreConnection;
use super::fault::CallFault;
use super::timing::monotonic;
use crate::store::columns::natural;
use postgres_types::Type;
use std::time::{Duration, Instant};

/// The least pause between two estimates.
const PERIOD_MIN: Duration = Duration::from_secs(2);
/// The pause is at least this many times the duration of an estimate, which looks at every channel.
const REST: u32 = 50;
/// Pages of the table in a sample.
const SAMPLED_PAGES: f64 = 256.0;
/// Bytes of a publication besides its author, key and data: headers, numbers, and entries of the indexes.
const ROW_BYTES: i64 = 160;

/// The bound, and the time of the next estimate.
#[derive(Debug)]
pub(super) struct Scales {
    /// `retention.bytes`; 0: no bound.
    bytes_max: u64,
    due: Instant,
}

impl Scales {
    pub(super) fn new(bytes_max: u64) -> Scales {
        Scales { bytes_max, due: monotonic() }
    }

    /// The number of publications over the bound; 0 while no estimate is due.
    pub(super) fn excess(&mut self, connection: &mut StoreConnection) -> Result<u64, CallFault> {
        let began = monotonic();
        if self.bytes_max == 0 || began < self.due {
            return Ok(0);
        }
        let rows = count(connection)?;
        let row_bytes = sample(connection)?;
        self.due = began + (REST * began.elapsed()).max(PERIOD_MIN);
        Ok(excess(rows, row_bytes, self.bytes_max))
    }

    /// Has the next round estimate again, because not all of the excess was deleted.
    pub(super) fn again(&mut self) {
        self.due = monotonic();
    }
}

fn excess(rows: u64, row_bytes: f64, bytes_max: u64) -> u64 {
    if row_bytes <= 0.0 {
        return 0;
    }
    rows.saturating_sub((bytes_max as f64 / row_bytes) as u64)
}

/// The publications of all channels.
fn count(connection: &mut StoreConnection) -> Result<u64, CallFault> {
    let rows = connection.query(
        "SELECT coalesce(sum(head - floor + 1), 0)::int8 FROM seawall.channels WHERE oldest IS NOT NULL",
        &[],
    )?;
    Ok(rows.first().and_then(|row| row.try_get::<i64>(0).ok()).map_or(0, natural))
}

/// The average bytes of a publication; 0 if the sample is empty.
fn sample(connection: &mut StoreConnection) -> Result<f64, CallFault> {
    let rows = connection.query(
        "SELECT (pg_catalog.pg_relation_size('seawall.publications')
            / pg_catalog.current_setting('block_size')::int8)::float8",
        &[],
    )?;
    let pages = rows.first().and_then(|row| row.try_get::<f64>(0).ok()).unwrap_or(0.0);
    let percent = (100.0 * SAMPLED_PAGES / pages.max(1.0)).min(100.0);
    let rows = connection.query(
        "SELECT avg($2 + pg_column_size(author) + coalesce(2 * pg_column_size(key), 0)
            + coalesce(pg_column_size(data), 0))::float8
         FROM seawall.publications TABLESAMPLE SYSTEM ($1)",
        &[(&(percent as f32), Type::FLOAT4), (&ROW_BYTES, Type::INT8)],
    )?;
    Ok(rows.first().and_then(|row| row.try_get::<Option<f64>>(0).ok()).flatten().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excess_is_what_the_bound_has_no_room_for() {
        for (rows, row_bytes, bytes_max, expected) in [
            (100, 1_000.0, 50_000, 50),
            (100, 1_000.0, 100_000, 0),
            (10, 1_000.0, 100_000, 0),
            (100, 0.0, 1, 0),
        ] {
            assert_eq!(excess(rows, row_bytes, bytes_max), expected, "{rows} of {row_bytes} in {bytes_max}");
        }
    }
}
