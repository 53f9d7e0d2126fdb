//! The bounds of what a store retains, and whether a duty of retention goes on.

use std::time::Duration;

/// How much a store retains, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Publications per channel; 0 keeps any number.
    pub publications: u64,
    /// Age of a publication; `None` keeps any age.
    pub age: Option<Duration>,
}

/// The rest of a duty in this round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rest {
    #[default]
    None,
    Some,
}
