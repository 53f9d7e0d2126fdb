//! The history of measured values: rows in rings of fixed size, one ring for each resolution. No clock and no thread.
//!
//! All memory is allocated at the start and never grows: [`BYTES`]. A row of a coarser ring is made of all rows of its period,
//! so every value is in every ring at once and nothing is ever recomputed. A period without a sample is a gap (NaN).

/// The number of series. Unused ones cost memory and no time.
pub const SERIES_MAX: usize = 64;

/// The seconds between two rows of a ring, and its number of rows: 10 minutes, 3 hours, 2 days and 31 days.
pub const TIERS: [(u64, usize); 4] = [(1, 600), (10, 1_080), (60, 2_880), (900, 2_976)];

/// The bytes of all rings.
pub const BYTES: usize = 7_536 * SERIES_MAX * size_of::<f32>();

/// One value for each series; NaN where there is none.
pub type Row = [f32; SERIES_MAX];

/// How the values of a period become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fold {
    #[default]
    Mean,
    Max,
}

/// Rows of equal periods that follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The tick at which the first row begins.
    pub from: u64,
    /// The seconds of a row.
    pub step_s: u64,
    /// The values of the series that were asked for, in that order; NaN where there is none.
    pub rows: Vec<Vec<f32>>,
}

/// All rings. A tick is a whole second since the first sample.
#[derive(Debug)]
pub struct History {
    folds: [Fold; SERIES_MAX],
    tiers: Vec<HistoryTier>,
    /// The tick after the newest sample.
    tick: u64,
}

/// A ring of rows of one resolution.
///
/// Invariant: `open` is the number of the period that is gathered, and the rows before it are complete.
#[derive(Debug)]
struct HistoryTier {
    step_s: u64,
    rows: Box<[Row]>,
    open: u64,
    gathered: Row,
    counts: [u32; SERIES_MAX],
}

impl History {
    /// Allocates the rings.
    pub fn new(folds: [Fold; SERIES_MAX]) -> History {
        let tier = |(step_s, rows)| HistoryTier {
            step_s,
            rows: vec![[f32::NAN; SERIES_MAX]; rows].into_boxed_slice(),
            open: 0,
            gathered: [0.0; SERIES_MAX],
            counts: [0; SERIES_MAX],
        };
        History { folds, tiers: TIERS.into_iter().map(tier).collect(), tick: 0 }
    }

    /// The tick after the newest sample.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// Adds the sample of a tick. Skipped ticks become gaps; an earlier tick is dropped.
    pub fn sample(&mut self, tick: u64, values: &Row) {
        if tick < self.tick {
            return;
        }
        for tier in &mut self.tiers {
            tier.add(tick, values, &self.folds);
        }
        self.tick = tick + 1;
    }

    /// The complete rows of the ring with this step from the tick `since` on, at most the newest `count`; none if there is no
    /// such ring.
    pub fn since(&self, step_s: u64, since: u64, count: usize, series: &[usize]) -> Rows {
        let Some(tier) = self.tiers.iter().find(|tier| tier.step_s == step_s) else {
            return Rows { from: self.tick, step_s, rows: Vec::new() };
        };
        let oldest = tier.oldest().max(tier.open.saturating_sub(count as u64));
        let first = since.div_ceil(step_s).clamp(oldest, tier.open);
        let rows =
            (first..tier.open).map(|period| series.iter().map(|one| tier.value(period, *one)).collect());
        Rows { from: first * step_s, step_s, rows: rows.collect() }
    }

    /// The newest `count` complete periods of `step_s` seconds; `None` if no ring reaches back that far with such a step.
    pub fn merged(&self, step_s: u64, count: usize, series: &[usize]) -> Option<Rows> {
        let fits = |tier: &&HistoryTier| {
            step_s.is_multiple_of(tier.step_s)
                && step_s * count as u64 <= tier.step_s * tier.rows.len() as u64
        };
        let tier = self.tiers.iter().find(fits)?;
        let ratio = step_s / tier.step_s;
        let end = tier.open / ratio;
        // A period of which the ring has lost a part would look quieter than it was.
        let first = end.saturating_sub(count as u64).max(tier.oldest().div_ceil(ratio)).min(end);
        let value = |period: u64, one: usize| {
            let (mut folded, mut known) = (0.0_f32, 0_u32);
            let fold = self.folds.get(one).copied().unwrap_or_default();
            for part in period * ratio..(period + 1) * ratio {
                add(fold, (&mut folded, &mut known), tier.value(part, one));
            }
            finish(fold, folded, known)
        };
        let rows = (first..end).map(|period| series.iter().map(|one| value(period, *one)).collect());
        Some(Rows { from: first * step_s, step_s, rows: rows.collect() })
    }
}

impl HistoryTier {
    fn add(&mut self, tick: u64, values: &Row, folds: &[Fold; SERIES_MAX]) {
        let period = tick / self.step_s;
        if period > self.open {
            self.close(folds);
            // More gaps than the ring has rows would only be written over.
            let first = self.open.max(period.saturating_sub(self.rows.len() as u64));
            for skipped in first..period {
                self.write(skipped, [f32::NAN; SERIES_MAX]);
            }
            self.open = period;
        }
        for (series, value) in values.iter().enumerate() {
            let fold = folds.get(series).copied().unwrap_or_default();
            if let (Some(sum), Some(count)) = (self.gathered.get_mut(series), self.counts.get_mut(series)) {
                add(fold, (sum, count), *value);
            }
        }
        if (tick + 1).is_multiple_of(self.step_s) {
            self.close(folds);
        }
    }

    /// Completes the period that is gathered.
    fn close(&mut self, folds: &[Fold; SERIES_MAX]) {
        let gathered = self.gathered.iter().zip(&self.counts).zip(folds);
        let mut row = [f32::NAN; SERIES_MAX];
        for (place, ((value, count), fold)) in row.iter_mut().zip(gathered) {
            *place = finish(*fold, *value, *count);
        }
        self.write(self.open, row);
        self.open += 1;
        (self.gathered, self.counts) = ([0.0; SERIES_MAX], [0; SERIES_MAX]);
    }

    fn write(&mut self, period: u64, row: Row) {
        let place = self.place(period);
        if let Some(old) = self.rows.get_mut(place) {
            *old = row;
        }
    }

    fn place(&self, period: u64) -> usize {
        (period % self.rows.len() as u64) as usize
    }

    /// The oldest period that the ring still has.
    fn oldest(&self) -> u64 {
        self.open.saturating_sub(self.rows.len() as u64)
    }

    fn value(&self, period: u64, series: usize) -> f32 {
        self.rows.get(self.place(period)).and_then(|row| row.get(series)).copied().unwrap_or(f32::NAN)
    }
}

/// Adds a value to what was folded so far; NaN adds nothing.
fn add(fold: Fold, (folded, count): (&mut f32, &mut u32), value: f32) {
    if value.is_nan() {
        return;
    }
    *folded = match fold {
        Fold::Mean => *folded + value,
        Fold::Max if *count == 0 => value,
        Fold::Max => folded.max(value),
    };
    *count += 1;
}

fn finish(fold: Fold, folded: f32, count: u32) -> f32 {
    match (fold, count) {
        (_, 0) => f32::NAN,
        (Fold::Mean, count) => folded / count as f32,
        (Fold::Max, _) => folded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folds() -> [Fold; SERIES_MAX] {
        let mut folds = [Fold::Mean; SERIES_MAX];
        folds[1] = Fold::Max;
        folds
    }

    fn row(value: f32) -> Row {
        let mut row = [f32::NAN; SERIES_MAX];
        (row[0], row[1]) = (value, value);
        row
    }

    /// The naive model: every sample is kept, and a period is computed from all of them.
    fn model(samples: &[(u64, f32)], step_s: u64, period: u64) -> (f32, f32) {
        let of = samples.iter().filter(|(tick, _)| tick / step_s == period).map(|(_, value)| *value);
        let values: Vec<f32> = of.collect();
        if values.is_empty() {
            return (f32::NAN, f32::NAN);
        }
        (values.iter().sum::<f32>() / values.len() as f32, values.iter().copied().fold(0.0, f32::max))
    }

    fn is_same(found: f32, wanted: f32) -> bool {
        (found.is_nan() && wanted.is_nan()) || (found - wanted).abs() <= wanted.abs() * 1e-4 + 1e-4
    }

    #[test]
    fn rings_have_the_size_that_the_documentation_names() {
        let history = History::new(folds());
        let bytes: usize = history.tiers.iter().map(|tier| size_of_val(&*tier.rows)).sum();
        assert_eq!((bytes, BYTES), (1_929_216, 1_929_216));
        assert_eq!(TIERS.map(|(step, rows)| step * rows as u64), [600, 10_800, 172_800, 2_678_400]);
    }

    #[test]
    fn silence_longer_than_a_ring_leaves_only_gaps() {
        let mut history = History::new(folds());
        history.sample(0, &row(7.0));
        history.sample(100_000, &row(9.0));
        let rows = history.since(1, 0, 600, &[0]);
        assert_eq!((rows.from, rows.rows.len()), (99_401, 600));
        assert!(rows.rows[..599].iter().all(|row| row[0].is_nan()) && rows.rows[599][0] == 9.0);
        history.sample(3, &row(1.0));
        assert_eq!(history.tick(), 100_001, "an earlier tick changes nothing");
    }

    #[test]
    fn span_that_no_ring_holds_is_refused() {
        let history = History::new(folds());
        assert!(history.merged(2, 300, &[0]).is_some() && history.merged(30, 360, &[0]).is_some());
        assert!(history.merged(8_100, 330, &[0]).is_some());
        assert!(history.merged(7, 400, &[0]).is_none() && history.merged(86_400, 32, &[0]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn history_equals_a_model_that_keeps_every_sample(
            steps in prop::collection::vec((1_u64..4, 0.0_f32..1_000.0, 0_u8..40), 1..400),
            wide in 1_u64..12,
        ) {
            let (mut history, mut samples, mut tick) = (History::new(folds()), Vec::new(), 0);
            for (ahead, value, leap) in steps {
                tick += if leap == 0 { ahead * 90 } else { ahead };
                history.sample(tick, &row(value));
                samples.push((tick, value));
            }
            for (step_s, count) in [(1, 600), (10, 180), (60, 40)] {
                let found = history.since(step_s, 0, count, &[0, 1]);
                prop_assert_eq!(found.from + found.rows.len() as u64 * step_s, history.tick() / step_s * step_s);
                for (place, values) in found.rows.iter().enumerate() {
                    let (mean, max) = model(&samples, step_s, found.from / step_s + place as u64);
                    prop_assert!(is_same(values[0], mean) && is_same(values[1], max), "{values:?} {mean} {max}");
                }
            }
            let found = history.merged(wide, 50, &[1]).expect("ten minutes");
            for (place, values) in found.rows.iter().enumerate() {
                let (_, max) = model(&samples, wide, found.from / wide + place as u64);
                prop_assert!(is_same(values[0], max), "{values:?} {max}");
            }
        }
    }
}
