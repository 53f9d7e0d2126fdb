//! The PostgreSQL client of the store and of its probe: protocol version 3 over a [`Line`](super::line::Line).
//!
//! `postgres-protocol` is the codec and `postgres-types` converts values. Each call ends at the deadline set with
//! [`Connection::begin`]; after [`Failure::Line`] the connection must be dropped.

mod address;
mod answer;
mod authenticate;
mod connection;
mod exchange;
mod failure;
mod row;
mod saturation;
mod words;

pub use address::AddressError;
pub(crate) use address::PostgresAddress;
pub use answer::{Answer, AnswerStep, Incoming};
pub(crate) use connection::{Connection, Startup};
pub(crate) use exchange::Param;
pub(crate) use failure::Failure;
pub use failure::ServerError;
pub use row::Row;
pub(crate) use saturation::{SATURATION, Saturation};

use std::time::Duration;

/// The server ends a statement of the store after this time.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The server ends a wait of the store for a lock after this time: an append holds its locks for one commit.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_millis(1_200);

/// The session options of the store. Its probe uses the same, because some poolers reject them.
pub(crate) fn session_options() -> String {
    format!(
        "-c statement_timeout={} -c lock_timeout={}",
        STATEMENT_TIMEOUT.as_millis(),
        LOCK_TIMEOUT.as_millis()
    )
}

/// Advice for a pooler that rejects those options; empty for any other error.
pub(crate) fn startup_advice(message: &str) -> &'static str {
    if !message.contains("startup parameter") {
        return "";
    }
    "; set ignore_startup_parameters = options in pgbouncer.ini, and the timeouts by ALTER ROLE (docs/dependencies.md)"
}

/// Columns for [`weakness`], in its order.
pub(crate) const WEAKNESSES: &str =
    "current_setting('fsync'), current_setting('statement_timeout'), current_setting('lock_timeout')";

/// The settings that weaken a working server's durability or bounds, if any.
pub(crate) fn weakness(fsync: &str, statement: &str, lock: &str) -> Option<String> {
    let unsafe_disk = (fsync == "off")
        .then_some("fsync is off on the server: a power cut or a crash of its machine loses or spoils what was acknowledged; set it to on");
    let no_end = (statement == "0" || lock == "0").then(|| {
        format!(
            "a pooler drops our timeouts: ALTER ROLE … SET statement_timeout = '{}ms'; ALTER ROLE … SET lock_timeout = '{}ms'",
            STATEMENT_TIMEOUT.as_millis(),
            LOCK_TIMEOUT.as_millis()
        )
    });
    let said: Vec<String> = unsafe_disk.map(str::to_owned).into_iter().chain(no_end).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_weak_where_it_may_lose_what_it_acknowledged_or_never_ends_a_statement() {
        assert_eq!(weakness("on", "1500ms", "1200ms"), None);
        assert!(weakness("off", "1500ms", "1200ms").is_some_and(|text| text.starts_with("fsync is off")));
        assert!(
            weakness("on", "0", "1200ms").is_some_and(|text| text.contains("statement_timeout = '1500ms'"))
        );
        assert!(
            weakness("off", "1s", "0").is_some_and(|text| text.contains("fsync") && text.contains("pooler"))
        );
    }
}
