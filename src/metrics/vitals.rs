//! What all threads may know of the process at any time, without a lock.

use super::Cell;
use super::drain::Drain;
use crate::clock::Moment;
use crate::drain::{Phase, Plan};
use crate::health::report::{Draining, Readings};
use crate::health::snapshot::Snapshot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A reactor silent for so long is not alive.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Seconds for which the longest turn is remembered.
const TURN_MEMORY_S: u64 = 10;
/// A turn shorter than this is not remembered: nobody notices one.
const TURN_NOTED: Duration = Duration::from_millis(1);

/// One reactor's signs of life.
#[derive(Debug, Default)]
pub struct ReactorVitals {
    /// The moment the wait before its last turn ended.
    pub began: Cell,
    /// The moment of its last turn's end.
    pub turned: Cell,
    /// Its connections.
    pub connections: Cell,
    /// The longest turn of each of the last seconds: the second in the high half, microseconds in the low.
    longest: [Cell; TURN_MEMORY_S as usize + 2],
}

impl ReactorVitals {
    /// Notes a turn that has ended; only the reactor itself may.
    pub fn note_turn(&self, began: Moment, ended: Moment) {
        self.turned.set(ended.micros());
        let took = ended.since(began);
        if took < TURN_NOTED {
            return;
        }
        let second = second_of(ended);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        if let Some(cell) = self.longest.get((second % self.longest.len() as u64) as usize) {
            let noted = cell.read();
            if noted >> 32 != second || noted & u64::from(u32::MAX) < us {
                cell.set(second << 32 | us);
            }
        }
    }

    /// The longest turn of the last 10 s that took a millisecond at least; of one that lasts, its age so far.
    pub fn longest_turn(&self, now: Moment) -> Duration {
        let recent = second_of(now).saturating_sub(TURN_MEMORY_S)..=second_of(now);
        let past = self.longest.iter().map(Cell::read).filter(|noted| recent.contains(&(noted >> 32)));
        let past = past.map(|noted| noted & u64::from(u32::MAX)).max().unwrap_or(0);
        let began = Moment::from_micros(self.began.read());
        let lasts = if began.micros() > self.turned.read() { now.since(began) } else { Duration::ZERO };
        lasts.max(Duration::from_micros(past))
    }
}

/// Half of a cell holds it: 136 years of a process.
fn second_of(moment: Moment) -> u64 {
    moment.micros() / 1_000_000
}

/// See the module.
#[derive(Debug)]
pub struct Vitals {
    /// By reactor.
    pub reactors: Vec<ReactorVitals>,
    /// Descriptors the process may have.
    pub descriptors_max: u64,
    connections_max: AtomicU64,
    memory_bytes_max: AtomicU64,
    memory_bytes: AtomicU64,
    descriptors_base: AtomicU64,
    /// How far its end has come.
    pub drain: Drain,
}

impl Vitals {
    /// For so many reactors, all alive at `now`.
    pub fn new(
        reactors: usize,
        connections_max: u64,
        descriptors_max: u64,
        memory_bytes_max: u64,
        now: Moment,
    ) -> Vitals {
        let reactors: Vec<ReactorVitals> = (0..reactors).map(|_| ReactorVitals::default()).collect();
        for reactor in &reactors {
            reactor.turned.set(now.micros());
        }
        Vitals {
            drain: Drain::new(reactors.len(), Plan::default()),
            reactors,
            connections_max: AtomicU64::new(connections_max),
            descriptors_max,
            memory_bytes_max: AtomicU64::new(memory_bytes_max),
            memory_bytes: AtomicU64::new(0),
            descriptors_base: AtomicU64::new(0),
        }
    }

    /// True exactly when the process drains, or ends without.
    pub fn stopping(&self) -> bool {
        self.drain.phase() != Phase::Serving
    }

    /// All connections of the process.
    pub fn connections(&self) -> u64 {
        self.reactors.iter().map(|reactor| reactor.connections.read()).sum()
    }

    /// The first reactor that made no turn for [`SILENCE_MAX`], and for how long. While the process ends, none: a reactor that
    /// is done is silent.
    pub fn silent(&self, now: Moment) -> Option<(usize, Duration)> {
        if self.drain.phase() == Phase::Closing {
            return None;
        }
        self.reactors
            .iter()
            .map(|reactor| now.since(Moment::from_micros(reactor.turned.read())))
            .enumerate()
            .find(|(_, silence)| *silence >= SILENCE_MAX)
    }

    /// What the health reports are made of.
    pub fn readings<'a>(&self, now: Moment, snapshot: &'a Snapshot, instance: &'a str) -> Readings<'a> {
        let progress = self.drain.progress(now, self.connections());
        let drain = progress.began.map(|(_, since_ms)| Draining {
            phase: progress.phase.as_str(),
            since_ms,
            connections: progress.connections,
        });
        Readings {
            silent: self.silent(now),
            drain,
            connections: (self.connections(), self.connections_max()),
            memory_bytes: (self.memory_bytes(), self.memory_bytes_max()),
            descriptors: (self.descriptors(), self.descriptors_max),
            snapshot,
            instance,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Connections the process may have.
    pub fn connections_max(&self) -> u64 {
        self.connections_max.load(Ordering::Relaxed)
    }

    /// Resident memory past which handshakes are refused.
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.load(Ordering::Relaxed)
    }

    /// Other bounds hold from here on; who is over one stays.
    pub fn bound(&self, connections_max: u64, memory_bytes_max: u64) {
        self.connections_max.store(connections_max, Ordering::Relaxed);
        self.memory_bytes_max.store(memory_bytes_max, Ordering::Relaxed);
    }

    /// Notes the resident memory.
    pub fn set_memory_bytes(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Resident memory when it was last looked at.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Notes the descriptors that are open before the first connection.
    pub fn set_descriptors_base(&self, descriptors: u64) {
        self.descriptors_base.store(descriptors, Ordering::Relaxed);
    }

    /// Descriptors in use: those of the start, and one a connection. Counting them all would read a folder
    /// of as many entries.
    pub fn descriptors(&self) -> u64 {
        self.descriptors_base.load(Ordering::Relaxed) + self.connections()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::snapshot::Snapshot;

    fn ms(n: u64) -> Moment {
        Moment::from_micros(n * 1_000)
    }

    #[test]
    fn the_longest_turn_is_remembered_for_ten_seconds_and_one_that_lasts_grows() {
        let reactor = ReactorVitals::default();
        reactor.note_turn(ms(3_600_000), ms(3_600_300));
        reactor.note_turn(ms(3_600_300), ms(3_600_310));
        assert_eq!(reactor.longest_turn(ms(3_609_900)), Duration::from_millis(300));
        assert_eq!(reactor.longest_turn(ms(3_612_000)), Duration::ZERO);
        reactor.began.set(ms(3_613_000).micros());
        assert_eq!(reactor.longest_turn(ms(3_620_000)), Duration::from_secs(7));
        reactor.note_turn(ms(3_613_000), ms(3_620_500));
        assert_eq!(reactor.longest_turn(ms(3_621_000)), Duration::from_millis(7_500));
    }

    #[test]
    fn live_fails_exactly_when_a_reactor_is_silent_for_five_seconds() {
        let vitals = Vitals::new(2, 10, 10, 10, ms(3_600_000));
        let snapshot = Snapshot::ok();
        let live = |at| vitals.readings(at, &snapshot, "a").live();
        if let [first, _] = vitals.reactors.as_slice() {
            first.note_turn(ms(3_604_000), ms(3_604_000));
        }
        assert_eq!(live(ms(3_604_999)).status, 200);
        let silent = live(ms(3_605_000));
        assert_eq!(silent.status, 503);
        assert!(silent.body.contains("reactor 1 made no turn for 5000 ms"), "{}", silent.body);
    }
}
