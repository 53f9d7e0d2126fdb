//! A reproducible stream of random numbers, so that a decision takes its randomness as an argument.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014). It spreads moments and breaks ties; it is not for secrets.

/// The stream of one seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The seed comes from code that may read the system's randomness, or from a test.
    pub fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// Draws 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// Draws from [0, 1).
    pub fn f32(&mut self) -> f32 {
        // 24 bits fill a mantissa, so 1.0 is never rounded to.
        (self.u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.u64() % (last as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_stream() {
        let mut random = Random::seeded(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected, [random.u64(), random.u64(), random.u64()]);
    }

    #[test]
    fn fractions_fill_their_range_and_a_shuffle_keeps_all_items() {
        let mut random = Random::seeded(7);
        let drawn: Vec<f32> = (0..100_000).map(|_| random.f32()).collect();
        let mean = drawn.iter().map(|x| f64::from(*x)).sum::<f64>() / drawn.len() as f64;
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)) && (0.495..0.505).contains(&mean), "{mean}");
        let mut items: Vec<u32> = (0..100).collect();
        random.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
