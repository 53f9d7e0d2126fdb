//! The meaning of a PostgreSQL error, for the work that met it and for the health of the store.
//!
//! The class of a SQLSTATE says whose fault it is (PostgreSQL, appendix A). Its severity says whether the transaction is
//! certainly undone: an `ERROR` undoes it; a `FATAL` or a lost connection may come after the commit, so the outcome is open.

use crate::health::finding::{Cause, Fault};
use crate::net::postgres::{Failure, ServerError, startup_advice};
use crate::net::trouble::Trouble;
use std::time::Duration;

/// The state of failed work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Undone; the store or its state is at fault.
    NotDone,
    /// Undone, and likely to succeed when repeated: a deadlock or a serialization failure.
    Again,
    /// Undone; the values are at fault, so other work is unaffected.
    OfTheData,
    /// Done or not; the connection is lost.
    Unknown,
}

/// A failed call.
#[derive(Clone, Debug)]
pub(super) struct CallFault {
    pub(super) fate: Fate,
    /// The reason, for logs and for the health judgement.
    pub(super) cause: Cause,
}

impl CallFault {
    /// Nothing was sent.
    pub(super) fn not_sent(cause: Cause) -> CallFault {
        CallFault { fate: Fate::NotDone, cause }
    }

    /// True if the server ended the statement because it took or waited too long. Nothing of it is done.
    pub(super) fn is_held_up(&self) -> bool {
        self.fate == Fate::NotDone && self.cause.fault == Fault::Timeout
    }

    /// A statement failed.
    pub(super) fn of(failure: &Failure) -> CallFault {
        let fate = match failure {
            Failure::Server(error) => fate(error),
            Failure::Line(_) => Fate::Unknown,
        };
        CallFault { fate, cause: cause(failure) }
    }

    /// The server was silent for `limit`.
    pub(super) fn silent(limit: Duration) -> CallFault {
        CallFault { fate: Fate::Unknown, cause: silence("a statement", limit) }
    }

    /// A panic in our code during a call.
    pub(super) fn panicked() -> CallFault {
        let cause = Cause::new(Fault::Internal, "a store thread panicked", "the log of this gateway");
        CallFault { fate: Fate::Unknown, cause }
    }

    /// Fewer or more rows than requested.
    pub(super) fn incomplete() -> CallFault {
        let text = "the answer does not have a row for each append";
        CallFault { fate: Fate::Unknown, cause: Cause::new(Fault::Protocol, text, LOOK_AT_SCHEMA) }
    }

    /// An answer that is not what our own function returns.
    pub(super) fn garbled(trouble: &Trouble) -> CallFault {
        let text = format!("the answer does not have the expected columns: {trouble}");
        CallFault { fate: Fate::Unknown, cause: Cause::new(Fault::Protocol, text, LOOK_AT_SCHEMA) }
    }
}

/// The cause when the server accepted the bytes and stayed silent.
pub(super) fn silence(what: &str, limit: Duration) -> Cause {
    let text = format!("no answer to {what} within {} ms", limit.as_millis());
    Cause::new(Fault::Timeout, text, "whether the database process runs and its disk answers")
}

const LOOK_AT_SCHEMA: &str = "whether schema `seawall` is whole and store.url names a user who owns it";

fn fate(error: &ServerError) -> Fate {
    match (error.code.get(..2).unwrap_or_default(), error.code.as_str()) {
        _ if !error.is_of_statement() => Fate::Unknown,
        (_, "40001" | "40P01") => Fate::Again,
        ("22" | "23", _) => Fate::OfTheData,
        (_, _) => Fate::NotDone,
    }
}

/// Why a call failed, in the words of the health floor.
pub(super) fn cause(failure: &Failure) -> Cause {
    let (trouble, code) = match failure {
        Failure::Server(error) => {
            let ServerError { severity, code, message } = error;
            let text = format!("{message} ({severity}, SQLSTATE {code}){}", startup_advice(message));
            // An administrator ended this session; the server itself may well be ready.
            let fault = if code == "57P01" { Fault::Reset } else { error.fault() };
            (Trouble::new(fault, text), code.as_str())
        }
        Failure::Line(trouble) => (trouble.clone(), ""),
    };
    let look_at = look_at(trouble.fault, code);
    trouble.into_cause(look_at, &[])
}

/// Advice on where to look; `code` is the SQLSTATE that the server reported, or empty.
fn look_at(fault: Fault, code: &str) -> &'static str {
    match (fault, code) {
        (Fault::Refused, _) => "whether the database runs and listens at the address in store.url",
        (Fault::Unreachable, _) => "the route to the host in store.url, and server.source_address",
        (Fault::Tls, _) => "the server's certificate, and sslmode and sslrootcert in store.url",
        (Fault::Credentials, _) => "user and password in store.url, and pg_hba.conf",
        (Fault::Protocol, "") => "whether store.url leads to a PostgreSQL server",
        (Fault::Protocol, _) => "a pooler between us: it must accept the startup parameter `options`",
        (Fault::ReadOnly, "") => "where the primary is: store.url must lead there",
        (Fault::ReadOnly, _) => "default_transaction_read_only, and whether this is a standby",
        (Fault::DiskFull, _) => "the free space of the database's disk",
        (Fault::MemoryFull, _) => "the memory of the database's machine",
        (Fault::ConnectionLimit, _) => "max_connections and who holds them (pg_stat_activity)",
        (Fault::NotReady, _) => "the database's log: it is starting, stopping or recovering",
        (Fault::Reset, "57P01" | "57P05") => "who ended the connection: the database's log says",
        (Fault::Schema, "57P04" | "3D000") => "whether the database in store.url exists",
        (Fault::Schema, _) => LOOK_AT_SCHEMA,
        (Fault::Timeout, "57014" | "55P03") => "locks and slow statements (pg_stat_activity, pg_locks)",
        (Fault::Internal, code) if code.starts_with("53") || code.starts_with("58") => {
            "the database's log and its machine's disk and limits"
        }
        (Fault::Internal, _) => "the database's log",
        _ => "the network between here and the database, and its log",
    }
}

/// The right that a migration lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingRight {
    /// To create the schema `seawall` in the database.
    Schema,
    /// To create tables in the schema, which exists.
    Tables,
}

/// The reason why a database that answers cannot be our store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A newer Seawall wrote its schema.
    Newer {
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// An older Seawall wrote its schema, and no start has migrated it.
    Older {
        found: u32,
        /// The version that this program needs.
        needed: u32,
    },
    /// It has no tables of ours although this process used them before, or has not created them yet.
    NoSchema,
    /// The role may not create what is missing.
    NoRight { role: String, database: String, missing: MissingRight },
    /// It replays another server's log.
    Standby,
    /// Transactions are read-only by configuration.
    ReadOnly,
    /// Commits are acknowledged before they are on disk.
    NotDurable {
        /// The value of `synchronous_commit`.
        setting: String,
    },
    /// Its encoding cannot hold every text.
    Encoding { found: String },
}

impl Unfit {
    /// The same in the terms of `health`.
    pub(super) fn cause(&self) -> Cause {
        let (fault, look_at) = match self {
            Unfit::Newer { .. } => (Fault::Version, "which Seawall last ran on this database"),
            Unfit::Older { .. } => {
                (Fault::Version, "the log of the gateway that migrates it, and the role's rights")
            }
            Unfit::NoSchema => {
                (Fault::Schema, "who dropped it, and whether store.url names the right database")
            }
            Unfit::NoRight { .. } => (Fault::Schema, "the rights of the role (docs/dependencies.md)"),
            Unfit::Standby => (Fault::Standby, "where the primary is: store.url must lead there"),
            Unfit::ReadOnly => {
                (Fault::ReadOnly, "default_transaction_read_only of the server, database and role")
            }
            Unfit::NotDurable { .. } => {
                (Fault::Schema, "synchronous_commit of the server, database and role")
            }
            Unfit::Encoding { .. } => (Fault::Encoding, "the encoding the database was created with"),
        };
        Cause::new(fault, self.to_string(), look_at)
    }
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unfit::Newer { found, known } => write!(
                f,
                "the database has schema version {found}, and this program knows versions up to {known}; run the newer Seawall that wrote it"
            ),
            Unfit::Older { found, needed } => write!(
                f,
                "the database has schema version {found}, and this program needs {needed}; a start migrates it"
            ),
            Unfit::NoSchema => f.write_str(
                "the database has no schema seawall; restore it, or start again to create an empty one",
            ),
            Unfit::NoRight { role, database, missing: MissingRight::Schema } => write!(
                f,
                "the role {role} may not create schema seawall in database {database}: either GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\", or CREATE SCHEMA seawall AUTHORIZATION \"{role}\""
            ),
            Unfit::NoRight { role, missing: MissingRight::Tables, .. } => write!(
                f,
                "the role {role} may not create tables in schema seawall: GRANT USAGE, CREATE ON SCHEMA seawall TO \"{role}\""
            ),
            Unfit::Standby => {
                f.write_str("the database is a standby, which only reads; set store.url to the primary")
            }
            Unfit::ReadOnly => f.write_str("the database takes no writes (transaction_read_only is on)"),
            Unfit::NotDurable { setting } => write!(
                f,
                "synchronous_commit is {setting}: what is acknowledged could be lost; set it to on for this role or database"
            ),
            Unfit::Encoding { found } => {
                write!(f, "the database's encoding is {found}; create it with ENCODING 'UTF8'")
            }
        }
    }
}
