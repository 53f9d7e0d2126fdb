//! The tables and functions, and the steps that bring an older database forward.
//!
//! Row `version` of `seawall.meta` counts the steps taken. All that are missing run in one transaction under
//! an advisory lock: of many instances that start at once, one takes them and the others find them taken.
//! Steps that were released never change.

use super::fault::{CallFault, Unfit};
use super::link::Link;
use crate::health::finding::Cause;
use crate::id::Epoch;
use crate::worker::line::postgres::{WEAKNESSES, weakness};
use std::time::Duration;
use tokio_postgres::types::Type;

/// Entry n brings version n to version n + 1.
const STEPS: [&[&str]; 3] = [
    &[
        include_str!("sql/1_tables.sql"),
        include_str!("sql/1_append.sql"),
        include_str!("sql/1_read.sql"),
        include_str!("sql/1_retention.sql"),
    ],
    &[include_str!("sql/2_canary.sql")],
    &[include_str!("sql/3_trial.sql")],
];

/// The version this program writes.
pub const VERSION: u32 = STEPS.len() as u32;

/// Names the lock of migrations among a database's advisory locks: `SeaWall0` as bytes.
const LOCK: i64 = 0x5365_6157_616c_6c30;

/// Of the question whether a server can be a store. Who dials answers nobody meanwhile, and appends in doubt wait for him.
const FITNESS_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a connection is of no use.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The server, or the way to it, failed.
    Call(CallFault),
    /// It answers, and is no store of ours.
    Unfit(Unfit),
}

impl Refusal {
    /// The same for the health floor.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Refusal::Call(fault) => fault.cause.clone(),
            Refusal::Unfit(unfit) => unfit.cause(),
        }
    }
}

impl From<CallFault> for Refusal {
    fn from(fault: CallFault) -> Refusal {
        Refusal::Call(fault)
    }
}

/// Whether a connection has to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Its commits are acknowledged to people.
    Needed,
    /// It reads, or deletes what may as well come back.
    Waived,
}

/// Checks that the server can be a store, and brings its schema forward if need be. Answers what is weak about it.
pub(super) fn prepare(
    link: &mut Link,
    durability: Durability,
    fresh_epoch: impl FnOnce() -> Epoch,
) -> Result<Option<String>, Refusal> {
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
    let text = |at: usize| row.try_get::<_, String>(at).unwrap_or_default();
    let truth = |at: usize| row.try_get::<_, bool>(at).unwrap_or(false);
    if truth(0) {
        return Err(Refusal::Unfit(Unfit::Standby));
    }
    if text(1) == "on" {
        return Err(Refusal::Unfit(Unfit::ReadOnly));
    }
    if durability == Durability::Needed && matches!(text(2).as_str(), "off") {
        return Err(Refusal::Unfit(Unfit::NotDurable { setting: text(2) }));
    }
    if text(3) != "UTF8" {
        return Err(Refusal::Unfit(Unfit::Encoding { found: text(3) }));
    }
    let found = if truth(4) { version(link)? } else { 0 };
    if found != VERSION {
        migrate(link, fresh_epoch())?;
    }
    Ok(weakness(&text(5), &text(6), &text(7)))
}

fn version(link: &mut Link) -> Result<u32, Refusal> {
    let found = value(link, "version")?.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    if found > VERSION {
        return Err(Refusal::Unfit(Unfit::Newer { found, known: VERSION }));
    }
    Ok(found)
}

fn value(link: &mut Link, name: &str) -> Result<Option<i64>, CallFault> {
    let rows = link.query("SELECT value FROM seawall.meta WHERE name = $1", &[(&name, Type::TEXT)])?;
    rows.first().map(|row| row.try_get(0)).transpose().map_err(|error| CallFault::garbled(&error))
}

/// Takes the steps that are missing, all or none.
fn migrate(link: &mut Link, fresh: Epoch) -> Result<(), Refusal> {
    let taken = take_steps(link, fresh);
    if taken.is_err() {
        // What was begun ends with it; a connection that is lost has no transaction.
        let _ = link.batch("ROLLBACK");
    }
    taken
}

fn take_steps(link: &mut Link, fresh: Epoch) -> Result<(), Refusal> {
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
        tracing::info!(from = found, to = VERSION, "the store's schema was brought forward");
    }
    Ok(())
}

/// Gives the store another epoch; answers the old and the new one.
pub(super) fn replace_epoch(link: &mut Link, fresh: Epoch) -> Result<(Epoch, Epoch), Refusal> {
    let old = value(link, "epoch")?.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    let fresh = if fresh.0 == old { Epoch(old.wrapping_add(1)) } else { fresh };
    link.batch(&format!("UPDATE seawall.meta SET value = {} WHERE name = 'epoch'", fresh.0))?;
    Ok((Epoch(old), fresh))
}
