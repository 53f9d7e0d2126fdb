//! The faults and their times: every choice comes from the seed.

use fastrand::Rng;
use std::ops::Range;

/// The store's behaviour towards appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    Work,
    /// Certainly not stored.
    Refuse,
    /// Stored or not, and it cannot say.
    Doubt,
    /// It does nothing now, and what waits later.
    Stuck,
}

/// The store's behaviour towards reads, and the auth worker's towards tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Work,
    Fail,
    Stuck,
}

/// The faults of the moment.
#[derive(Clone, Debug)]
pub struct Weather {
    pub writes: Writes,
    pub reads: Reads,
    pub tokens: Reads,
    /// The longest way of an answer or of a publication, in milliseconds.
    pub delay_ms_max: u64,
    /// Of a hundred batches, how many a lane loses and doubles.
    pub lost: u8,
    pub doubled: u8,
    /// Batches a lane holds.
    pub lane: usize,
}

impl Weather {
    /// Nothing goes wrong.
    pub fn fair() -> Weather {
        let (writes, reads, tokens) = (Writes::Work, Reads::Work, Reads::Work);
        Weather { writes, reads, tokens, delay_ms_max: 10, lost: 0, doubled: 0, lane: 256 }
    }

    /// Something does.
    pub fn foul(rng: &mut Rng) -> Weather {
        let writes = match rng.u8(..10) {
            0 => Writes::Refuse,
            1 => Writes::Doubt,
            2 => Writes::Stuck,
            _ => Writes::Work,
        };
        let reads = |rng: &mut Rng| match rng.u8(..8) {
            0 => Reads::Fail,
            1 => Reads::Stuck,
            _ => Reads::Work,
        };
        let (reads, tokens) = (reads(rng), reads(rng));
        let delay_ms_max = [5, 50, 300, 1_500, 6_000][rng.usize(..5)];
        let lost = [0, 0, 10, 50][rng.usize(..4)];
        let doubled = [0, 10, 50][rng.usize(..3)];
        Weather { writes, reads, tokens, delay_ms_max, lost, doubled, lane: [2, 8, 256][rng.usize(..3)] }
    }

    pub fn is_foul(&self) -> bool {
        self.delay_ms_max != Weather::fair().delay_ms_max
    }

    /// How long something is under way: usually a part of the longest.
    pub fn delay_ms(&self, rng: &mut Rng) -> u64 {
        if rng.u8(..4) == 0 { rng.u64(0..=self.delay_ms_max) } else { rng.u64(0..=self.delay_ms_max / 8) }
    }
}

/// True `percent` times of a hundred.
pub fn chance(rng: &mut Rng, percent: u8) -> bool {
    rng.u8(..100) < percent
}

/// How long the world waits between two steps while something goes wrong, in milliseconds.
pub fn pause_ms(rng: &mut Rng) -> u64 {
    let range: Range<u64> = match rng.u8(..20) {
        0 => 100..150,
        1..4 => 40..100,
        _ => 1..40,
    };
    rng.u64(range)
}

/// The same when nothing goes wrong any more.
pub fn calm_pause_ms(rng: &mut Rng) -> u64 {
    rng.u64(20..90)
}
