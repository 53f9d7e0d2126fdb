//! The schedule of faults, drawn completely from a seed before the run starts.

use crate::arguments::Store;
use crate::clock::{Micros, SECOND, seconds};
use fastrand::Rng;
use seawall_fault::{Direction, Mode, Pace};
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// Load without faults at the start and at the end; the pause between two faults is drawn from `REST`.
const MARGIN: Micros = 3 * SECOND;
const REST: (Micros, Micros) = (SECOND, 4 * SECOND);
/// The range of a fault's duration.
const LENGTH: (Micros, Micros) = (SECOND / 2, 7 * SECOND);
/// The same of `cluster`: a gateway that is stopped for longer than five seconds is `gone` for the others.
const CLUSTER_LENGTH: (Micros, Micros) = (SECOND, 12 * SECOND);
const CLUSTER_REST: (Micros, Micros) = (2 * SECOND, 8 * SECOND);
/// Gateways ask no client to move until no gateway came or went for 30 s.
const REBALANCE: Micros = 55 * SECOND;
/// Runs shorter than this use short faults, so that each kind occurs.
const SHORT: Micros = 120 * SECOND;
const SHORT_LENGTH: (Micros, Micros) = (SECOND / 2, 2 * SECOND);
const SHORT_REST: (Micros, Micros) = (SECOND / 2, SECOND);

/// A server that gateways depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    Store,
    Bus,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// A gateway is killed, and restarted at the end.
    Kill(u8),
    /// A gateway is stopped by SIGSTOP.
    Freeze(u8),
    /// A gateway is asked to shut down; then another is started.
    Drain(u8),
    /// All connections are lost at once, from the clients' side.
    Storm,
    /// A fault on the path from the clients to a gateway.
    Clients(u8, Mode),
    /// A fault on the path from a gateway to a dependency.
    Path(u8, Dependency, Mode),
    /// A dependency is killed, and restarted at the end.
    KillDependency(Dependency),
    /// A dependency is stopped by SIGSTOP.
    FreezeDependency(Dependency),
    /// A dependency is stopped in order, and started at the end.
    StopDependency(Dependency),
    /// A fault on the paths from all gateways to a dependency.
    Paths(Dependency, Mode),
    /// Redis loses all its keys and continues.
    Empty,
    /// The gateways are ordered to spread their connections, and have time for it.
    Rebalance,
}

/// A scheduled fault, with times from the start of the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned {
    pub at: Micros,
    /// How long it lasts; a drain lasts as long as the shutdown takes.
    pub length: Micros,
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
            Fault::Path(slot, dependency, mode) => write!(f, "gateway {slot} to {dependency}: {mode}"),
            Fault::KillDependency(dependency) => write!(f, "kill -9 of {dependency}"),
            Fault::FreezeDependency(dependency) => write!(f, "SIGSTOP of {dependency}"),
            Fault::StopDependency(dependency) => write!(f, "restart of {dependency}"),
            Fault::Paths(dependency, mode) => write!(f, "all gateways to {dependency}: {mode}"),
            Fault::Empty => f.write_str("FLUSHALL"),
            Fault::Rebalance => f.write_str("rebalance"),
        }
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dependency::Store => "PostgreSQL",
            Dependency::Bus => "Redis",
        })
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.1} s  {:4.1} s  {}", seconds(self.at), seconds(self.length), self.fault)
    }
}

/// How long faults last, how long the pauses between them are, and which faults a round has.
pub struct Draw<'a> {
    lengths: (Micros, Micros),
    rests: (Micros, Micros),
    kinds: &'a dyn Fn(&mut Rng) -> Vec<Fault>,
}

/// Draws the schedule of `faults`: one gateway with SQLite, two with PostgreSQL.
pub fn of_few(seed: u64, length: Micros, store: Store) -> Vec<Planned> {
    let (lengths, rests) = if length < SHORT { (SHORT_LENGTH, SHORT_REST) } else { (LENGTH, REST) };
    let gateways = match store {
        Store::Sqlite => 1,
        Store::Postgres => 2,
    };
    schedule(seed, length, &Draw { lengths, rests, kinds: &|rng| kinds(rng, gateways, store) })
}

/// Draws the schedule of `cluster`. Gateway 0 is never killed nor replaced, so that its memory is watched for the whole run.
pub fn of_cluster(seed: u64, length: Micros, gateways: u8) -> Vec<Planned> {
    let is_short = length < SHORT;
    let (lengths, rests) = if is_short { (SHORT_LENGTH, SHORT_REST) } else { (CLUSTER_LENGTH, CLUSTER_REST) };
    let kinds = |rng: &mut Rng| {
        let mut all = cluster_kinds(rng, gateways);
        // It takes longer than a short run.
        all.extend((!is_short).then_some(Fault::Rebalance));
        all
    };
    schedule(seed, length, &Draw { lengths, rests, kinds: &kinds })
}

/// Draws a schedule. Kinds come in shuffled rounds, so that none is left out.
fn schedule(seed: u64, length: Micros, draw: &Draw<'_>) -> Vec<Planned> {
    let Draw { lengths, rests, kinds } = draw;
    let mut rng = Rng::with_seed(seed);
    let (mut planned, mut round, mut at) = (Vec::new(), Vec::new(), MARGIN);
    while at + lengths.1 + MARGIN < length {
        if round.is_empty() {
            round = kinds(&mut rng);
            rng.shuffle(&mut round);
        }
        let Some(fault) = round.pop() else { break };
        let long = match fault {
            Fault::Rebalance if at + REBALANCE + MARGIN >= length => continue,
            Fault::Rebalance => REBALANCE,
            _ => rng.u64(lengths.0..lengths.1),
        };
        planned.push(Planned { at, length: long, fault });
        at += long + rng.u64(rests.0..rests.1);
    }
    planned
}

/// Draws a round of `cluster`: the faults of each server and gateway, and some of paths.
fn cluster_kinds(rng: &mut Rng, gateways: u8) -> Vec<Fault> {
    let any = |rng: &mut Rng| rng.u8(..gateways);
    let replaced = |rng: &mut Rng| rng.u8(1..gateways.max(2));
    let mut all = vec![
        Fault::Kill(replaced(rng)),
        Fault::Kill(replaced(rng)),
        Fault::Drain(replaced(rng)),
        Fault::Freeze(any(rng)),
        Fault::Storm,
        Fault::Empty,
    ];
    for dependency in [Dependency::Store, Dependency::Bus] {
        all.extend([
            Fault::KillDependency(dependency),
            Fault::FreezeDependency(dependency),
            Fault::StopDependency(dependency),
        ]);
        for mode in rng.choose_multiple(PATH_FAULTS, PATH_FAULTS_PER_ROUND) {
            all.push(Fault::Path(any(rng), dependency, mode));
        }
        let mode = rng.choice([Mode::Cut, Mode::Reset, Mode::Stall]).unwrap_or(Mode::Cut);
        all.push(Fault::Paths(dependency, mode));
    }
    all
}

/// The faults of a path.
const PATH_FAULTS: [Mode; 9] = [
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
/// The number of path faults per round, for the clients' paths and for the gateways'.
const PATH_FAULTS_PER_ROUND: usize = 2;

/// Draws a round: all faults of processes and some of paths, each at a random gateway.
fn kinds(rng: &mut Rng, gateways: u8, store: Store) -> Vec<Fault> {
    let slot = |rng: &mut Rng| rng.u8(..gateways);
    let mut all =
        vec![Fault::Kill(slot(rng)), Fault::Freeze(slot(rng)), Fault::Drain(slot(rng)), Fault::Storm];
    for mode in rng.choose_multiple(PATH_FAULTS, PATH_FAULTS_PER_ROUND) {
        all.push(Fault::Clients(slot(rng), mode));
    }
    match store {
        Store::Sqlite => {}
        Store::Postgres => {
            for dependency in [Dependency::Store, Dependency::Bus] {
                all.extend([Fault::KillDependency(dependency), Fault::FreezeDependency(dependency)]);
                for mode in rng.choose_multiple(PATH_FAULTS, PATH_FAULTS_PER_ROUND) {
                    all.push(Fault::Path(slot(rng), dependency, mode));
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
    fn schedule_depends_only_on_the_seed() {
        let of = |seed| of_few(seed, 600 * SECOND, Store::Postgres);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
        let of = |seed| of_cluster(seed, 600 * SECOND, 10);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    #[test]
    fn faults_do_not_overlap_and_leave_margins_at_both_ends() {
        for (length, store) in
            [(45 * SECOND, Store::Postgres), (1_800 * SECOND, Store::Postgres), (45 * SECOND, Store::Sqlite)]
        {
            let planned = of_few(7, length, store);
            assert!(planned.len() >= 12, "{} in {} s", planned.len(), seconds(length));
            assert!(planned.iter().all(|one| one.at >= MARGIN && one.at + one.length + MARGIN <= length));
            assert!(planned.windows(2).all(|two| two[0].at + two[0].length < two[1].at));
        }
    }

    #[test]
    fn long_run_has_every_kind_of_fault() {
        let planned = of_few(1, 1_800 * SECOND, Store::Postgres);
        let has = |is: fn(&Fault) -> bool| planned.iter().any(|one| is(&one.fault));
        assert!(has(|it| matches!(it, Fault::Kill(_))) && has(|it| matches!(it, Fault::Freeze(_))));
        assert!(has(|it| matches!(it, Fault::Drain(_))) && has(|it| *it == Fault::Storm));
        assert!(has(|it| matches!(it, Fault::Path(_, Dependency::Store, Mode::Reset))));
        assert!(has(|it| *it == Fault::FreezeDependency(Dependency::Bus)));
    }

    #[test]
    fn cluster_has_every_kind_of_fault_and_keeps_gateway_0() {
        let planned = of_cluster(1, 1_800 * SECOND, 10);
        let has = |is: fn(&Fault) -> bool| planned.iter().any(|one| is(&one.fault));
        assert!(
            has(|it| *it == Fault::Empty)
                && has(|it| *it == Fault::Rebalance)
                && has(|it| *it == Fault::Storm)
        );
        assert!(has(|it| *it == Fault::StopDependency(Dependency::Store)));
        assert!(has(|it| matches!(it, Fault::Paths(Dependency::Bus, _))));
        assert!(!has(|it| matches!(it, Fault::Kill(0) | Fault::Drain(0))));
        assert!(planned.windows(2).all(|two| two[0].at + two[0].length < two[1].at));
        let short = of_cluster(1, 20 * SECOND, 3);
        assert!(short.len() >= 5 && short.iter().all(|one| one.fault != Fault::Rebalance));
        assert!(short.iter().all(|one| one.at + one.length + MARGIN <= 20 * SECOND));
    }
}
