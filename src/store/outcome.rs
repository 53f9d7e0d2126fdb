//! The outcome of one append.

use crate::job::{AppendChange, AppendError, Appended};
use crate::wire::publication::Change;

/// The delay after which a client should repeat a failed append: about the time in which a fault is noticed.
pub(crate) const RETRY_MS: u32 = 2_000;

/// The result of one append.
pub(crate) type Outcome = Result<Appended, AppendError>;

/// The change that an append makes, without the authority to make it.
pub(crate) fn change_of(change: AppendChange) -> Change {
    match change {
        AppendChange::Original => Change::None,
        AppendChange::Edit(target, _) => Change::Edits(target),
        AppendChange::Delete(target, _) => Change::Deletes(target),
    }
}
