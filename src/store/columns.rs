//! The encoding of values in columns, the same in both databases.

use crate::id::Offset;
use crate::wire::publication::Change;

/// An unsigned number as a signed column. Offsets and times stay far below the bound.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An unsigned number from a signed column, where it is never negative.
pub(crate) fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The change that `kind` and the offset in `target` encode.
pub(crate) fn change(kind: i64, target: Option<i64>) -> Change {
    match (kind, target) {
        (1, Some(target)) => Change::Edits(Offset(natural(target))),
        (2, Some(target)) => Change::Deletes(Offset(natural(target))),
        (_, _) => Change::None,
    }
}

/// The `kind` of a change.
pub(crate) fn kind(change: Change) -> i64 {
    match change {
        Change::None => 0,
        Change::Edits(_) => 1,
        Change::Deletes(_) => 2,
    }
}
