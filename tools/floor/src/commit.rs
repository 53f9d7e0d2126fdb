//! The minimal commit loop into SQLite: the rows of publications, in batches, without anyone to answer.
//!
//! Tables and pragmas are those of `src/store/sqlite`: a log in one tree by channel and offset, keys in a
//! table of their own, and one update of a channel's head per batch. Checkpoints run between batches when the write-ahead
//! log has grown; Seawall runs them on a separate thread, which this loop does not have.

use crate::{Commit, database};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use sha1::{Digest as _, Sha1};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bits of the offset in a row's place.
const OFFSET_BITS: u32 = 39;
/// Commits between two checkpoints.
const CHECKPOINT_COMMITS: u64 = 64;
/// The time stored in the rows.
pub(crate) const TIME_MS: i64 = 1_763_770_000_123;

const SCHEMA: &str = "
    CREATE TABLE channels (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        time INTEGER NOT NULL,
        oldest INTEGER
    ) STRICT;
    CREATE TABLE publications (
        place INTEGER PRIMARY KEY,
        user TEXT NOT NULL,
        key TEXT,
        time INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        target INTEGER,
        deleted_by INTEGER,
        data TEXT
    ) STRICT;
    CREATE TABLE keys (
        channel INTEGER NOT NULL,
        user TEXT NOT NULL,
        key TEXT NOT NULL,
        offset INTEGER NOT NULL,
        time INTEGER NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (channel, user, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX publications_by_target ON publications (target) WHERE target IS NOT NULL;
    CREATE INDEX channels_by_oldest ON channels (oldest) WHERE oldest IS NOT NULL;";

/// The work done in the measured time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) rows: u64,
    pub(crate) commits: u64,
}

/// Commits until the time is over and prints the result.
pub(crate) fn run(commit: &Commit) -> Result<(), String> {
    let duration = seconds("--duration", commit.duration)?;
    let Measured { done, elapsed_s, cpu_us } = match (&commit.postgres, &commit.store) {
        (Some(url), _) => database::run(commit, url, seconds("--warmup", commit.warmup)?, duration)?,
        (None, Some(path)) => into_file(commit, path, duration)?,
        (None, None) => return Err("commit needs --store PATH or --postgres URL".into()),
    };
    let Done { rows, commits } = done;
    println!(
        "{{\"tool\":\"seawall-floor\",\"mode\":\"commit\",\"batch\":{},\"channels\":{},\"payload\":{},\"writers\":{},\
         \"commits\":{commits},\"elapsed_s\":{elapsed_s:.3},\"operation\":\"row\",\"operations\":{rows},\
         \"per_s\":{:.1},\"cpu_us_per_operation\":{:.3},\"errors\":{{}}}}",
        commit.batch,
        commit.channels,
        commit.payload,
        commit.writers,
        rows as f64 / elapsed_s,
        cpu_us / rows.max(1) as f64,
    );
    Ok(())
}

fn seconds(flag: &str, given: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(given).map_err(|_| format!("{flag} {given}: expected seconds, zero or more"))
}

/// The work of a loop, its duration, and the CPU time of this process meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) done: Done,
    pub(crate) elapsed_s: f64,
    pub(crate) cpu_us: f64,
}

/// Measures a loop that runs until the time passed to it.
pub(crate) fn measured(
    duration: Duration,
    work: impl FnOnce(Instant) -> Result<Done, String>,
) -> Result<Measured, String> {
    let (cpu, begun) = (cpu_us(), now());
    let done = work(begun + duration)?;
    Ok(Measured { done, elapsed_s: begun.elapsed().as_secs_f64(), cpu_us: cpu_us() - cpu })
}

/// The data of each row: JSON of `bytes` bytes.
pub(crate) fn payload(bytes: u32) -> String {
    format!("{{\"text\":\"{}\"}}", "x".repeat((bytes as usize).saturating_sub(11)))
}

/// The key of a row, as long as the generator's.
pub(crate) fn key(row: u64) -> String {
    format!("{:012x}-{row:010}", 7)
}

/// The digest stored with a row's key, as long as Seawall's.
pub(crate) fn digest(data: &str) -> [u8; 20] {
    Sha1::new().chain_update([0; 9]).chain_update(data).finalize().into()
}

fn into_file(commit: &Commit, path: &Path, duration: Duration) -> Result<Measured, String> {
    if path.exists() {
        return Err(format!("--store {}: the file exists; choose a new one", path.display()));
    }
    let store = |error: rusqlite::Error| format!("--store {}: {error}", path.display());
    let mut connection = open(commit, path).map_err(store)?;
    let data = payload(commit.payload);
    let mut heads = vec![0i64; commit.channels as usize];
    measured(duration, |end| {
        let mut done = Done::default();
        while now() < end {
            batch(&mut connection, &mut heads, done.rows, commit.batch.into(), &data).map_err(store)?;
            done = Done { rows: done.rows + u64::from(commit.batch), commits: done.commits + 1 };
            if done.commits % CHECKPOINT_COMMITS == 0 {
                connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).map_err(store)?;
            }
        }
        Ok(done)
    })
}

fn open(commit: &Commit, path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = FAST;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;",
    )?;
    connection.execute_batch(SCHEMA)?;
    for channel in 1..=commit.channels {
        connection
            .prepare_cached("INSERT INTO channels VALUES (?1, ?2, 0, 1, 0, NULL)")?
            .execute(params![channel, format!("c{}", channel - 1)])?;
    }
    Ok(connection)
}

fn batch(
    connection: &mut Connection,
    heads: &mut [i64],
    first: u64,
    count: u64,
    data: &str,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for row in first..first + count {
        let at = (row % heads.len() as u64) as usize;
        if let Some(head) = heads.get_mut(at) {
            *head += 1;
            append(&transaction, at as i64 + 1, *head, &key(row), data)?;
        }
    }
    for (at, head) in heads.iter().enumerate().take(count as usize) {
        transaction
            .prepare_cached("UPDATE channels SET head = ?2, time = ?3 WHERE id = ?1")?
            .execute(params![at as i64 + 1, head, TIME_MS])?;
    }
    transaction.commit()
}

fn append(
    transaction: &Transaction<'_>,
    channel: i64,
    offset: i64,
    key: &str,
    data: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO publications (place, user, key, time, kind, target, data)
             VALUES (?1, 'anonymous', ?2, ?3, 0, NULL, ?4)",
        )?
        .execute(params![(channel << OFFSET_BITS) | offset, key, TIME_MS, data])?;
    transaction
        .prepare_cached("INSERT INTO keys (channel, user, key, offset, time, digest) VALUES (?1, 'anonymous', ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING")?
        .execute(params![channel, key, offset, TIME_MS, digest(data)])
        .map(drop)
}

/// User and system time of this process, in microseconds.
fn cpu_us() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_in_the_log_the_keys_and_the_heads() {
        let mut connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(SCHEMA).expect("schema");
        connection
            .execute_batch("INSERT INTO channels VALUES (1,'a',0,1,0,NULL),(2,'b',0,1,0,NULL)")
            .expect("rows");
        let mut heads = [0, 0];
        batch(&mut connection, &mut heads, 0, 3, "{}").expect("first");
        batch(&mut connection, &mut heads, 3, 3, "{}").expect("second");
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("count");
        assert_eq!(heads, [3, 3]);
        assert_eq!(count("SELECT count(*) FROM publications"), 6);
        assert_eq!(count("SELECT count(*) FROM keys"), 6);
        assert_eq!(count("SELECT sum(head) FROM channels"), 6);
    }
}
