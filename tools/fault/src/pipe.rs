//! One direction of a connection: bytes that have not been passed on yet, and when they may be.

use crate::mode::{Garble, Pace};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The maximum bytes held in one direction; at this bound the socket is not read.
pub(crate) const HELD_MAX: usize = 64 << 10;
/// The pieces into which a second is divided, so that a rate is even.
const PIECES_PER_S: u64 = 100;

/// The end of the stream that feeds a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has not ended.
    Open,
    /// It ended in order; the other side has not been notified.
    Seen,
    /// It ended in order; the other side has been notified.
    Forwarded,
    /// It ended with an error; the other side has not been notified.
    Broken,
}

/// The bytes that may be passed on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// This many bytes from the front.
    Bytes(usize),
    /// Nothing before this time.
    At(Instant),
    /// The pipe is empty.
    Empty,
}

/// Bytes in the order of arrival, each run with its time.
///
/// Invariant: `arrivals` covers `bytes` exactly, no run is empty, and times never decrease.
#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    arrivals: VecDeque<(usize, Instant)>,
    /// When the rate allows the next byte.
    free_at: Option<Instant>,
    pub(crate) end: End,
}

impl Pipe {
    pub(crate) fn new() -> Pipe {
        Pipe { bytes: VecDeque::new(), arrivals: VecDeque::new(), free_at: None, end: End::Open }
    }

    /// Creates a pipe that has ended and carries nothing.
    pub(crate) fn over() -> Pipe {
        Pipe { end: End::Forwarded, ..Pipe::new() }
    }

    /// The number of bytes it can take.
    pub(crate) fn room(&self) -> usize {
        HELD_MAX - self.bytes.len().min(HELD_MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn push(&mut self, bytes: &[u8], now: Instant) {
        if !bytes.is_empty() {
            self.bytes.extend(bytes);
            self.arrivals.push_back((bytes.len(), now));
        }
    }

    /// The bytes that may be passed on at `now`, at this pace if there is one.
    pub(crate) fn ready(&self, now: Instant, pace: Option<Pace>) -> Ready {
        let Some((first, arrived)) = self.arrivals.front() else { return Ready::Empty };
        let Some(pace) = pace else { return Ready::Bytes(self.bytes.len()) };
        let due = *arrived + pace.latency;
        let due = self.free_at.filter(|_| pace.bytes_per_s.is_some()).map_or(due, |free| free.max(due));
        if due > now {
            return Ready::At(due);
        }
        let piece = pace.bytes_per_s.map_or(u64::MAX, |rate| (rate.get() / PIECES_PER_S).max(1));
        Ready::Bytes((*first).min(usize::try_from(piece).unwrap_or(usize::MAX)))
    }

    /// The first bytes, at most `count`; fewer where the buffer wraps.
    pub(crate) fn first(&self, count: usize) -> &[u8] {
        let (front, _) = self.bytes.as_slices();
        front.get(..count).unwrap_or(front)
    }

    /// Removes bytes that were passed on.
    pub(crate) fn went(&mut self, count: usize, now: Instant, pace: Option<Pace>) {
        self.bytes.drain(..count.min(self.bytes.len()));
        let mut left = count;
        while let Some((run, _)) = self.arrivals.front_mut() {
            if *run > left {
                *run -= left;
                break;
            }
            left -= *run;
            self.arrivals.pop_front();
        }
        self.free_at = pace.and_then(|pace| pace.bytes_per_s).map(|rate| {
            let took = Duration::from_secs_f64(count as f64 / rate.get() as f64);
            self.free_at.map_or(now, |free| free.max(now)) + took
        });
    }
}

/// Chooses the bits of one connection's answers to flip.
#[derive(Debug)]
pub(crate) struct Noise {
    random: fastrand::Rng,
    every: u32,
    /// Bytes until the next flip.
    distance: u32,
}

impl Noise {
    pub(crate) fn new(garble: Garble, connection: u64) -> Noise {
        let every = garble.every.get();
        let mut random =
            fastrand::Rng::with_seed(garble.seed.wrapping_mul(0x9e37_79b9).wrapping_add(connection));
        let distance = random.u32(0..every);
        Noise { random, every, distance }
    }

    /// Flips bits and returns their number.
    pub(crate) fn over(&mut self, bytes: &mut [u8]) -> u64 {
        let mut flipped = 0;
        for byte in bytes {
            if self.distance > 0 {
                self.distance -= 1;
                continue;
            }
            *byte ^= 1 << self.random.u32(0..8);
            self.distance = self.random.u32(0..self.every);
            flipped += 1;
        }
        flipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::{NonZeroU32, NonZeroU64};

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other beginning")]
    fn start() -> Instant {
        Instant::now()
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn latency_holds_each_run_for_its_own_time() {
        let (mut pipe, t) = (Pipe::new(), start());
        let pace = Some(Pace { bytes_per_s: None, latency: ms(50) });
        pipe.push(b"abc", t);
        pipe.push(b"de", t + ms(20));
        assert_eq!(pipe.ready(t + ms(49), pace), Ready::At(t + ms(50)));
        assert_eq!(pipe.ready(t + ms(50), pace), Ready::Bytes(3));
        assert_eq!(pipe.first(3), b"abc");
        pipe.went(3, t + ms(50), pace);
        assert_eq!(pipe.ready(t + ms(50), pace), Ready::At(t + ms(70)));
        assert_eq!(pipe.ready(t + ms(50), None), Ready::Bytes(2), "waiting ends with the mode");
        pipe.went(1, t + ms(70), pace);
        assert_eq!(pipe.first(9), b"e");
        pipe.went(1, t + ms(70), pace);
        assert_eq!(pipe.ready(t + ms(70), pace), Ready::Empty);
    }

    #[test]
    fn rate_is_kept_for_runs_of_any_length() {
        let (mut pipe, t) = (Pipe::new(), start());
        let pace = Some(Pace { bytes_per_s: NonZeroU64::new(1_000), latency: Duration::ZERO });
        pipe.push(&[0; 150], t);
        pipe.push(&[0; 350], t);
        let (mut now, mut sent) = (t, 0);
        while !pipe.is_empty() {
            match pipe.ready(now, pace) {
                Ready::Bytes(count) => {
                    assert!(count <= 10, "{count}");
                    pipe.went(count, now, pace);
                    sent += count;
                }
                Ready::At(at) => now = at,
                Ready::Empty => unreachable!("it is not empty"),
            }
        }
        assert_eq!(sent, 500);
        assert!((ms(480)..=ms(500)).contains(&(now - t)), "{:?}", now - t);
    }

    #[test]
    fn pipe_is_full_at_its_bound() {
        let mut pipe = Pipe::new();
        pipe.push(&vec![0; HELD_MAX], start());
        assert_eq!(pipe.room(), 0);
    }

    #[test]
    fn noise_depends_only_on_the_seed_and_reaches_every_run() {
        let garble = Garble { seed: 7, every: NonZeroU32::new(16).expect("not zero") };
        let garbled = |connection, pieces: usize| {
            let (mut bytes, mut noise) = (vec![0; 1_600], Noise::new(garble, connection));
            let flips: u64 = bytes.chunks_mut(pieces).map(|piece| noise.over(piece)).sum();
            (bytes, flips)
        };
        let (bytes, flips) = garbled(1, 1_600);
        assert_eq!((bytes.clone(), flips), garbled(1, 7), "however the bytes were split");
        assert_ne!(bytes, garbled(2, 1_600).0);
        assert!(bytes.chunks(32).all(|run| run.iter().any(|byte| *byte != 0)), "a run is unchanged");
        assert_eq!(bytes.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>(), flips);
    }
}
