//! The tables, and the migrations that update an older file.
//!
//! Row `schema` of `meta` counts the migrations a file has had. Each runs in a transaction of its own together with the new
//! count, so a crash leaves a complete version. A new version adds an entry to [`STEPS`]; released entries never change, and
//! they only add, because a program of the release before may be started again ([`StoreSchema`]). `PRAGMA user_version` is the
//! count that programs from before this rule read.

use super::place::ChannelNumber;
use crate::id::Epoch;
use crate::store::columns;
use crate::store::idempotency::digest;
use crate::store::schema_version::{Fit, StoreSchema};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

/// The application id of our databases: `SeaW`.
const APPLICATION_ID: i32 = 0x5365_6157;

type Step = fn(&Connection) -> rusqlite::Result<()>;

/// Entry n turns version n into version n + 1.
const STEPS: [Step; 8] =
    [log_and_channels, keys_and_ages, erasures, removal, orders, user_erasures, streams, relay];

/// The version that this program migrates to.
pub const VERSION: u32 = STEPS.len() as u32;

/// The lowest version whose program may use what this program has migrated: that of the last program from before this rule. To
/// remove what a version reads, raise this in the same release, which must be at least the second after that version's.
pub(super) const OLDEST: u32 = 2;

/// The reason why a file cannot be migrated.
#[derive(Debug)]
pub(crate) enum SchemaFault {
    /// A newer program migrated the file, and this one must not use it.
    Newer {
        /// Its version.
        found: u32,
    },
    /// It has tables but not our application id.
    NotOurs,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for SchemaFault {
    fn from(source: rusqlite::Error) -> SchemaFault {
        SchemaFault::Sqlite(source)
    }
}

/// Checks whose file it is, and reads the versions that it notes. Changes nothing.
pub(crate) fn noted(connection: &Connection) -> Result<StoreSchema, SchemaFault> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let mark: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if mark != APPLICATION_ID && (tables > 0 || version > 0) {
        return Err(SchemaFault::NotOurs);
    }
    if tables == 0 {
        return Ok(StoreSchema::of(version, None, None));
    }
    let row = |name| -> rusqlite::Result<Option<u32>> {
        connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()
    };
    Ok(StoreSchema::of(version, row("schema")?, row("oldest")?))
}

/// Checks whose file it is, and that this program may use it. Changes nothing.
pub(crate) fn check(connection: &Connection) -> Result<StoreSchema, SchemaFault> {
    let found = noted(connection)?;
    match found.fit(VERSION) {
        Fit::TooNew => Err(SchemaFault::Newer { found: found.version }),
        Fit::Older | Fit::Same | Fit::Newer => Ok(found),
    }
}

/// Runs the missing migrations.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), SchemaFault> {
    let found = check(connection)?.version;
    migrate_to(connection, VERSION)?;
    if check(connection)?.fit(VERSION) == Fit::Older {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        note(&transaction, VERSION)?;
        transaction.commit()?;
    }
    if (1..VERSION).contains(&found) {
        tracing::info!(from = found, to = VERSION, "store schema migrated");
    }
    Ok(())
}

/// Stops at `version`: tests make the fixture of an older file with the migrations that made it then.
pub(crate) fn migrate_to(connection: &mut Connection, version: u32) -> Result<(), SchemaFault> {
    let found = check(connection)?.version;
    for (at, step) in (1u32..).zip(STEPS).take(version as usize).skip(found as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step(&transaction)?;
        note(&transaction, at)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Notes that the file has the migrations up to `version`. Up to `OLDEST`, the number of earlier programs suffices.
fn note(connection: &Connection, version: u32) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("PRAGMA user_version = {}", version.min(OLDEST)))?;
    if version > OLDEST {
        connection.execute_batch(&format!(
            "INSERT OR REPLACE INTO meta VALUES ('schema', {version}), ('oldest', {OLDEST})"
        ))?;
    }
    Ok(())
}

fn log_and_channels(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}"))?;
    connection.execute_batch(
        "CREATE TABLE meta (
             name TEXT PRIMARY KEY,
             value INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;
         -- A channel's row outlives its publications: offsets never start again within an epoch.
         CREATE TABLE channels (
             id INTEGER PRIMARY KEY,
             name TEXT NOT NULL UNIQUE,
             head INTEGER NOT NULL,
             floor INTEGER NOT NULL,
             time INTEGER NOT NULL
         ) STRICT;
         -- place: channel and offset in one integer. kind: 0 original, 1 edit, 2 delete. target: the place
         -- that an edit or a delete is about. deleted_by: an offset; data is then NULL.
         CREATE TABLE publications (
             place INTEGER PRIMARY KEY,
             user TEXT NOT NULL,
             key TEXT,
             time INTEGER NOT NULL,
             kind INTEGER NOT NULL,
             target INTEGER,
             deleted_by INTEGER,
             data TEXT
         ) STRICT;",
    )
}

fn keys_and_ages(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE keys (
             channel INTEGER NOT NULL,
             user TEXT NOT NULL,
             key TEXT NOT NULL,
             offset INTEGER NOT NULL,
             time INTEGER NOT NULL,
             digest BLOB NOT NULL,
             PRIMARY KEY (channel, user, key)
         ) STRICT, WITHOUT ROWID;
         CREATE INDEX publications_by_target ON publications (target) WHERE target IS NOT NULL;
         -- The time of the oldest retained publication: retention finds what is due without a scan.
         ALTER TABLE channels ADD COLUMN oldest INTEGER;
         UPDATE channels SET oldest =
             (SELECT time FROM publications WHERE place = (channels.id << 39) | channels.floor);
         CREATE INDEX channels_by_oldest ON channels (oldest) WHERE oldest IS NOT NULL;",
    )?;
    let mut keyed = connection.prepare(
        "SELECT place >> 39, place & ((1 << 39) - 1), user, key, time, kind, target & ((1 << 39) - 1), data
         FROM publications WHERE key IS NOT NULL AND deleted_by IS NULL",
    )?;
    let mut remember = connection.prepare("INSERT OR IGNORE INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut rows = keyed.query([])?;
    while let Some(row) = rows.next()? {
        let channel = ChannelNumber(row.get(0)?);
        let change = columns::change(row.get(5)?, row.get::<_, Option<i64>>(6)?);
        let digest = digest(change, row.get_ref(7)?.as_str_or_null()?.unwrap_or("null"));
        let (offset, time): (i64, i64) = (row.get(1)?, row.get(4)?);
        let (user, key) = (row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?);
        remember.execute(params![channel.0, user, key, offset, time, digest])?;
    }
    Ok(())
}

fn erasures(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "-- Originals whose edits are being erased. target, done: places in publications. deleted_by: an offset.
         CREATE TABLE erasures (
             target INTEGER PRIMARY KEY,
             deleted_by INTEGER NOT NULL,
             done INTEGER NOT NULL
         ) STRICT;",
    )
}

fn removal(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "-- Empty channels, among which those to be removed are found.
         CREATE INDEX channels_empty ON channels (id) WHERE oldest IS NULL;
         -- Numbers of removed channels, for new ones.
         CREATE TABLE free_numbers (number INTEGER PRIMARY KEY) STRICT;",
    )
}

fn orders(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "-- Orders to the gateway, in the order of their numbers, which are never used again. args: JSON. All times: Unix ms.
         CREATE TABLE orders (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             kind TEXT NOT NULL,
             args TEXT NOT NULL,
             made INTEGER NOT NULL,
             by TEXT NOT NULL
         ) STRICT;
         -- Users who may not connect. until: NULL for a block without an end. by: of whose share it is.
         CREATE TABLE blocks (
             user_name TEXT PRIMARY KEY,
             until INTEGER,
             reason TEXT NOT NULL,
             made INTEGER NOT NULL,
             by TEXT NOT NULL
         ) STRICT, WITHOUT ROWID;
         -- Tokens that are refused before they expire. kind: 0 one token, by its jti; 1 all tokens of a user
         -- issued before `issued_before`.
         CREATE TABLE revocations (
             kind INTEGER NOT NULL,
             name TEXT NOT NULL,
             issued_before INTEGER,
             until INTEGER NOT NULL,
             by TEXT NOT NULL,
             PRIMARY KEY (kind, name)
         ) STRICT, WITHOUT ROWID;",
    )
}

fn user_erasures(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "-- Users whose publications and keys are being erased. by: of whose share it is. searched: 1 if the search in progress is for
         -- this user, too. publications, keys: how many were erased.
         CREATE TABLE user_erasures (
             user_name TEXT PRIMARY KEY,
             by TEXT NOT NULL,
             asked INTEGER NOT NULL,
             searched INTEGER NOT NULL,
             publications INTEGER NOT NULL,
             keys INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;
         CREATE INDEX user_erasures_by_author ON user_erasures (by, searched, asked);
         CREATE INDEX user_erasures_by_time ON user_erasures (asked);
         -- One search of the log for each key or operator with unfinished erasures, for many users at once. stage: 0 not begun,
         -- 1 publications, 2 keys, 3 about to end. place: the last one examined; channel, user, key: the same of the keys.
         CREATE TABLE erasure_searches (
             by TEXT PRIMARY KEY,
             stage INTEGER NOT NULL,
             place INTEGER NOT NULL,
             channel INTEGER NOT NULL,
             user TEXT NOT NULL,
             key TEXT NOT NULL
         ) STRICT, WITHOUT ROWID;
         -- The rows of an author in a table of which each author has a share.
         CREATE TABLE shares (
             list TEXT NOT NULL,
             by TEXT NOT NULL,
             count INTEGER NOT NULL,
             PRIMARY KEY (list, by)
         ) STRICT, WITHOUT ROWID;",
    )?;
    for list in ["blocks", "revocations", "user_erasures"] {
        connection.execute_batch(&format!(
            "INSERT INTO shares SELECT '{list}', by, count(*) FROM {list} GROUP BY by;
             CREATE TRIGGER {list}_added AFTER INSERT ON {list} BEGIN
                 INSERT INTO shares VALUES ('{list}', new.by, 1)
                     ON CONFLICT (list, by) DO UPDATE SET count = count + 1;
             END;
             CREATE TRIGGER {list}_removed AFTER DELETE ON {list} BEGIN
                 UPDATE shares SET count = count - 1 WHERE list = '{list}' AND by = old.by;
                 DELETE FROM shares WHERE list = '{list}' AND by = old.by AND count <= 0;
             END;"
        ))?;
    }
    Ok(())
}

fn streams(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "-- stream: 1 if the publication began a stream. Of the edit or delete that ended one: 2 completed, 3 failed, 4 cancelled,
         -- 5 interrupted, 6 replaced, 7 deleted.
         ALTER TABLE publications ADD COLUMN stream INTEGER;
         -- The open streams. place: of the begin. asker: the user for whom it is. gen: the generation of its text. state: 1 streaming,
         -- 2 paused, 3 cancelling. options: JSON. first_part: no part of it has a lower id. since: of the begin, Unix ms.
         CREATE TABLE streams (
             place INTEGER PRIMARY KEY,
             author TEXT NOT NULL,
             asker TEXT,
             gen INTEGER NOT NULL,
             state INTEGER NOT NULL,
             options TEXT NOT NULL,
             first_part INTEGER NOT NULL,
             since INTEGER NOT NULL
         ) STRICT;
         -- Text and events in the order of their commits. Nothing searches for those of one stream, so there is no index.
         -- at, next: the positions that the part spans. next: 0 if the body is its text and nothing else.
         CREATE TABLE stream_parts (
             id INTEGER PRIMARY KEY,
             place INTEGER NOT NULL,
             gen INTEGER NOT NULL,
             at INTEGER NOT NULL,
             next INTEGER NOT NULL,
             body BLOB NOT NULL
         ) STRICT;",
    )
}

fn relay(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "-- The channels whose publications a backend gets. They have names here, because the numbers of removed channels are used again.
         -- head: the newest publication that may be relayed. cursor: the last one that is done. attempts: to send the one after the
         -- cursor. next: the time of the next attempt, Unix ms.
         CREATE TABLE relays (
             channel TEXT PRIMARY KEY,
             head INTEGER NOT NULL,
             cursor INTEGER NOT NULL,
             attempts INTEGER NOT NULL,
             next INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;
         CREATE INDEX relays_waiting ON relays (next, channel) WHERE cursor < head;
         -- Claims that go with a publication, as JSON. place: of the publication.
         CREATE TABLE relay_claims (place INTEGER PRIMARY KEY, claims TEXT NOT NULL) STRICT;
         -- Publications that were not delivered, in the order of their numbers, which are never used again. through: the last one of
         -- several that retention removed. cause: 1 refused, 2 not delivered, 3 expired, 4 skipped. status: of the response. time: Unix ms.
         CREATE TABLE relay_dead (
             number INTEGER PRIMARY KEY AUTOINCREMENT,
             channel TEXT NOT NULL,
             offset INTEGER NOT NULL,
             through INTEGER NOT NULL,
             route TEXT NOT NULL,
             cause INTEGER NOT NULL,
             status INTEGER,
             time INTEGER NOT NULL
         ) STRICT;
         CREATE INDEX relay_dead_by_route ON relay_dead (route, number);",
    )
}

/// The store's epoch. If there is none yet, it becomes `fresh`.
pub(crate) fn epoch(connection: &Connection, fresh: Epoch) -> rusqlite::Result<Epoch> {
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?1)", [fresh.0])?;
    stored_epoch(connection).map(|epoch| epoch.unwrap_or(fresh))
}

pub(crate) fn stored_epoch(connection: &Connection) -> rusqlite::Result<Option<Epoch>> {
    connection
        .query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0).map(Epoch))
        .optional()
}

/// Makes `fresh` the store's epoch. Every cursor that clients hold becomes void.
pub(crate) fn replace_epoch(connection: &Connection, fresh: Epoch) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?1)", [fresh.0]).map(drop)
}
