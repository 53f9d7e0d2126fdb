//! Derives several independent fractions from one random number.
//!
//! This floor draws no random numbers, and one event may need several: for a delay, for the next probe, for the
//! reference of an outage. The mixing is splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
//! generators).

/// A stream of numbers determined by its seed.
#[derive(Clone, Copy, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Starts a stream with a random seed.
    pub const fn new(random: u64) -> Draw {
        Draw(random)
    }

    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next fraction, in `0.0 .. 1.0`.
    pub const fn fraction(&mut self) -> f32 {
        // A float holds 24 bits exactly, so the result is never rounded up to 1.
        (self.number() >> 40) as f32 / (1_u32 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_fill_their_range_evenly() {
        let mut draw = Draw::new(7);
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let fraction = draw.fraction();
            assert!((0.0..1.0).contains(&fraction));
            tenths[(fraction * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
    }
}
