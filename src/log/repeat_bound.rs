//! The bound on repeated lines, shared by the threads that log and the one that writes.

use super::repeats::{RepeatDecision, Repeats};
use parking_lot::Mutex;
use std::sync::OnceLock;
use std::time::Instant;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The lines that may be repeated.
static REPEATS: OnceLock<Mutex<Repeats>> = OnceLock::new();

/// Drops lines that are [repeated](mod@super::repeats).
pub(super) struct RepeatBound {
    started: Instant,
}

impl RepeatBound {
    /// A bound that counts time from now.
    pub(super) fn start() -> RepeatBound {
        RepeatBound { started: now() }
    }
}

impl<S: tracing::Subscriber> Layer<S> for RepeatBound {
    fn event_enabled(&self, event: &tracing::Event<'_>, _: Context<'_, S>) -> bool {
        !Repeats::apply_to(event.metadata())
            || shared().lock().note(event, self.started.elapsed()) == RepeatDecision::Logged
    }
}

/// The lines of this process that may be repeated.
pub(super) fn shared() -> &'static Mutex<Repeats> {
    REPEATS.get_or_init(Mutex::default)
}

#[allow(clippy::disallowed_methods, reason = "the log counts minutes, and decides nothing else")]
pub(super) fn now() -> Instant {
    Instant::now()
}
