//! The last token that the auth service called active, for the probe of that service.
//!
//! It is kept only while `auth.recheck_ms` is on, because only then may a token be introspected more than once.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// A token shared by the threads that introspect and the probe.
#[derive(Default)]
pub struct KnownToken(Mutex<Option<Arc<str>>>);

impl fmt::Debug for KnownToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KnownToken")
    }
}

impl KnownToken {
    /// Keeps this token instead of the one before.
    pub fn set(&self, token: Arc<str>) {
        *self.0.lock() = Some(token);
    }

    /// Keeps none, because the service or its settings changed.
    pub fn forget(&self) {
        *self.0.lock() = None;
    }

    pub fn get(&self) -> Option<Arc<str>> {
        self.0.lock().clone()
    }
}
