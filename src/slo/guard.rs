//! Guards: more bad events than chance explains.
//!
//! With λ bad events expected in a window, a count above λ + k√λ + c is less likely than about 10⁻⁵ in a long window and 10⁻⁴ in a
//! short one, for every λ (compared with the tails of the Poisson distribution from λ = 10⁻⁴ to 10⁴). So at one event in a minute a
//! single error is no reason for a notice.

/// The guard of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// λ + 4.3 √λ + 3
    Long,
    /// λ + 3.7 √λ + 2
    Short,
}

impl Guard {
    /// True exactly if `bad` of `valid` events are significant while `allowed_ppm` may be bad.
    pub fn passes(self, bad: u64, valid: u64, allowed_ppm: u32) -> bool {
        // The factor squared, in hundredths of thousandths of the inequality below.
        let (squared, constant) = match self {
            Guard::Long => (1_849, 3),
            Guard::Short => (1_369, 2),
        };
        let expected = u128::from(allowed_ppm) * u128::from(valid);
        let found = u128::from(bad.saturating_sub(constant)) * 1_000_000;
        let Some(excess) = found.checked_sub(expected).filter(|excess| *excess > 0) else { return false };
        // (bad − c − λ)² ≥ k² λ, times 10¹² and 100.
        excess.saturating_mul(excess).saturating_mul(100) >= expected.saturating_mul(squared * 1_000_000)
    }
}
