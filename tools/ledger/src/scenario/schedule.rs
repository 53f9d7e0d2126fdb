//! Which fault comes when: all of it drawn from a seed, before anything runs.

use crate::arguments::Store;
use crate::clock::{Micros, SECOND, seconds};
use fastrand::Rng;
use seawall_fault::{Direction, Mode, Pace};
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// Load alone before the first fault and after the last, and the rest between two.
const MARGIN: Micros = 3 * SECOND;
const REST: (Micros, Micros) = (SECOND, 4 * SECOND);
/// How long a fault lasts.
const LENGTH: (Micros, Micros) = (SECOND / 2, 7 * SECOND);
/// In a run shorter than this, faults are short, so that each kind finds its turn.
const SHORT: Micros = 120 * SECOND;
const SHORT_LENGTH: (Micros, Micros) = (SECOND / 2, 2 * SECOND);
const SHORT_REST: (Micros, Micros) = (SECOND / 2, SECOND);

/// What stands behind the gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// PostgreSQL.
    Store,
    /// Redis.
    Bus,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// A gateway is killed, and started again at the end.
    Kill(u8),
    /// A gateway is stopped by SIGSTOP.
    Freeze(u8),
    /// A gateway is asked to end; then another is started.
    Drain(u8),
    /// All connections are lost at once, from the clients' side.
    Storm,
    /// The way from the clients to a gateway.
    Clients(u8, Mode),
    /// The way of a gateway to what stands behind it.
    Way(u8, Behind, Mode),
    /// A server behind the gateways is killed, and started again at the end.
    KillBehind(Behind),
    /// A server behind the gateways is stopped by SIGSTOP.
    FreezeBehind(Behind),
}

/// A fault with its times, counted from the beginning of the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned {
    /// When it begins.
    pub at: Micros,
    /// How long it lasts; a drain lasts as long as it does.
    pub length: Micros,
    /// What it is.
    pub fault: Fault,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill(slot) => write!(f, "kill -9 of gateway {slot}"),
            Fault::Freeze(slot) => write!(f, "SIGSTOP of gateway {slot}"),
            Fault::Drain(slot) => write!(f, "drain and replacement of gateway {slot}"),
            Fault::Storm => f.write_str("all clients lost at once"),
            Fault::Clients(slot, mode) => write!(f, "clients to gateway {slot}: {mode}"),
            Fault::Way(slot, behind, mode) => write!(f, "gateway {slot} to {behind}: {mode}"),
            Fault::KillBehind(behind) => write!(f, "kill -9 of {behind}"),
            Fault::FreezeBehind(behind) => write!(f, "SIGSTOP of {behind}"),
        }
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Behind::Store => "PostgreSQL",
            Behind::Bus => "Redis",
        })
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.1} s  {:4.1} s  {}", seconds(self.at), seconds(self.length), self.fault)
    }
}

/// The schedule of a run so long. Kinds come in shuffled rounds, so that none is forgotten.
pub fn schedule(seed: u64, length: Micros, store: Store) -> Vec<Planned> {
    let mut rng = Rng::with_seed(seed);
    let (lengths, rests) = if length < SHORT { (SHORT_LENGTH, SHORT_REST) } else { (LENGTH, REST) };
    let gateways = match store {
        Store::Sqlite => 1,
        Store::Postgres => 2,
    };
    let (mut planned, mut round, mut at) = (Vec::new(), Vec::new(), MARGIN);
    while at + lengths.1 + MARGIN < length {
        if round.is_empty() {
            round = kinds(&mut rng, gateways, store);
            rng.shuffle(&mut round);
        }
        let Some(fault) = round.pop() else { break };
        let long = rng.u64(lengths.0..lengths.1);
        planned.push(Planned { at, length: long, fault });
        at += long + rng.u64(rests.0..rests.1);
    }
    planned
}

/// What can be done to a way.
const ON_THE_WAY: [Mode; 9] = [
    Mode::Cut,
    Mode::Reset,
    Mode::Stall,
    Mode::HalfOpen(Direction::Answers),
    Mode::HalfOpen(Direction::Requests),
    Mode::Slow(Pace { bytes_per_s: NonZeroU64::new(20_000), latency: Duration::from_millis(150) }),
    Mode::ResetOnce(20_000),
    Mode::BlackHole,
    Mode::Refuse,
];
/// So many of them in a round, for the ways of clients, and of gateways.
const IN_A_ROUND: usize = 2;

/// A round: all that happens to processes, and some of what happens to ways, each at a gateway of its own.
fn kinds(rng: &mut Rng, gateways: u8, store: Store) -> Vec<Fault> {
    let slot = |rng: &mut Rng| rng.u8(..gateways);
    let mut all =
        vec![Fault::Kill(slot(rng)), Fault::Freeze(slot(rng)), Fault::Drain(slot(rng)), Fault::Storm];
    for mode in rng.choose_multiple(ON_THE_WAY, IN_A_ROUND) {
        all.push(Fault::Clients(slot(rng), mode));
    }
    match store {
        Store::Sqlite => {}
        Store::Postgres => {
            for behind in [Behind::Store, Behind::Bus] {
                all.extend([Fault::KillBehind(behind), Fault::FreezeBehind(behind)]);
                for mode in rng.choose_multiple(ON_THE_WAY, IN_A_ROUND) {
                    all.push(Fault::Way(slot(rng), behind, mode));
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_schedule_and_another_is_another() {
        let of = |seed| schedule(seed, 600 * SECOND, Store::Postgres);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    #[test]
    fn faults_follow_one_another_and_leave_room_at_both_ends() {
        for (length, store) in
            [(45 * SECOND, Store::Postgres), (1_800 * SECOND, Store::Postgres), (45 * SECOND, Store::Sqlite)]
        {
            let planned = schedule(7, length, store);
            assert!(planned.len() >= 12, "{} in {} s", planned.len(), seconds(length));
            assert!(planned.iter().all(|one| one.at >= MARGIN && one.at + one.length + MARGIN <= length));
            assert!(planned.windows(2).all(|two| two[0].at + two[0].length < two[1].at));
        }
    }

    #[test]
    fn a_long_run_has_every_kind() {
        let planned = schedule(1, 1_800 * SECOND, Store::Postgres);
        let has = |is: fn(&Fault) -> bool| planned.iter().any(|one| is(&one.fault));
        assert!(has(|it| matches!(it, Fault::Kill(_))) && has(|it| matches!(it, Fault::Freeze(_))));
        assert!(has(|it| matches!(it, Fault::Drain(_))) && has(|it| *it == Fault::Storm));
        assert!(has(|it| matches!(it, Fault::Way(_, Behind::Store, Mode::Reset))));
        assert!(has(|it| *it == Fault::FreezeBehind(Behind::Bus)));
    }
}
