//! The interface between the watch thread and the probes it schedules.

use crate::health::finding::{Cause, Fault, Finding};
use std::fmt;
use std::time::Duration;

/// One dependency as its looker thread sees it.
pub trait Probing: fmt::Debug + Send {
    /// Probes once and returns by `timeout`.
    fn look(&mut self, timeout: Duration) -> Finding;

    /// Closes the kept connection, so that the next look opens one.
    fn forget(&mut self);
}

/// The finding for a probe that panicked.
pub fn broken() -> Finding {
    let text = "the look itself failed: this is a fault of seawall";
    let cause = Cause::new(Fault::Internal, text, "Report it with what was printed above.");
    Finding { latency: Duration::ZERO, result: Err(cause) }
}
