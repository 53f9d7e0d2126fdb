//! The current state of the process, readable by all threads without a lock.

use super::Cell;
use super::drain::Drain;
use super::flags::FlagBoard;
use super::latency::LatencyCells;
use super::rebalance::Rebalance;
use super::settings::SettingsBoard;
use crate::clock::Moment;
use crate::drain::{DrainPhase, Plan};
use crate::health::report::{DrainSummary, Readings};
use crate::health::snapshot::Snapshot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A reactor that makes no turn for this time counts as not alive.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The number of seconds for which the longest turn is remembered.
const TURN_MEMORY_S: u64 = 10;
/// Shorter turns are not remembered because no client notices them.
const TURN_NOTED: Duration = Duration::from_millis(1);

/// The signs of life of one reactor.
#[derive(Debug, Default)]
pub struct ReactorVitals {
    /// The end of the wait before the last turn.
    pub began: Cell,
    /// The end of the last turn.
    pub turned: Cell,
    pub connections: Cell,
    /// From reading a publish command to its acknowledgement.
    pub publishes: LatencyCells,
    /// From the commit of a publication to the outbox of each live subscriber.
    pub deliveries: LatencyCells,
    /// From a well-formed upgrade to `connected`, the wait for the client's `connect` left out.
    pub handshakes: LatencyCells,
    /// From reading a token to the verdict on it.
    pub tokens: LatencyCells,
    /// The users of its sessions about a second ago: a [`Crowd`].
    pub crowd: Cell,
    /// The longest turn of each recent second: the second in the high half, microseconds in the low half.
    longest: [Cell; TURN_MEMORY_S as usize + 2],
}

impl ReactorVitals {
    /// Records a finished turn. Only the reactor itself may call it.
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

    /// The longest turn of the last 10 s that took at least 1 ms. A turn in progress counts with its age so far.
    pub fn longest_turn(&self, now: Moment) -> Duration {
        let recent = second_of(now).saturating_sub(TURN_MEMORY_S)..=second_of(now);
        let past = self.longest.iter().map(Cell::read).filter(|noted| recent.contains(&(noted >> 32)));
        let past = past.map(|noted| noted & u64::from(u32::MAX)).max().unwrap_or(0);
        let began = Moment::from_micros(self.began.read());
        let lasts = if began.micros() > self.turned.read() { now.since(began) } else { Duration::ZERO };
        lasts.max(Duration::from_micros(past))
    }
}

/// The users with sessions, as far as shares depend on them: a user that is alone needs no share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crowd {
    #[default]
    Empty,
    /// One user, or one address of anonymous clients: a hash of it.
    One(u64),
    Several,
}

impl Crowd {
    /// The users of both.
    pub fn and(self, other: Crowd) -> Crowd {
        match (self, other) {
            (Crowd::Empty, crowd) | (crowd, Crowd::Empty) => crowd,
            (Crowd::One(one), Crowd::One(other)) if one == other => self,
            (_, _) => Crowd::Several,
        }
    }

    /// As a number for a [`Cell`].
    pub fn to_cell(self) -> u64 {
        match self {
            Crowd::Empty => 0,
            Crowd::Several => 1,
            Crowd::One(number) => number.max(2),
        }
    }

    fn of_cell(number: u64) -> Crowd {
        match number {
            0 => Crowd::Empty,
            1 => Crowd::Several,
            number => Crowd::One(number),
        }
    }
}

/// The whole second of a moment. It fits into half a cell for 136 years of uptime.
fn second_of(moment: Moment) -> u64 {
    moment.micros() / 1_000_000
}

/// The state of the process; see the module.
#[derive(Debug)]
pub struct Vitals {
    /// Indexed by reactor.
    pub reactors: Vec<ReactorVitals>,
    /// The number of descriptors the process may open.
    pub descriptors_max: u64,
    connections_max: AtomicU64,
    memory_bytes_max: AtomicU64,
    memory_bytes: AtomicU64,
    cpu_us: AtomicU64,
    /// The start of the process in Unix milliseconds.
    started_unix_ms: AtomicU64,
    descriptors_base: AtomicU64,
    pub drain: Drain,
    pub rebalance: Rebalance,
    pub flags: FlagBoard,
    pub settings: SettingsBoard,
}

impl Vitals {
    /// Creates the state for `reactors` reactors, all alive at `now`.
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
            rebalance: Rebalance::new(reactors.len()),
            flags: FlagBoard::default(),
            settings: SettingsBoard::default(),
            reactors,
            connections_max: AtomicU64::new(connections_max),
            descriptors_max,
            memory_bytes_max: AtomicU64::new(memory_bytes_max),
            memory_bytes: AtomicU64::new(0),
            cpu_us: AtomicU64::new(0),
            started_unix_ms: AtomicU64::new(0),
            descriptors_base: AtomicU64::new(0),
        }
    }

    /// True exactly if the process drains, or ends without a drain.
    pub fn stopping(&self) -> bool {
        self.drain.phase() != DrainPhase::Serving
    }

    /// The open connections of all reactors.
    pub fn connections(&self) -> u64 {
        self.reactors.iter().map(|reactor| reactor.connections.read()).sum()
    }

    /// The users of all reactors, each as of about a second ago.
    pub fn crowd(&self) -> Crowd {
        let crowds = self.reactors.iter().map(|reactor| Crowd::of_cell(reactor.crowd.read()));
        crowds.fold(Crowd::Empty, Crowd::and)
    }

    /// The first reactor that made no turn for [`SILENCE_MAX`], and for how long. Returns none during
    /// [`DrainPhase::Closing`], because a reactor that has finished makes no turns.
    pub fn silent(&self, now: Moment) -> Option<(usize, Duration)> {
        if self.drain.phase() == DrainPhase::Closing {
            return None;
        }
        self.reactors
            .iter()
            .map(|reactor| now.since(Moment::from_micros(reactor.turned.read())))
            .enumerate()
            .find(|(_, silence)| *silence >= SILENCE_MAX)
    }

    /// The inputs of the health reports.
    pub fn readings<'a>(&self, now: Moment, snapshot: &'a Snapshot, instance: &'a str) -> Readings<'a> {
        let progress = self.drain.progress(now, self.connections());
        let drain = progress.began.map(|(_, since_ms)| DrainSummary {
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

    /// The bound on open connections.
    pub fn connections_max(&self) -> u64 {
        self.connections_max.load(Ordering::Relaxed)
    }

    /// The bound on resident memory. Above it, handshakes are refused.
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.load(Ordering::Relaxed)
    }

    /// Changes the bounds. Existing connections stay even if over the new bound.
    pub fn bound(&self, connections_max: u64, memory_bytes_max: u64) {
        self.connections_max.store(connections_max, Ordering::Relaxed);
        self.memory_bytes_max.store(memory_bytes_max, Ordering::Relaxed);
    }

    /// Records the resident memory and the processor time of all threads so far.
    pub fn set_use(&self, memory_bytes: u64, cpu: Duration) {
        self.memory_bytes.store(memory_bytes, Ordering::Relaxed);
        let cpu_us = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
        self.cpu_us.store(cpu_us, Ordering::Relaxed);
    }

    /// The processor time of all threads at the last measurement.
    pub fn cpu(&self) -> Duration {
        Duration::from_micros(self.cpu_us.load(Ordering::Relaxed))
    }

    /// Records the start of the process in Unix milliseconds.
    pub fn set_started(&self, unix_ms: u64) {
        self.started_unix_ms.store(unix_ms, Ordering::Relaxed);
    }

    /// The start of the process since the Unix epoch.
    pub fn started(&self) -> Duration {
        Duration::from_millis(self.started_unix_ms.load(Ordering::Relaxed))
    }

    /// The resident memory at the last measurement.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Records the number of descriptors that are open before the first connection.
    pub fn set_descriptors_base(&self, descriptors: u64) {
        self.descriptors_base.store(descriptors, Ordering::Relaxed);
    }

    /// Descriptors in use: those at the start plus one for each connection. An exact count would have to read a
    /// directory with as many entries.
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
    fn longest_turn_is_remembered_for_ten_seconds_and_a_running_one_grows() {
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
    fn crowd_is_one_only_if_all_reactors_have_the_same_user_or_none() {
        let vitals = Vitals::new(3, 10, 10, 10, ms(0));
        let crowds = |crowds: [Crowd; 3]| {
            vitals
                .reactors
                .iter()
                .zip(crowds)
                .for_each(|(reactor, crowd)| reactor.crowd.set(crowd.to_cell()));
            vitals.crowd()
        };
        let (empty, ann, bob) = (Crowd::Empty, Crowd::One(7), Crowd::One(8));
        assert_eq!(crowds([empty; 3]), empty);
        assert_eq!(crowds([ann, empty, ann]), ann);
        assert_eq!(crowds([ann, empty, bob]), Crowd::Several);
        assert_eq!(crowds([empty, Crowd::Several, empty]), Crowd::Several);
        assert_eq!(Crowd::One(1).to_cell(), 2, "no other state");
    }

    #[test]
    fn live_fails_exactly_when_a_reactor_makes_no_turn_for_five_seconds() {
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
