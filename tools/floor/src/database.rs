//! The minimal commit loop into PostgreSQL: the gateway's own statement, in batches, without anyone to answer.
//!
//! Tables and functions are read from `src/store/postgres/sql`, so that the server does exactly the work for a
//! batch that it does for the gateway. Everything else is left out: clients, queues, deadlines, and the encoding of
//! announcements. The server's settings decide whether it waits for its disk.

use crate::Commit;
use crate::commit::{Done, Measured, TIME_MS, digest, key, measured, now, payload};
use postgres::types::{ToSql, Type};
use postgres::{Client, Error, NoTls};
use std::thread;
use std::time::{Duration, Instant};

const SCHEMA: [&str; 3] = [
    "CREATE SCHEMA seawall;
     CREATE TABLE seawall.meta (name text COLLATE \"C\" PRIMARY KEY, value bigint NOT NULL);
     INSERT INTO seawall.meta (name, value) VALUES ('version', 1), ('epoch', 1)",
    include_str!("../../../src/store/postgres/sql/1_tables.sql"),
    include_str!("../../../src/store/postgres/sql/1_append.sql"),
];

const APPEND: &str = "SELECT status, out_offset, out_time, out_floor, out_epoch
     FROM seawall.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// Commits from all writers until the time is over, after a warm-up that does not count.
pub(crate) fn run(
    commit: &Commit,
    url: &str,
    warmup: Duration,
    duration: Duration,
) -> Result<Measured, String> {
    // The driver's error never contains the URL, which has a password in it.
    let failed = |error: Error| format!("--postgres: {}", message(&error));
    let mut first = Client::connect(url, NoTls).map_err(failed)?;
    for part in SCHEMA {
        first.batch_execute(part).map_err(failed)?;
    }
    drop(first);
    let data = payload(commit.payload);
    let writer = |number: u32| {
        let client = Client::connect(url, NoTls)?;
        Ok(Writer { commit, number: number.into(), data: &data, client, next: 0 })
    };
    let mut writers = (0..commit.writers).map(writer).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    measured(warmup, |end| all(&mut writers, end))?;
    measured(duration, |end| all(&mut writers, end))
}

/// Lets all writers commit until `end`.
fn all(writers: &mut [Writer<'_>], end: Instant) -> Result<Done, String> {
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = writers.iter_mut().map(|writer| scope.spawn(|| writer.run(end))).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    outcomes.into_iter().try_fold(Done::default(), |sum, outcome| {
        let outcome = outcome.map_err(|_| "a writer panicked".to_owned())?;
        let done = outcome.map_err(|error| format!("--postgres: {}", message(&error)))?;
        Ok(Done { rows: sum.rows + done.rows, commits: sum.commits + done.commits })
    })
}

/// The server's message if there is one, because the driver's is only "db error".
fn message(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}

struct Writer<'a> {
    commit: &'a Commit,
    number: u64,
    data: &'a str,
    client: Client,
    next: u64,
}

impl Writer<'_> {
    fn run(&mut self, end: Instant) -> Result<Done, Error> {
        let mut done = Done::default();
        while now() < end {
            self.batch(self.next)?;
            let rows = u64::from(self.commit.batch);
            self.next += rows;
            done = Done { rows: done.rows + rows, commits: done.commits + 1 };
        }
        Ok(done)
    }

    /// Commits a batch that begins at row `first`. Channels are divided among the writers as in the gateway.
    fn batch(&mut self, first: u64) -> Result<(), Error> {
        let (count, writers) = (self.commit.batch as usize, u64::from(self.commit.writers));
        let share = u64::from(self.commit.channels).div_ceil(writers);
        let rows = first..first + u64::from(self.commit.batch);
        let names: Vec<String> =
            rows.clone().map(|row| format!("c{}", row % share * writers + self.number)).collect();
        let keys: Vec<String> = rows.map(|row| key(row * writers + self.number)).collect();
        let digests = vec![digest(self.data).to_vec(); count];
        let params: [(&(dyn ToSql + Sync), Type); 10] = [
            (&TIME_MS, Type::INT8),
            (&1_000_000_i64, Type::INT8),
            (&names, Type::TEXT_ARRAY),
            (&vec!["anonymous"; count], Type::TEXT_ARRAY),
            (&keys, Type::TEXT_ARRAY),
            (&vec![0_i16; count], Type::INT2_ARRAY),
            (&vec![None::<i64>; count], Type::INT8_ARRAY),
            (&vec![false; count], Type::BOOL_ARRAY),
            (&digests, Type::BYTEA_ARRAY),
            (&vec![self.data; count], Type::TEXT_ARRAY),
        ];
        let rows = self.client.query_typed(APPEND, &params)?;
        assert!(
            rows.len() == count && rows.iter().all(|row| row.get::<_, i16>(0) == 0),
            "not all rows are new"
        );
        Ok(())
    }
}
