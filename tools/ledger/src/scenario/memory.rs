//! The memory of each gateway process, sampled on a thread of its own, and whether it is flat.

use crate::clock::{self, Micros, SECOND, seconds};
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(2);
/// A process that was watched for less than this is not judged: caches and the memory of recent publications fill first.
const JUDGED: Micros = 600 * SECOND;
/// The memory may rise by so much a minute over the last two thirds, and so much from the median of the second third to that of the last.
const GROWTH_KIB_PER_MIN: f64 = 64.0;
const GROWTH_FACTOR: f64 = 1.05;
/// Bounded memory that fills slowly: the last sessions that ended (1 MiB), the last orders, and waits of an outage that leave gaps.
const FILLING_BYTES: f64 = 2_097_152.0;
/// Connections move between the gateways all the time; each takes less than this much.
const CONNECTION_BYTES: f64 = 2_048.0;

/// The anonymous memory of a process at a time.
type Sample = (Micros, f64);

/// The samples of all processes, by number.
pub type Samples = BTreeMap<u16, Vec<Sample>>;

/// The thread that samples.
pub struct Sampler {
    watched: Arc<Mutex<BTreeMap<u16, u32>>>,
    over: Sender<()>,
    thread: JoinHandle<Samples>,
}

impl Sampler {
    /// Starts to sample.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no thread.
    pub fn start() -> Result<Sampler, String> {
        let watched = Arc::new(Mutex::new(BTreeMap::new()));
        let (over, ended) = bounded(0);
        let theirs = Arc::clone(&watched);
        let body = move || {
            let mut samples = Samples::new();
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let processes: BTreeMap<u16, u32> =
                    theirs.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for (life, pid) in processes {
                    let sample = anonymous(pid).map(|bytes| (clock::now(), bytes));
                    samples.entry(life).or_default().extend(sample);
                }
            }
            samples
        };
        let thread = std::thread::Builder::new().name("memory".into()).spawn(body);
        Ok(Sampler { watched, over, thread: thread.map_err(|error| format!("no thread: {error}"))? })
    }

    /// Samples this process too, until it is gone.
    pub fn watch(&self, life: u16, pid: u32) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(life, pid);
    }

    /// Stops and returns the samples.
    pub fn finish(self) -> Samples {
        drop(self.over);
        self.thread.join().unwrap_or_default()
    }
}

/// The anonymous memory of a gateway in bytes. `None` once it has ended.
fn anonymous(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024.0)
}

/// The memory of one process over its life.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    pub life: u16,
    /// How long it was watched.
    pub watched: Micros,
    /// The largest sample, in bytes.
    pub most: f64,
    /// Over the last two thirds, in KiB a minute.
    pub growth: f64,
    /// The median of the last third over that of the second.
    pub ratio: f64,
}

impl Memory {
    /// Reads the samples of a process; `None` if there are too few.
    pub fn of(life: u16, samples: &[Sample]) -> Option<Memory> {
        let (first, last) = (samples.first()?.0, samples.last()?.0);
        let watched = last - first;
        let part = |from: u64, to: u64| -> Vec<Sample> {
            let bounds = (first + watched * from / 3)..=(first + watched * to / 3);
            samples.iter().copied().filter(|(at, _)| bounds.contains(at)).collect()
        };
        let (second, third) = (median(&part(1, 2))?, median(&part(2, 3))?);
        let most = samples.iter().map(|(_, bytes)| *bytes).fold(0.0, f64::max);
        let growth = slope(&part(1, 3))? * 60.0 / 1_024.0;
        Some(Memory { life, watched, most, growth, ratio: third / second.max(1.0) })
    }

    /// True if it was watched for long enough to say whether it is flat.
    pub fn is_judged(&self) -> bool {
        self.watched >= JUDGED
    }

    /// True if it does not grow. `mean` is the mean number of connections: as many more may have come.
    pub fn is_flat(&self, mean: f64) -> bool {
        let moved = mean * CONNECTION_BYTES + FILLING_BYTES;
        let minutes = seconds(self.watched) / 60.0 * 2.0 / 3.0;
        self.growth <= GROWTH_KIB_PER_MIN + moved / 1_024.0 / minutes
            && self.ratio <= GROWTH_FACTOR + moved / self.most.max(1.0)
    }

    /// Describes it for people.
    pub fn text(&self) -> String {
        format!(
            "process {}: at most {:.1} MiB in {:.0} s, {:+.1} KiB a minute, last third {:.3} of the second",
            self.life,
            self.most / 1_048_576.0,
            seconds(self.watched),
            self.growth,
            self.ratio
        )
    }
}

fn median(samples: &[Sample]) -> Option<f64> {
    let mut values: Vec<f64> = samples.iter().map(|(_, bytes)| *bytes).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The slope of a line through the samples, in bytes a second.
fn slope(samples: &[Sample]) -> Option<f64> {
    let count = samples.len() as f64;
    let points: Vec<(f64, f64)> = samples.iter().map(|(at, bytes)| (seconds(*at), *bytes)).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let product: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 0.0).then(|| product / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: impl Fn(f64) -> f64) -> Memory {
        let samples: Vec<Sample> = (0..900).map(|at| (at * SECOND, bytes(at as f64))).collect();
        Memory::of(3, &samples).expect("samples")
    }

    #[test]
    fn flat_memory_is_flat_and_growth_is_seen() {
        let flat = memory(|at| 20e6 + at.min(100.0) * 50e3);
        assert!(flat.is_judged() && flat.is_flat(100.0), "{flat:?}");
        let filling = memory(|at| 15e6 + at * 1_500.0);
        assert!((filling.growth - 87.9).abs() < 0.1 && filling.is_flat(30.0), "{filling:?}");
        let growing = memory(|at| 20e6 + at * 8_000.0);
        assert!(!growing.is_flat(100.0), "{growing:?}");
        let late = memory(|at| if at < 700.0 { 20e6 } else { 24e6 });
        assert!(!late.is_flat(100.0), "{late:?}");
    }

    #[test]
    fn short_life_is_not_judged() {
        let samples: Vec<Sample> = (0..100).map(|at| (at * SECOND, 20e6)).collect();
        assert!(!Memory::of(1, &samples).expect("samples").is_judged());
        assert_eq!(Memory::of(1, &[]), None);
    }
}
