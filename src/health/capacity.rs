//! The health of the gateway itself, judged like a dependency: turns measurements into a finding.
//!
//! A cause means that something fails now, a warning that it soon will. A finding names all of them, and is a failure
//! if there is a cause.

use super::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate};
use super::finding::{Cause, Fault, Finding};
use std::sync::Arc;
use std::time::Duration;

/// The name of this process in reports, metrics and the log. No dependency may use it.
pub const NAME: &str = "gateway";

/// Defines the gateway as an optional dependency without a breaker. It appears only in reports, because a client that
/// could be sent its state is being served.
pub fn definition() -> Definition {
    Definition {
        name: Arc::from(NAME),
        kind: DependencyKind::Gateway,
        address: Arc::from("this process"),
        criticality: Criticality::Optional,
        gate: Gate::Handshake,
        ended_by: EndedBy::Probes,
        lost: Vec::new(),
        sentence: Arc::from(""),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        // The measurements already cover 10 s, and reading them does not fail by chance.
        failures: 1,
        successes: 2,
    }
}

/// Measurements of the process.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Descriptors in use, and their bound.
    pub descriptors: (u64, u64),
    /// Resident memory in bytes, and its bound.
    pub memory_bytes: (u64, u64),
    /// Commands of the last 10 s that failed because of the gateway or a dependency, and all commands.
    pub errors: (u64, u64),
    /// The longest turn of each reactor in the last 10 s, by its id. A turn in progress counts with its age.
    pub turns: &'a [Duration],
    /// The queues whose overflow is answered `overloaded`.
    pub queues: &'a [Depth],
    /// The queues whose overflow is recovered later.
    pub spares: &'a [Depth],
    /// The live lane of each reactor, by its id. A full lane costs reads and loses nothing.
    pub lanes: &'a [Depth],
}

/// The fill level of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    pub name: &'static str,
    /// Entries waiting in the queue.
    pub waiting: u64,
    pub bound: u64,
}

/// The use of descriptors or memory that causes a warning, in percent of the bound.
const WARN_PERCENT: u64 = 80;

/// The use of descriptors at which readiness fails too, in percent of the bound.
const DESCRIPTORS_FULL_PERCENT: u64 = 95;

/// The fill level at which a queue causes a warning, in percent: it fills faster than it is emptied.
const QUEUE_WARN_PERCENT: u64 = 50;

/// The turn length that all clients of a reactor notice, and the one at which the reactor counts as stalled (as for
/// `/health/live`).
const TURN_WARN: Duration = Duration::from_millis(100);
const TURN_STALLED: Duration = Duration::from_secs(5);

/// The failed commands, in percent, that cause a warning and a failure. With fewer commands than the minimum, a
/// percentage means nothing.
const ERRORS_WARN_PERCENT: u64 = 5;
const ERRORS_DOWN_PERCENT: u64 = 50;
const ERRORS_COMMANDS_MIN: u64 = 20;

const LOOK_AT: &str =
    "See /metrics for connections, turn times and queues; raise the bound, or add an instance.";

/// Judges the measurements. `latency` is the time it took to read them.
pub fn judge(load: &Load<'_>, latency: Duration) -> Finding {
    let findings = descriptors(load)
        .into_iter()
        .chain(memory(load))
        .chain(load.turns.iter().enumerate().filter_map(|(reactor, turn)| turns(reactor, *turn)))
        .chain(load.queues.iter().filter_map(|queue| queues(*queue)))
        .chain(load.spares.iter().filter_map(|queue| spares(*queue)))
        .chain(load.lanes.iter().enumerate().filter_map(|(reactor, lane)| lanes(reactor, *lane)))
        .chain(errors(load));
    let (mut causes, mut warnings) = (Vec::new(), Vec::new());
    for strain in findings {
        match strain {
            Strain::Fails(fault, text) => causes.push((fault, text)),
            Strain::Warns(text) => warnings.push(text),
        }
    }
    let result = match causes.first() {
        None => Ok((!warnings.is_empty()).then(|| warnings.join("; "))),
        Some((fault, _)) => {
            let texts: Vec<&str> = causes.iter().map(|(_, text)| text.as_str()).collect();
            Err(Cause::new(*fault, texts.join("; "), LOOK_AT))
        }
    };
    Finding { latency, result }
}

enum Strain {
    Warns(String),
    Fails(Fault, String),
}

/// Compares without overflow. Never true for a bound of 0, which means "none".
fn reaches(used: u64, bound: u64, percent: u64) -> bool {
    bound > 0 && u128::from(used) * 100 >= u128::from(bound) * u128::from(percent)
}

fn descriptors(load: &Load<'_>) -> Option<Strain> {
    let (used, bound) = load.descriptors;
    let text = format!("{used} of {bound} descriptors are in use");
    if reaches(used, bound, DESCRIPTORS_FULL_PERCENT) {
        return Some(Strain::Fails(Fault::ConnectionLimit, text));
    }
    reaches(used, bound, WARN_PERCENT).then_some(Strain::Warns(text))
}

fn memory(load: &Load<'_>) -> Option<Strain> {
    let (used, bound) = load.memory_bytes;
    let text = format!("{used} bytes of memory are in use; limits.memory_bytes is {bound}");
    if bound > 0 && used > bound {
        return Some(Strain::Fails(Fault::MemoryFull, text));
    }
    reaches(used, bound, WARN_PERCENT).then_some(Strain::Warns(text))
}

fn turns(reactor: usize, turn: Duration) -> Option<Strain> {
    let text = format!("a turn of reactor {reactor} took {} ms", turn.as_millis());
    if turn >= TURN_STALLED {
        return Some(Strain::Fails(Fault::Timeout, text));
    }
    (turn >= TURN_WARN).then_some(Strain::Warns(text))
}

fn queues(Depth { name, waiting, bound }: Depth) -> Option<Strain> {
    let text = format!("the {name} queue holds {waiting} of {bound}");
    if reaches(waiting, bound, 100) {
        return Some(Strain::Fails(
            Fault::Internal,
            format!("{text}: new requests are answered with overloaded"),
        ));
    }
    reaches(waiting, bound, QUEUE_WARN_PERCENT).then_some(Strain::Warns(text))
}

fn spares(Depth { name, waiting, bound }: Depth) -> Option<Strain> {
    reaches(waiting, bound, QUEUE_WARN_PERCENT)
        .then(|| Strain::Warns(format!("the {name} queue holds {waiting} of {bound}")))
}

fn lanes(reactor: usize, Depth { name, waiting, bound }: Depth) -> Option<Strain> {
    reaches(waiting, bound, QUEUE_WARN_PERCENT)
        .then(|| Strain::Warns(format!("the {name} lane of reactor {reactor} holds {waiting} of {bound}")))
}

fn errors(load: &Load<'_>) -> Option<Strain> {
    let (failed, all) = load.errors;
    if all < ERRORS_COMMANDS_MIN {
        return None;
    }
    let text = format!("{failed} of {all} commands failed in the last 10 s");
    if reaches(failed, all, ERRORS_DOWN_PERCENT) {
        return Some(Strain::Fails(Fault::Internal, text));
    }
    reaches(failed, all, ERRORS_WARN_PERCENT).then_some(Strain::Warns(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WELL: Load<'_> = Load {
        descriptors: (10, 100),
        memory_bytes: (1, 100),
        errors: (0, 1_000),
        turns: &[],
        queues: &[],
        spares: &[],
        lanes: &[],
    };

    const fn queue(waiting: u64) -> Depth {
        Depth { name: "store", waiting, bound: 10 }
    }

    fn warning(load: &Load<'_>) -> String {
        judge(load, Duration::ZERO).result.expect("only a warning").unwrap_or_default()
    }

    fn fault(load: &Load<'_>) -> (Fault, String) {
        let cause = judge(load, Duration::ZERO).result.expect_err("a cause");
        (cause.fault, cause.text)
    }

    #[test]
    fn gateway_with_room_has_no_finding() {
        let turns = [Duration::from_millis(3)];
        let load = Load { turns: &turns, queues: &[queue(0)], ..WELL };
        assert_eq!(judge(&load, Duration::ZERO).result, Ok(None));
    }

    #[test]
    fn each_measurement_warns_before_it_fails() {
        let second = [Duration::ZERO, Duration::from_millis(100)];
        let stalled = [Duration::from_secs(5)];
        let pairs: [(Load<'_>, &str, Load<'_>, Fault); 5] = [
            (
                Load { descriptors: (80, 100), ..WELL },
                "descriptors",
                Load { descriptors: (95, 100), ..WELL },
                Fault::ConnectionLimit,
            ),
            (
                Load { memory_bytes: (100, 100), ..WELL },
                "memory",
                Load { memory_bytes: (101, 100), ..WELL },
                Fault::MemoryFull,
            ),
            (
                Load { turns: &second, ..WELL },
                "reactor 1 took 100 ms",
                Load { turns: &stalled, ..WELL },
                Fault::Timeout,
            ),
            (
                Load { queues: &[queue(5)], ..WELL },
                "store queue holds 5 of 10",
                Load { queues: &[queue(10)], ..WELL },
                Fault::Internal,
            ),
            (
                Load { errors: (50, 1_000), ..WELL },
                "50 of 1000",
                Load { errors: (10, 20), ..WELL },
                Fault::Internal,
            ),
        ];
        for (strained, words, failing, kind) in pairs {
            let text = warning(&strained);
            assert!(text.contains(words), "{text}");
            assert_eq!(fault(&failing).0, kind, "{words}");
        }
    }

    #[test]
    fn full_lane_or_bus_queue_is_only_a_warning() {
        let text = warning(&Load { spares: &[queue(10)], ..WELL });
        assert!(text.contains("store queue holds 10 of 10"), "{text}");
        let text = warning(&Load { lanes: &[queue(0), queue(10)], ..WELL });
        assert!(text.contains("lane of reactor 1"), "{text}");
    }

    #[test]
    fn finding_names_everything_that_fails() {
        let (kind, text) = fault(&Load { descriptors: (99, 100), memory_bytes: (9, 1), ..WELL });
        assert_eq!(kind, Fault::ConnectionLimit);
        assert!(text.contains("descriptors") && text.contains("memory"), "{text}");
    }

    proptest! {
        #[test]
        fn higher_use_never_improves_the_finding(used in 0u64.., more in 0u64.., bound in 0u64..) {
            let rank = |used| match judge(&Load { descriptors: (used, bound), ..WELL }, Duration::ZERO).result {
                Ok(None) => 0,
                Ok(Some(_)) => 1,
                Err(_) => 2,
            };
            prop_assert!(rank(used) <= rank(used.saturating_add(more)));
        }
    }
}
