//! What is known of the dependencies, as one value that is replaced whole.
//!
//! The embedded store is part of the process, so nothing this gateway stands on can be down by itself yet:
//! the level is `ok` and the revision never moves. The bytes of `status` are made when the snapshot is.

use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Grows with every change on one instance.
    pub revision: u64,
    /// The `status` object as JSON.
    pub status: Arc<str>,
}

impl Snapshot {
    /// Nothing is wrong.
    pub fn ok() -> Snapshot {
        Snapshot {
            revision: 1,
            status: Arc::from(r#"{"revision":1,"level":"ok","dependencies":[],"lost":[]}"#),
        }
    }
}
