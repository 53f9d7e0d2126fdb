//! The age of the connection that a probe uses.

/// The age of a look's connection: a kept one may have been reset while it was idle.
#[derive(Clone, Copy, Debug)]
pub(super) enum Age {
    Kept,
    New,
}
