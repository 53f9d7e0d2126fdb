//! The tables and functions, and the migrations that update an older database.
//!
//! Row `version` of `seawall.meta` counts the migrations done. All missing ones run in one transaction under an advisory lock:
//! of many instances that start at once, one runs them and the others find them done. Released migrations never change.

use super::fault::{CallFault, Unfit};
use super::link::Link;
use crate::health::finding::Cause;
use crate::id::Epoch;
use crate::net::postgres::{WEAKNESSES, weakness};
use postgres_types::Type;
use std::time::Duration;

/// Entry n turns version n into version n + 1.
const STEPS: [&[&str]; 4] = [
    &[
        include_str!("sql/1_tables.sql"),
        include_str!("sql/1_append.sql"),
        include_str!("sql/1_read.sql"),
        include_str!("sql/1_retention.sql"),
    ],
    &[include_str!("sql/2_canary.sql")],
    &[include_str!("sql/3_trial.sql")],
    &[include_str!("sql/4_edits.sql")],
];

/// The version that this program writes.
pub const VERSION: u32 = STEPS.len() as u32;

/// The advisory lock of migrations: `SeaWall0` as bytes.
const LOCK: i64 = 0x5365_6157_616c_6c30;

/// The timeout of the query whether a server can be a store. A dialling worker answers nothing meanwhile, and appends in doubt
/// wait for it.
const FITNESS_TIMEOUT: Duration = Duration::from_secs(1);

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

/// Checks that the server can be a store, and migrates its schema if necessary. Returns the server's weaknesses.
pub(super) fn prepare(
    link: &mut Link,
    durability: Durability,
    fresh_epoch: impl FnOnce() -> Epoch,
) -> Result<Option<String>, ConnectRefusal> {
    let rows = link.query_within(
        FITNESS_TIMEOUT,
        &format!(
            "SELECT pg_catalog.pg_is_in_recovery(), current_setting('transaction_read_only'),
                current_setting('synchronous_commit'), current_setting('server_encoding'),
                pg_catalog.to_regclass('seawall.meta') IS NOT NULL, {WEAKNESSES}"
        ),
        &[],
    )?;
    let Some(row) = rows.first() else { return Ok(None) };
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
    let found = if truth(4) { version(link)? } else { 0 };
    if found != VERSION {
        migrate(link, fresh_epoch())?;
    }
    Ok(weakness(&text(5), &text(6), &text(7)))
}

fn version(link: &mut Link) -> Result<u32, ConnectRefusal> {
    let found = value(link, "version")?.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    if found > VERSION {
        return Err(ConnectRefusal::Unfit(Unfit::Newer { found, known: VERSION }));
    }
    Ok(found)
}

fn value(link: &mut Link, name: &str) -> Result<Option<i64>, CallFault> {
    let rows = link.query("SELECT value FROM seawall.meta WHERE name = $1", &[(&name, Type::TEXT)])?;
    rows.first().map(|row| row.try_get(0)).transpose().map_err(|error| CallFault::garbled(&error))
}

/// Runs the missing migrations, all or none.
fn migrate(link: &mut Link, fresh: Epoch) -> Result<(), ConnectRefusal> {
    let taken = take_steps(link, fresh);
    if taken.is_err() {
        // The transaction ends with the rollback; a lost connection has none.
        let _ = link.batch("ROLLBACK");
    }
    taken
}

fn take_steps(link: &mut Link, fresh: Epoch) -> Result<(), ConnectRefusal> {
    link.batch(&format!(
        "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock({LOCK});
         CREATE SCHEMA IF NOT EXISTS seawall;
         CREATE TABLE IF NOT EXISTS seawall.meta (name text COLLATE \"C\" PRIMARY KEY, value bigint NOT NULL);
         INSERT INTO seawall.meta (name, value) VALUES ('version', 0), ('epoch', {}) ON CONFLICT DO NOTHING",
        fresh.0
    ))?;
    let found = version(link)?;
    for step in STEPS.iter().skip(found as usize) {
        for part in *step {
            link.batch(part)?;
        }
    }
    link.batch(&format!("UPDATE seawall.meta SET value = {VERSION} WHERE name = 'version'; COMMIT"))?;
    if found < VERSION {
        tracing::info!(from = found, to = VERSION, "store schema migrated");
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
