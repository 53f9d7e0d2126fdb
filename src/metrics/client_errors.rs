//! Errors that clients reported.

use crate::client_error::ClientErrors;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

/// The groups of errors, which one thread changes and operators read.
#[derive(Clone, Debug, Default)]
pub struct ErrorBoard(Arc<Mutex<ClientErrors>>);

impl ErrorBoard {
    /// The groups. Hold them for a moment only, because the thread waits.
    pub fn lock(&self) -> MutexGuard<'_, ClientErrors> {
        self.0.lock()
    }
}
