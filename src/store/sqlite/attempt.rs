//! One attempt to commit a batch: how its appends share the transaction, and the reasons to stop.

use super::batch::Batch;
use super::batch_fault::BatchFault;
use crate::job::{Append, AppendError};
use crate::store::outcome::{Outcome, RETRY_MS};
use rusqlite::{Connection, ErrorCode};

/// How the appends of a batch share its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Without savepoints: fast, but a fault of one is a fault of all.
    Together,
    /// Each in a savepoint of its own.
    Apart,
}

/// The reason why a batch stopped.
pub(super) enum Stop {
    /// One append is at fault, for example a value that is too large or violates a constraint.
    Append,
    /// The same of the flush of streams.
    Flush(rusqlite::Error),
    /// The same of the requests of the relay.
    Relay(rusqlite::Error),
    /// The store is at fault.
    Store(BatchFault),
}

/// True if the fault lies in the values of one append and the transaction can go on.
pub(super) fn is_of_one_append(writer: &Connection, error: &rusqlite::Error) -> bool {
    let its_own = match error.sqlite_error_code() {
        Some(code) => matches!(
            code,
            ErrorCode::TooBig
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::ParameterOutOfRange
        ),
        // A value out of the range of its type, in either direction.
        None => true,
    };
    its_own && !writer.is_autocommit()
}

pub(super) fn stop(writer: &Connection, error: rusqlite::Error) -> Stop {
    if is_of_one_append(writer, &error) { Stop::Append } else { Stop::from(error) }
}

/// Does one append in a savepoint: if it fails, it alone is undone and answered.
pub(super) fn append_apart(
    writer: &Connection,
    batch: &mut Batch<'_>,
    job: &Append,
) -> rusqlite::Result<Outcome> {
    writer.execute_batch("SAVEPOINT one")?;
    let (created, charges, streams) = (batch.created, batch.charges.len(), batch.stream_mark());
    let relay = batch.relay.mark();
    match batch.append(job) {
        Ok(outcome) => {
            writer.execute_batch("RELEASE one")?;
            Ok(outcome)
        }
        Err(error) if is_of_one_append(writer, &error) => {
            batch.created = created;
            batch.charges.truncate(charges);
            batch.undo_streams(streams);
            batch.relay.undo(relay);
            writer.execute_batch("ROLLBACK TO one; RELEASE one")?;
            tracing::warn!(channel = %job.channel, %error, "append failed");
            Ok(Err(AppendError::Unavailable { retry_ms: RETRY_MS }))
        }
        Err(error) => Err(error),
    }
}

impl From<rusqlite::Error> for Stop {
    /// An error before `COMMIT`.
    fn from(error: rusqlite::Error) -> Stop {
        Stop::Store(BatchFault::NotStored(error))
    }
}
