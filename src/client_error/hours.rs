//! Counts by hour.

/// The hours that are kept.
pub const HOURS: usize = 24;
const MS_PER_HOUR: u64 = 3_600_000;

/// The events of the last 24 hours of the clock, by hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourlyCounts {
    /// The newest hour, in hours since 1970.
    newest: u64,
    /// Indexed by the hour modulo [`HOURS`].
    counts: [u32; HOURS],
}

impl HourlyCounts {
    /// Counts events of this time. Events of an earlier hour than the newest count for that one.
    pub fn add(&mut self, unix_ms: u64, count: u32) {
        self.advance(unix_ms);
        if let Some(place) = self.counts.get_mut((self.newest % HOURS as u64) as usize) {
            *place = place.saturating_add(count);
        }
    }

    /// Forgets the hours that are too old.
    fn advance(&mut self, unix_ms: u64) {
        let hour = unix_ms / MS_PER_HOUR;
        let passed = hour.saturating_sub(self.newest).min(HOURS as u64);
        for step in 1..=passed {
            let place = ((hour - passed + step) % HOURS as u64) as usize;
            self.counts.get_mut(place).into_iter().for_each(|count| *count = 0);
        }
        self.newest = self.newest.max(hour);
    }

    /// The counts as of this time, oldest first.
    pub fn read(mut self, unix_ms: u64) -> [u32; HOURS] {
        self.advance(unix_ms);
        let oldest = self.newest + 1;
        std::array::from_fn(|step| {
            let place = ((oldest + step as u64) % HOURS as u64) as usize;
            self.counts.get(place).copied().unwrap_or(0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_of_the_last_day_and_older_ones_are_forgotten() {
        let (mut counts, at) = (HourlyCounts::default(), |hour: u64| (500_000 + hour) * MS_PER_HOUR + 7);
        counts.add(at(0), 3);
        counts.add(at(1), 2);
        counts.add(at(0), 1);
        let read = counts.read(at(2));
        assert_eq!(read[HOURS - 3..], [3, 3, 0], "the clock went back");
        counts.add(at(23), 5);
        assert_eq!((counts.read(at(23))[0], counts.read(at(24))[0]), (3, 3));
        assert_eq!(counts.read(at(23)).iter().sum::<u32>(), 11);
        assert_eq!(counts.read(at(1_000)), [0; HOURS]);
    }
}
