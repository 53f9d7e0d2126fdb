//! The state of the auth service.

/// The state of the auth service, as its caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// An outage is known: no call is made.
    Down,
    /// An outage is known, and calls are made all the same.
    Observed,
    /// No outage is known.
    Up,
}

impl Reach {
    /// True exactly while an old answer may be used.
    pub(super) fn is_outage(self) -> bool {
        match self {
            Reach::Down | Reach::Observed => true,
            Reach::Up => false,
        }
    }
}
