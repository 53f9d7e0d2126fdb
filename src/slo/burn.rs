//! The verdict on the burn of an objective, as alerts need it.

use super::part::SloPart;
use super::report::TierReport;

/// The worst part of an objective, by its page or its ticket tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurnVerdict {
    pub part: SloPart,
    /// The first tier that is over.
    pub over: Option<TierReport>,
    /// A tier has half of its threshold in both windows.
    pub is_near: bool,
    /// The lowest threshold of these tiers, in parts per million.
    pub threshold_ppm: u32,
    pub allowed_ppm: u32,
    /// Events of the last slot.
    pub new: u64,
    /// Events of the last five minutes, and the share of bad ones in parts per million.
    pub recent: u64,
    pub recent_bad_ppm: u32,
}
