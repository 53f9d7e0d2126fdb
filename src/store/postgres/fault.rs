//! The meaning of a PostgreSQL error, for the work that met it and for the health of the store.
//!
//! The class of a SQLSTATE says whose fault it is (PostgreSQL, appendix A). Its severity says whether the transaction is
//! certainly undone: an `ERROR` undoes it; a `FATAL` or a lost connection may come after the commit, so the outcome is open.

use crate::health::finding::{Cause, Fault};
use crate::net::postgres::startup_advice;
use crate::net::trouble::Trouble;
use std::error::Error as _;
use std::io;
use std::time::Duration;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity};

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

    /// An error of a statement.
    pub(super) fn of(error: &Error) -> CallFault {
        CallFault { fate: fate(error), cause: cause(error) }
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

    /// An answer that our own function cannot have returned.
    pub(super) fn garbled(error: &Error) -> CallFault {
        let text = format!("the answer does not have the expected columns: {error}");
        CallFault { fate: Fate::Unknown, cause: Cause::new(Fault::Protocol, text, LOOK_AT_SCHEMA) }
    }
}

/// The cause when the server accepted the bytes and stayed silent.
pub(super) fn silence(what: &str, limit: Duration) -> Cause {
    let text = format!("no answer to {what} within {} ms", limit.as_millis());
    Cause::new(Fault::Timeout, text, "whether the database process runs and its disk answers")
}

const LOOK_AT_SCHEMA: &str = "whether schema `seawall` is whole and store.url names a user who owns it";

fn fate(error: &Error) -> Fate {
    let Some(db) = error.as_db_error() else {
        return if is_of_a_value(error) { Fate::OfTheData } else { Fate::Unknown };
    };
    if db.parsed_severity() != Some(Severity::Error) {
        return Fate::Unknown;
    }
    match (class(db), db.code().code()) {
        (_, "40001" | "40P01") => Fate::Again,
        ("22" | "23", _) => Fate::OfTheData,
        (_, _) => Fate::NotDone,
    }
}

/// True for a value that could not be encoded and so was never sent.
fn is_of_a_value(error: &Error) -> bool {
    error.to_string().starts_with("error serializing parameter")
}

fn class(db: &DbError) -> &str {
    db.code().code().get(..2).unwrap_or_default()
}

/// The cause of an error, in the terms of `health`.
pub(super) fn cause(error: &Error) -> Cause {
    cause_with("the database", error)
}

/// The same for an error met while greeting the server called `name`.
pub(super) fn cause_with(name: &str, error: &Error) -> Cause {
    let Some(db) = error.as_db_error() else { return cause_of_connection(name, error) };
    let (fault, look_at) = judge(db.code().code());
    let advice = startup_advice(db.message());
    let text = format!("{} ({}, SQLSTATE {}){advice}", db.message(), db.severity(), db.code().code());
    Cause::new(fault, text, look_at)
}

fn judge(code: &str) -> (Fault, &'static str) {
    match (code.get(..2).unwrap_or_default(), code) {
        (_, "08P01") => {
            (Fault::Protocol, "a pooler between us: it must accept the startup parameter `options`")
        }
        (_, "53100") => (Fault::DiskFull, "the free space of the database's disk"),
        (_, "53200") => (Fault::MemoryFull, "the memory of the database's machine"),
        (_, "53300") => (Fault::ConnectionLimit, "max_connections and who holds them (pg_stat_activity)"),
        (_, "57P01" | "57P05") => (Fault::Reset, "who ended the connection: the database's log says"),
        (_, "57P02" | "57P03") => {
            (Fault::NotReady, "the database's log: it is starting, stopping or recovering")
        }
        (_, "57P04" | "3D000") => (Fault::Schema, "whether the database in store.url exists"),
        (_, "57014" | "55P03") => (Fault::Timeout, "locks and slow statements (pg_stat_activity, pg_locks)"),
        (_, "25006") => (Fault::ReadOnly, "default_transaction_read_only, and whether this is a standby"),
        ("28", _) => (Fault::Credentials, "user and password in store.url, and pg_hba.conf"),
        ("08", _) => (Fault::Reset, "the network between here and the database"),
        ("3F" | "42", _) => (Fault::Schema, LOOK_AT_SCHEMA),
        ("53" | "58", _) => (Fault::Internal, "the database's log and its machine's disk and limits"),
        (_, _) => (Fault::Internal, "the database's log"),
    }
}

fn cause_of_connection(name: &str, error: &Error) -> Cause {
    let mut text = error.to_string();
    if let Some(source) = error.source() {
        let source = source.to_string();
        if !text.contains(&source) {
            text = format!("{text}: {source}");
        }
    }
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if let Some(error) = io
        && error.get_ref().is_some_and(|inside| inside.is::<Trouble>() || inside.is::<rustls::Error>())
    {
        return cause_of_trouble(Trouble::of_io(name, error));
    }
    if text.contains("server does not support TLS") {
        return cause_of_trouble(Trouble::no_tls(name));
    }
    let (fault, look_at) = match io {
        Some(error) => judge_io(error),
        None if text.contains("TLS") => (Fault::Tls, "the certificate, and sslmode in store.url"),
        None if error.is_closed() => (Fault::Reset, "the network between here and the database, and its log"),
        None if text.contains("authentication") || text.contains("password") => {
            (Fault::Credentials, "user and password in store.url, and pg_hba.conf")
        }
        None => (Fault::Protocol, "whether store.url leads to a PostgreSQL server"),
    };
    Cause::new(fault, text, look_at)
}

/// The cause of a failure on the network line to a server.
pub(super) fn cause_of_trouble(trouble: Trouble) -> Cause {
    let look_at = match trouble.fault {
        Fault::Refused => "whether the database runs and listens at the address in store.url",
        Fault::Unreachable => "the route to the host in store.url, and server.source_address",
        Fault::Tls => "the server's certificate, and sslmode and sslrootcert in store.url",
        _ => "the network between here and the database",
    };
    trouble.into_cause(look_at, &[])
}

fn judge_io(error: &io::Error) -> (Fault, &'static str) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            (Fault::Refused, "whether the database runs and listens at the address in store.url")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (Fault::Unreachable, "the route to the host in store.url")
        }
        io::ErrorKind::TimedOut => (Fault::Timeout, "the network between here and the database"),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => (Fault::Reset, "the database's log, and the network on the way"),
        _ if error.to_string().contains("lookup") => (Fault::Unreachable, "the host name in store.url"),
        _ => (Fault::Reset, "the network between here and the database"),
    }
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
            Unfit::Newer { .. } => (Fault::Schema, "which Seawall last ran on this database"),
            Unfit::Standby => (Fault::Standby, "where the primary is: store.url must lead there"),
            Unfit::ReadOnly => {
                (Fault::ReadOnly, "default_transaction_read_only of the server, database and role")
            }
            Unfit::NotDurable { .. } => {
                (Fault::Schema, "synchronous_commit of the server, database and role")
            }
            Unfit::Encoding { .. } => (Fault::Schema, "the encoding the database was created with"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_its_fault() {
        for (code, fault) in [
            ("53100", Fault::DiskFull),
            ("53300", Fault::ConnectionLimit),
            ("57P03", Fault::NotReady),
            ("57014", Fault::Timeout),
            ("25006", Fault::ReadOnly),
            ("28P01", Fault::Credentials),
            ("08006", Fault::Reset),
            ("42P01", Fault::Schema),
            ("58030", Fault::Internal),
            ("", Fault::Internal),
        ] {
            assert_eq!(judge(code).0, fault, "{code}");
        }
        assert_eq!(judge_io(&io::Error::from(io::ErrorKind::ConnectionRefused)).0, Fault::Refused);
    }
}
