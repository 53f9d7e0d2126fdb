//! Events of the parts of objectives, as one reactor counts them.

use super::Cell;
use crate::slo::{BadCause, Exclusion, SloPart};

/// Totals since the start, except `sessions`.
#[derive(Debug, Default)]
pub struct SloCells {
    /// Well-formed upgrades of `/ws`, with and without an outcome.
    pub attempts: Cell,
    /// Sessions that are `connected` now.
    pub sessions: Cell,
    /// Messages that were counted as bad at their first failure, because too many had failed.
    pub messages_full: Cell,
    /// Indexed by [`SloPart`].
    pub parts: [PartCells; SloPart::ALL.len()],
}

/// The events of a part; milliseconds in [`SloPart::Session`].
#[derive(Debug, Default)]
pub struct PartCells {
    pub good: Cell,
    /// Indexed by [`BadCause`].
    pub bad: [Cell; BadCause::ALL.len()],
    /// Indexed by [`Exclusion`].
    pub excluded: [Cell; Exclusion::ALL.len()],
}
