//! A PostgreSQL that serves another system: connect, read its role, read the tables, commit a write.
//!
//! The write is one row an instance in the table `seawall_probe`, outside every channel's log, in the schema of the tables that
//! are read. It commits: a write that is rolled back misses a commit that hangs, such as one that waits for a synchronous
//! standby.
//!
//! It does not notice a full disk as long as the row finds room on its page. Appends meet that first and report it by SQLSTATE.

use super::age::Age;
use crate::health::finding::Fault;
use crate::net::deadline::now;
use crate::net::dial::Dialer;
use crate::net::postgres::{Connection, Failure, SATURATION, Saturation, Startup, startup_advice};
use crate::net::target::PostgresTarget;
use crate::net::trouble::Trouble;
use std::time::{Duration, Instant};

/// The time for a cancellation, after the look's deadline.
const CANCEL: Duration = Duration::from_millis(100);

/// The bound on all answers of one look: they have some hundred bytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// The columns of a row.
type Row = Vec<Option<String>>;

/// The connection that is kept between two looks.
pub(super) type PostgresSession = Connection;

/// One look; the connection is given back for the next.
pub(super) fn look(
    dialer: &mut Dialer,
    target: &PostgresTarget,
    instance: &str,
    kept: Option<Box<PostgresSession>>,
    deadline: Instant,
) -> Result<(Option<String>, Box<PostgresSession>), Trouble> {
    let (mut session, age) = match kept {
        Some(session) => (session, Age::Kept),
        None => (Box::new(open(dialer, target, deadline)?), Age::New),
    };
    session.begin(deadline);
    match examine(&mut session, target, instance, age) {
        Ok(warning) => Ok((warning, session)),
        Err(failure) => {
            let trouble = trouble(failure);
            if trouble.fault == Fault::Timeout {
                session.cancel(now() + CANCEL);
            }
            Err(trouble)
        }
    }
}

fn open(dialer: &mut Dialer, target: &PostgresTarget, deadline: Instant) -> Result<PostgresSession, Trouble> {
    let startup = Startup {
        address: target.address.clone(),
        application_name: "seawall-probe".into(),
        options: target.address.options.clone().unwrap_or_default(),
        share_min: Duration::ZERO,
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    Connection::open(dialer, &startup, deadline).map_err(trouble)
}

fn examine(
    session: &mut PostgresSession,
    target: &PostgresTarget,
    instance: &str,
    age: Age,
) -> Result<Option<String>, Failure> {
    let rows = session.simple(&question(&target.tables))?;
    let answer = PostgresAnswer::of(rows.first().map(|row| row.texts()).as_ref())?;
    answer.role()?;
    let (there, missing): (Vec<_>, Vec<_>) =
        target.tables.iter().zip(&answer.tables).partition(|(_, there)| **there);
    if !there.is_empty() {
        let reads: Vec<String> = there
            .iter()
            .map(|(name, _)| format!("(SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT 1) t)"))
            .collect();
        session.simple(&format!("SELECT {}", reads.join(",")))?;
    }
    write(session, &own_table(&target.tables), instance, age)?;
    let mut warnings = Vec::new();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
        warnings.push(format!("not there yet: table {}", names.join(", ")));
    }
    warnings.extend(answer.saturation.warning());
    Ok((!warnings.is_empty()).then(|| warnings.join("; ")))
}

/// One query for all that can be asked at once.
fn question(tables: &[String]) -> String {
    let tables: Vec<String> =
        tables.iter().map(|name| format!(", to_regclass('{name}') IS NOT NULL")).collect();
    format!(
        "SELECT 1, pg_is_in_recovery(), current_setting('default_transaction_read_only'), {SATURATION}{}",
        tables.concat()
    )
}

/// Columns before those of the tables.
const COLUMNS: usize = 5;

struct PostgresAnswer {
    is_standby: bool,
    is_read_only: bool,
    saturation: Saturation,
    tables: Vec<bool>,
}

impl PostgresAnswer {
    fn of(row: Option<&Row>) -> Result<PostgresAnswer, Trouble> {
        let columns: Option<Vec<&str>> =
            row.map(|row| row.iter().map(|it| it.as_deref().unwrap_or_default()).collect());
        let garbled = || Trouble::new(Fault::Protocol, "SELECT 1 is answered with something else");
        let columns = columns.ok_or_else(garbled)?;
        let (first, last) = columns.split_at_checked(COLUMNS).ok_or_else(garbled)?;
        let ["1", standby, read_only, used, most] = first else { return Err(garbled()) };
        Ok(PostgresAnswer {
            is_standby: *standby == "t",
            is_read_only: *read_only == "on",
            saturation: Saturation::of(used, most),
            tables: last.iter().map(|there| *there == "t").collect(),
        })
    }

    fn role(&self) -> Result<(), Trouble> {
        if self.is_standby {
            return Err(Trouble::new(
                Fault::Standby,
                "the server is a standby (pg_is_in_recovery): it takes no writes",
            ));
        }
        if self.is_read_only {
            return Err(Trouble::new(
                Fault::ReadOnly,
                "default_transaction_read_only is on: it takes no writes",
            ));
        }
        Ok(())
    }
}

/// The table that looks write, in the schema of the first table that is read, where the role has its permissions.
fn own_table(tables: &[String]) -> String {
    match tables.first().and_then(|name| name.rsplit_once('.')) {
        Some((schema, _)) => format!("{schema}.seawall_probe"),
        None => "seawall_probe".into(),
    }
}

fn write(session: &mut PostgresSession, table: &str, instance: &str, age: Age) -> Result<(), Failure> {
    let upsert = format!(
        "INSERT INTO {table} (instance, looked_at) VALUES ('{instance}', now()) \
         ON CONFLICT (instance) DO UPDATE SET looked_at = excluded.looked_at"
    );
    match session.simple(&upsert) {
        Err(Failure::Server(error)) if error.code == "42P01" => {
            let columns = "instance text PRIMARY KEY, looked_at timestamptz NOT NULL";
            match session.simple(&format!("CREATE TABLE IF NOT EXISTS {table} ({columns})")) {
                // Another instance created it at the same moment.
                Err(Failure::Server(error)) if matches!(error.code.as_str(), "23505" | "42710" | "42P07") => {
                }
                // The schema is not there yet, nor are the tables in it: the look warns of those.
                Err(Failure::Server(error)) if error.code == "3F000" => return Ok(()),
                other => drop(other?),
            }
            session.simple(&upsert)?;
        }
        other => drop(other?),
    }
    match age {
        // Rows of instances that are gone would gather for ever. Once a connection is often enough.
        Age::New => {
            let old = "looked_at < now() - interval '1 day'";
            session.simple(&format!("DELETE FROM {table} WHERE {old}")).map(drop)
        }
        Age::Kept => Ok(()),
    }
}

fn trouble(failure: Failure) -> Trouble {
    match failure {
        Failure::Line(trouble) => trouble,
        Failure::Server(error) => {
            let advice = startup_advice(&error.message);
            let text = format!("PostgreSQL reports {}: {}{advice}", error.code, error.message);
            Trouble::new(error.fault(), text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[&str]) -> Row {
        columns.iter().map(|column| Some(column.to_string())).collect()
    }

    #[test]
    fn a_standby_is_no_store_and_half_an_answer_is_none() {
        let of = |columns: &[&str]| {
            let columns = [columns, &["1", "97", "t"]].concat();
            PostgresAnswer::of(Some(&row(&columns))).and_then(|answer| answer.role()).map_err(|it| it.fault)
        };
        assert_eq!(of(&["1", "t", "on"]), Err(Fault::Standby));
        assert_eq!(of(&["1", "f", "on"]), Err(Fault::ReadOnly));
        assert_eq!(of(&["1", "f", "off"]), Ok(()));
        assert_eq!(of(&[]), Err(Fault::Protocol));
        assert!(PostgresAnswer::of(Some(&row(&["1", "f", "off"]))).is_err());
    }
}
