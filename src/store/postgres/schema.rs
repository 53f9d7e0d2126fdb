//! The tables and functions, and the migrations that update an older database.
//!
//! Row `schema` of `seawall.meta` counts the migrations done. All missing ones run in one transaction under an advisory lock:
//! of many instances that start at once, one runs them and the others find them done. Released migrations never change, and
//! migrations only add, because programs of the release before go on running ([`crate::store::StoreSchema`]).

use super::fault::{CallFault, MissingRight, Unfit};
use super::link::Link;
use crate::health::finding::Cause;
use crate::id::Epoch;
use crate::net::postgres::{WEAKNESSES, weakness};
use crate::store::schema_version::{Fit, StoreSchema};
use postgres_types::Type;
use std::time::Duration;

/// Entry n turns version n into version n + 1.
const STEPS: [&[&str]; 14] = [
    &[
        include_str!("sql/1_tables.sql"),
        include_str!("sql/1_append.sql"),
        include_str!("sql/1_read.sql"),
        include_str!("sql/1_retention.sql"),
    ],
    &[include_str!("sql/2_canary.sql")],
    &[include_str!("sql/3_trial.sql")],
    &[include_str!("sql/4_edits.sql")],
    &[include_str!("sql/5_removal.sql")],
    &[include_str!("sql/6_cluster.sql")],
    &[include_str!("sql/7_orders.sql")],
    &[include_str!("sql/8_erasures.sql")],
    &[include_str!("sql/9_counts.sql")],
    &[include_str!("sql/10_alerts.sql")],
    &[include_str!("sql/11_exclusions.sql")],
    &[include_str!("sql/12_streams.sql")],
    &[
        include_str!("sql/13_streams.sql"),
        include_str!("sql/13_append.sql"),
        include_str!("sql/13_flush.sql"),
        include_str!("sql/13_reads.sql"),
        include_str!("sql/13_retention.sql"),
    ],
    &[
        include_str!("sql/14_relay.sql"),
        include_str!("sql/14_append.sql"),
        include_str!("sql/14_claims.sql"),
        include_str!("sql/14_streams.sql"),
    ],
];

/// The version that this program migrates to.
pub const VERSION: u32 = STEPS.len() as u32;

/// The lowest version whose program may use what this program has migrated: that of the last program from before this rule. To
/// remove what a version calls, raise this in the same release, which must be at least the second after that version's.
const OLDEST: u32 = 3;

/// The advisory lock of migrations: `SeaWall0` as bytes.
const LOCK: i64 = 0x5365_6157_616c_6c30;

/// The timeout of the query whether a server can be a store. A dialling worker answers nothing meanwhile, and appends in doubt
/// wait for it.
const FITNESS_TIMEOUT: Duration = Duration::from_secs(1);

/// The time that the server gives each statement of a migration, for example to build an index of millions of rows. The lock
/// timeout stays short, so a migration that waits for a lock does not delay the gateways that serve.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// The deadline for the statements of one file.
const STEP_TIMEOUT: Duration = Duration::from_secs(90);

/// The reason why a connection cannot be used.
#[derive(Clone, Debug)]
pub(super) enum ConnectRefusal {
    /// The server, or the connection to it, failed.
    Call(CallFault),
    /// It answers but cannot be our store.
    Unfit(Unfit),
}

impl ConnectRefusal {
    /// The same in the terms of `health`.
    pub(super) fn cause(&self) -> Cause {
        match self {
            ConnectRefusal::Call(fault) => fault.cause.clone(),
            ConnectRefusal::Unfit(unfit) => unfit.cause(),
        }
    }
}

impl From<CallFault> for ConnectRefusal {
    fn from(fault: CallFault) -> ConnectRefusal {
        ConnectRefusal::Call(fault)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Its commits are acknowledged to clients.
    Needed,
    /// It reads, or deletes rows that may as well come back.
    Waived,
}

/// The handling of a database that has no tables of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Creates them: this process has not seen any.
    Create,
    /// Refuses the database. It had tables before, and empty ones in their place would hide the loss.
    Refuse,
}

/// A server that can be a store, as [`examine`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FitServer {
    /// The settings of the server that weaken durability.
    pub(super) warning: Option<String>,
    /// The versions that the store notes; `None` if it has no tables of ours.
    pub(super) schema: Option<StoreSchema>,
}

/// Checks that the server can be a store, and creates or migrates its schema if necessary.
pub(super) fn prepare(
    link: &mut Link,
    durability: Durability,
    missing: Missing,
    fresh_epoch: impl FnOnce() -> Epoch,
) -> Result<FitServer, ConnectRefusal> {
    let server = examine(link, durability)?;
    match (server.schema, missing) {
        (None, Missing::Refuse) => return Err(ConnectRefusal::Unfit(Unfit::NoSchema)),
        (None, Missing::Create) => migrate(link, fresh_epoch())?,
        (Some(found), _) => match fit(found)? {
            Fit::Older => migrate(link, fresh_epoch())?,
            Fit::Newer | Fit::Same | Fit::TooNew => {}
        },
    }
    Ok(server)
}

/// Checks that the server can be a store. Changes nothing.
pub(super) fn examine(link: &mut Link, durability: Durability) -> Result<FitServer, ConnectRefusal> {
    let rows = link.query_within(
        FITNESS_TIMEOUT,
        &format!(
            "SELECT pg_catalog.pg_is_in_recovery(), current_setting('transaction_read_only'),
                current_setting('synchronous_commit'), current_setting('server_encoding'),
                pg_catalog.to_regclass('seawall.meta') IS NOT NULL, {WEAKNESSES}"
        ),
        &[],
    )?;
    let Some(row) = rows.first() else { return Err(CallFault::incomplete().into()) };
    let text = |at: usize| row.try_get::<String>(at).unwrap_or_default();
    let truth = |at: usize| row.try_get::<bool>(at).unwrap_or(false);
    if truth(0) {
        return Err(ConnectRefusal::Unfit(Unfit::Standby));
    }
    if text(1) == "on" {
        return Err(ConnectRefusal::Unfit(Unfit::ReadOnly));
    }
    if durability == Durability::Needed && matches!(text(2).as_str(), "off") {
        return Err(ConnectRefusal::Unfit(Unfit::NotDurable { setting: text(2) }));
    }
    if text(3) != "UTF8" {
        return Err(ConnectRefusal::Unfit(Unfit::Encoding { found: text(3) }));
    }
    let schema = if truth(4) { Some(noted(link)?) } else { None };
    if let Some(found) = schema {
        fit(found)?;
    }
    Ok(FitServer { warning: weakness(&text(5), &text(6), &text(7)), schema })
}

/// How the schema and this program fit, or the refusal.
fn fit(found: StoreSchema) -> Result<Fit, ConnectRefusal> {
    match found.fit(VERSION) {
        Fit::TooNew => Err(ConnectRefusal::Unfit(Unfit::Newer { found: found.version, known: VERSION })),
        fit @ (Fit::Older | Fit::Same | Fit::Newer) => Ok(fit),
    }
}

/// Reads the versions that the store notes. Changes nothing and takes no lock.
pub(super) fn noted(link: &mut Link) -> Result<StoreSchema, CallFault> {
    let rows = link.query(
        "SELECT max(value) FILTER (WHERE name = 'version'), max(value) FILTER (WHERE name = 'schema'),
                max(value) FILTER (WHERE name = 'oldest')
         FROM seawall.meta WHERE name IN ('version', 'schema', 'oldest')",
        &[],
    )?;
    let number = |at: usize| -> Result<Option<u32>, CallFault> {
        let Some(row) = rows.first() else { return Ok(None) };
        let value: Option<i64> = row.try_get(at).map_err(|error| CallFault::garbled(&error))?;
        Ok(value.map(|value| u32::try_from(value).unwrap_or(0)))
    };
    Ok(StoreSchema::of(number(0)?.unwrap_or(0), number(1)?, number(2)?))
}

/// True if the database has tables of ours.
pub(super) fn exists(link: &mut Link) -> Result<bool, CallFault> {
    let rows = link.query("SELECT pg_catalog.to_regclass('seawall.meta') IS NOT NULL", &[])?;
    Ok(rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)))
}

fn value(link: &mut Link, name: &str) -> Result<Option<i64>, CallFault> {
    let rows = link.query("SELECT value FROM seawall.meta WHERE name = $1", &[(&name, Type::TEXT)])?;
    rows.first().map(|row| row.try_get(0)).transpose().map_err(|error| CallFault::garbled(&error))
}

/// Checks that the role may create the schema, or tables in it if it exists. Changes nothing.
pub(super) fn may_create(link: &mut Link) -> Result<(), ConnectRefusal> {
    let rows = link.query(
        "SELECT current_user::text, current_database()::text, n.there, CASE WHEN n.there
             THEN has_schema_privilege('seawall', 'USAGE') AND has_schema_privilege('seawall', 'CREATE')
             ELSE has_database_privilege(current_database(), 'CREATE') END
         FROM (SELECT pg_catalog.to_regnamespace('seawall') IS NOT NULL AS there) n",
        &[],
    )?;
    let row = rows.first().ok_or_else(CallFault::incomplete)?;
    let text = |at: usize| row.try_get::<String>(at).unwrap_or_default();
    let truth = |at: usize| row.try_get::<bool>(at).unwrap_or(false);
    if truth(3) {
        return Ok(());
    }
    let missing = if truth(2) { MissingRight::Tables } else { MissingRight::Schema };
    Err(ConnectRefusal::Unfit(Unfit::NoRight { role: text(0), database: text(1), missing }))
}

/// Runs the missing migrations, all or none.
fn migrate(link: &mut Link, fresh: Epoch) -> Result<(), ConnectRefusal> {
    may_create(link)?;
    let taken = take_steps(link, fresh);
    if taken.is_err() {
        // The transaction ends with the rollback; a lost connection has none.
        let _ = link.batch("ROLLBACK");
    }
    taken
}

fn take_steps(link: &mut Link, fresh: Epoch) -> Result<(), ConnectRefusal> {
    link.batch(&format!(
        "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock({LOCK}); SET LOCAL statement_timeout = {};
         DO $$ BEGIN
             -- `IF NOT EXISTS` demands the right to create it even where it exists.
             IF pg_catalog.to_regnamespace('seawall') IS NULL THEN CREATE SCHEMA seawall; END IF;
         END $$;
         CREATE TABLE IF NOT EXISTS seawall.meta (name text COLLATE \"C\" PRIMARY KEY, value bigint NOT NULL);
         INSERT INTO seawall.meta (name, value) VALUES ('version', 0), ('epoch', {}) ON CONFLICT DO NOTHING",
        STATEMENT_TIMEOUT.as_millis(),
        fresh.0
    ))?;
    // Another instance may have migrated it while this one waited for the lock.
    let found = noted(link)?;
    if fit(found)? != Fit::Older {
        link.batch("COMMIT")?;
        return Ok(());
    }
    for step in STEPS.iter().skip(found.version as usize) {
        for part in *step {
            link.batch_within(STEP_TIMEOUT, part)?;
        }
    }
    link.batch(&format!(
        "INSERT INTO seawall.meta (name, value)
         VALUES ('version', {OLDEST}), ('schema', {VERSION}), ('oldest', {OLDEST})
         ON CONFLICT (name) DO UPDATE SET value = excluded.value; COMMIT"
    ))?;
    if found.version < VERSION {
        tracing::info!(from = found.version, to = VERSION, "store schema migrated");
    }
    Ok(())
}

/// Removes the key of the bus, so that the next start draws another.
const REMOVE_BUS_KEY: &str = "DELETE FROM seawall.meta WHERE name LIKE 'bus_key__'";

/// Gives the store another epoch; returns the old and the new one.
pub(super) fn replace_epoch(link: &mut Link, fresh: Epoch) -> Result<(Epoch, Epoch), ConnectRefusal> {
    let old = value(link, "epoch")?.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    let fresh = if fresh.0 == old { Epoch(old.wrapping_add(1)) } else { fresh };
    link.batch(&format!(
        "UPDATE seawall.meta SET value = {} WHERE name = 'epoch'; {}",
        fresh.0, REMOVE_BUS_KEY
    ))?;
    Ok((Epoch(old), fresh))
}
