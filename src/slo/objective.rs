//! Objectives: the share of events that may be bad over a period.

/// The way in which the events of an objective are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Each event counts once.
    Events,
    /// Each ten seconds with an event count once, by their share of bad events. For attempts to connect: the retries of those
    /// that were cut off would otherwise spend the budget of a month within minutes.
    Looks,
}

/// An objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objective {
    /// The bad events that are allowed, in parts per million: 1 to 500,000.
    pub allowed_ppm: u32,
    /// The period of the budget in days: 1 to 90.
    pub period_days: u32,
    pub counting: Counting,
}

impl Objective {
    pub const ALLOWED_PPM_MAX: u32 = 500_000;
    pub const PERIOD_DAYS_MAX: u32 = 90;
}

/// Objectives for a chat service, by name.
pub const USUAL: [(&str, Objective); 4] = [
    ("connection", Objective { allowed_ppm: 5_000, period_days: 30, counting: Counting::Looks }),
    ("delivery", Objective { allowed_ppm: 1_000, period_days: 7, counting: Counting::Events }),
    ("latency", Objective { allowed_ppm: 50_000, period_days: 1, counting: Counting::Events }),
    ("health", Objective { allowed_ppm: 500, period_days: 30, counting: Counting::Events }),
];
