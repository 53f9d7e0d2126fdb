//! The start of a stall, in eight bytes.

use crate::clock::Moment;
use std::num::NonZeroU64;

/// The start of a stall, where an optional [`Moment`] takes sixteen bytes: every idle peer has a place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stall(NonZeroU64);

impl Stall {
    /// The clock's first microsecond counts as its second.
    pub(super) fn at(moment: Moment) -> Stall {
        Stall(NonZeroU64::MIN.saturating_add(moment.micros().saturating_sub(1)))
    }

    pub(super) fn moment(self) -> Moment {
        Moment::from_micros(self.0.get())
    }
}
