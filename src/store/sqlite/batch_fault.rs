//! The faults of a commit.

/// The reason why a batch has no outcomes.
#[derive(Debug)]
pub(crate) enum BatchFault {
    /// Nothing of the batch is stored.
    NotStored(rusqlite::Error),
    /// All or nothing of the batch is stored; which one is unknown.
    Unknown(rusqlite::Error),
}

impl BatchFault {
    pub(super) fn into_cause(self) -> rusqlite::Error {
        let (BatchFault::NotStored(error) | BatchFault::Unknown(error)) = self;
        error
    }

    pub(super) fn cause(&self) -> &rusqlite::Error {
        let (BatchFault::NotStored(error) | BatchFault::Unknown(error)) = self;
        error
    }
}
