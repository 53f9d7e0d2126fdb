//! PostgreSQL as a store: connect, read its role and settings, read the tables, commit a write.
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
use crate::net::postgres::{Connection, Failure, Startup, WEAKNESSES, session_options};
use crate::net::postgres::{startup_advice, weakness};
use crate::net::target::{PostgresTarget, Purpose};
use crate::net::trouble::Trouble;
use std::time::{Duration, Instant};

/// Share of the connections in use at which a look warns, in percent.
const CONNECTIONS_WARN_PERCENT: u64 = 80;

/// The time for a cancellation, after the look's deadline.
const CANCEL: Duration = Duration::from_millis(40);

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
    let own = target.address.options.as_deref().unwrap_or_default();
    let options = match target.purpose {
        Purpose::Service => own.to_owned(),
        Purpose::Store => format!("{} {own}", session_options()),
    };
    let startup = Startup {
        address: target.address.clone(),
        application_name: "seawall-probe".into(),
        options,
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
    answer.is_fit(target.purpose)?;
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
    warnings.extend(answer.saturation());
    if target.purpose == Purpose::Store {
        warnings.extend(answer.weakness);
    }
    Ok((!warnings.is_empty()).then(|| warnings.join("; ")))
}

/// One query for all that can be asked at once. `pg_stat_database` counts the connections for every role; `pg_stat_activity` hides
/// what others do from a role without rights.
fn question(tables: &[String]) -> String {
    let tables: Vec<String> =
        tables.iter().map(|name| format!(", to_regclass('{name}') IS NOT NULL")).collect();
    format!(
        "SELECT 1, pg_is_in_recovery(), current_setting('default_transaction_read_only'), \
         (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database), \
         current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, \
         current_setting('synchronous_commit'), {WEAKNESSES}{}",
        tables.concat()
    )
}

/// Columns before those of the tables.
const COLUMNS: usize = 9;

struct PostgresAnswer {
    is_standby: bool,
    is_read_only: bool,
    connections: u64,
    connections_max: u64,
    synchronous_commit: String,
    weakness: Option<String>,
    tables: Vec<bool>,
}

impl PostgresAnswer {
    fn of(row: Option<&Row>) -> Result<PostgresAnswer, Trouble> {
        let columns: Option<Vec<&str>> =
            row.map(|row| row.iter().map(|it| it.as_deref().unwrap_or_default()).collect());
        let garbled = || Trouble::new(Fault::Protocol, "SELECT 1 is answered with something else");
        let columns = columns.ok_or_else(garbled)?;
        let (first, last) = columns.split_at_checked(COLUMNS).ok_or_else(garbled)?;
        let ["1", standby, read_only, connections, connections_max, commit, fsync, statement, lock] = first
        else {
            return Err(garbled());
        };
        Ok(PostgresAnswer {
            is_standby: *standby == "t",
            is_read_only: *read_only == "on",
            connections: connections.parse().unwrap_or(0),
            connections_max: connections_max.parse().unwrap_or(0),
            synchronous_commit: (*commit).to_owned(),
            weakness: weakness(fsync, statement, lock),
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

    /// Refuses settings that the store refuses, or a look would find a server well that accepts no publication.
    fn is_fit(&self, purpose: Purpose) -> Result<(), Trouble> {
        if purpose == Purpose::Store && self.synchronous_commit == "off" {
            let text = "synchronous_commit is off: what is acknowledged could be lost; set it to on for this role or database";
            return Err(Trouble::new(Fault::Schema, text));
        }
        Ok(())
    }

    fn saturation(&self) -> Option<String> {
        let PostgresAnswer { connections, connections_max, .. } = self;
        let many = connections * 100 >= connections_max * CONNECTIONS_WARN_PERCENT;
        (many && *connections_max > 0)
            .then(|| format!("{connections} of {connections_max} connections are in use"))
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
    fn four_fifths_of_the_connections_are_a_warning() {
        let of = |used: &str| {
            PostgresAnswer::of(Some(&row(&["1", "f", "off", used, "100", "on", "on", "1s", "1s"])))
                .expect("an answer")
                .saturation()
        };
        assert_eq!(of("79"), None);
        assert_eq!(of("80").as_deref(), Some("80 of 100 connections are in use"));
    }

    #[test]
    fn a_standby_is_no_store_and_half_an_answer_is_none() {
        let of = |columns: &[&str]| {
            let columns = [columns, &["1", "97", "on", "on", "1s", "1s", "t"]].concat();
            PostgresAnswer::of(Some(&row(&columns))).and_then(|answer| answer.role()).map_err(|it| it.fault)
        };
        assert_eq!(of(&["1", "t", "on"]), Err(Fault::Standby));
        assert_eq!(of(&["1", "f", "on"]), Err(Fault::ReadOnly));
        assert_eq!(of(&["1", "f", "off"]), Ok(()));
        assert_eq!(of(&[]), Err(Fault::Protocol));
        assert!(PostgresAnswer::of(Some(&row(&["1", "f", "off"]))).is_err());
    }

    #[test]
    fn what_the_store_refuses_is_a_fault_of_the_store_alone() {
        let columns = ["1", "f", "off", "1", "97", "off", "off", "0", "0"];
        let answer = PostgresAnswer::of(Some(&row(&columns))).expect("an answer");
        assert_eq!(answer.is_fit(Purpose::Store).map_err(|it| it.fault), Err(Fault::Schema));
        assert_eq!(answer.is_fit(Purpose::Service), Ok(()));
        assert!(answer.weakness.is_some());
    }
}
