//! The thread `rebalance`: once a second it compares the connections of this instance with those of the others, and has reactors
//! ask clients to move.

use crate::clock::{Moment, Now};
use crate::cluster::instance::InstanceState;
use crate::cluster::report::ClusterReport;
use crate::cluster::spread::{InstanceLoad, PERIOD, Picture, Sight, Spread, SpreadState};
use crate::job::registry::ClusterBoard;
use crate::job::wake::wake;
use crate::job::{Broadcast, Mailbox};
use crate::metrics::vitals::Vitals;
use crate::random::Random;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The parts that the thread shares with others.
pub struct RebalanceParts {
    /// The name of this instance.
    pub name: Arc<str>,
    /// Knows the connections of the others.
    pub board: Arc<ClusterBoard>,
    /// Knows the own ones, and what is wanted.
    pub vitals: Arc<Vitals>,
    pub mailboxes: Arc<[Mailbox]>,
}

/// A thread that runs.
#[derive(Debug)]
pub struct RunningRebalance {
    /// Its drop ends the thread.
    alive: Sender<Infallible>,
    thread: JoinHandle<()>,
}

/// Starts the thread.
pub fn start(
    parts: RebalanceParts,
    clock: impl Fn() -> Now + Send + 'static,
) -> io::Result<RunningRebalance> {
    let (alive, over) = bounded(0);
    let begun = clock().at;
    let worker = RebalanceWorker {
        begun,
        spread: Spread::new(begun),
        orders: (0, None),
        random: Random::seeded(fastrand::u64(..)),
        parts,
        clock,
    };
    let thread = Builder::new().name("rebalance".into()).spawn(move || worker.run(&over))?;
    Ok(RunningRebalance { alive, thread })
}

impl RunningRebalance {
    /// Ends the thread.
    pub fn stop(self) {
        drop(self.alive);
        if self.thread.join().is_err() {
            tracing::error!("rebalance panicked");
        }
    }
}

struct RebalanceWorker<C> {
    parts: RebalanceParts,
    clock: C,
    /// The beginning of the last turn.
    begun: Moment,
    spread: Spread,
    /// The own orders that were taken, and the order of another instance.
    orders: (u64, Option<u32>),
    random: Random,
}

impl<C: Fn() -> Now> RebalanceWorker<C> {
    fn run(mut self, over: &Receiver<Infallible>) {
        while over.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            if catch_unwind(AssertUnwindSafe(|| self.turn((self.clock)().at))).is_err() {
                tracing::error!(hint = "this is a fault of seawall: report it", "rebalance restarted");
                self.spread = Spread::new(self.begun);
            }
        }
    }

    fn turn(&mut self, now: Moment) {
        self.begun = now;
        let RebalanceParts { name, board, vitals, .. } = &self.parts;
        let (report, rebalance) = (board.report(), &vitals.rebalance);
        let ordered = (rebalance.orders(), ordered_elsewhere(&report, name));
        if std::mem::replace(&mut self.orders, ordered) != ordered {
            self.spread.retry();
        }
        let (others, picture) = others(&report, name);
        let moves = rebalance.moves();
        let sight = Sight {
            connections: vitals.connections(),
            others: &others,
            picture,
            longest_turn: vitals.reactors.iter().map(|it| it.longest_turn(now)).max().unwrap_or_default(),
            moves,
        };
        let before = self.spread.state();
        let within = rebalance.within_percent(now).into_iter().chain(ordered.1).min();
        let within = within.map(|percent| f64::from(percent.clamp(3, 100)) / 100.0);
        let targets = self.spread.decide(now, &sight, within, &mut self.random);
        let state = self.spread.state();
        rebalance.note(state);
        if state != before {
            log(before, state, sight.connections);
        }
        // A reactor notices which clients stayed when it is asked again.
        if !targets.is_empty() || moves.waiting > 0 {
            self.ask(targets);
        }
    }

    /// Gives each reactor a part of the targets, in proportion to its connections.
    fn ask(&mut self, targets: Vec<Arc<str>>) {
        let RebalanceParts { vitals, mailboxes, .. } = &self.parts;
        let counts: Vec<u64> = vitals.reactors.iter().map(|it| it.connections.read()).collect();
        let all: u64 = counts.iter().sum();
        let mut parts: Vec<Vec<Arc<str>>> = vec![Vec::new(); mailboxes.len()];
        for target in targets {
            let mut place = self.random.u64() % all.max(1);
            let reactor = counts.iter().position(|count| {
                let is_here = place < *count;
                place = place.saturating_sub(*count);
                is_here
            });
            if let Some(part) = parts.get_mut(reactor.unwrap_or(0)) {
                part.push(target);
            }
        }
        for (mailbox, part) in mailboxes.iter().zip(parts) {
            // A full lane loses it, and the next second asks again.
            mailbox.offer(Broadcast::Move(Arc::from(part)));
            wake(mailbox);
        }
    }
}

/// The distance from the mean that an operator ordered at another instance, in percent.
fn ordered_elsewhere(report: &ClusterReport, own: &str) -> Option<u32> {
    let others = report.instances.iter().filter(|instance| instance.name != own);
    others.filter_map(|other| other.stats.as_ref()?.rebalance.ordered_percent).min()
}

/// The other live instances with their connections, and whether that is all of them.
fn others(report: &ClusterReport, own: &str) -> (Vec<InstanceLoad>, Picture) {
    let mut picture = if report.complete { Picture::Whole } else { Picture::Partial };
    let mut others = Vec::new();
    for instance in report.instances.iter().filter(|instance| instance.name != own) {
        match (&instance.stats, instance.state) {
            (Some(stats), state) if state == InstanceState::Alive.as_str() => {
                others
                    .push(InstanceLoad { name: Arc::from(&*instance.name), connections: stats.connections });
            }
            (_, state) if state == InstanceState::Gone.as_str() || state == InstanceState::Left.as_str() => {}
            _ => picture = Picture::Partial,
        }
    }
    if !report.shared_names.is_empty() {
        picture = Picture::Partial;
    }
    (others, picture)
}

fn log(before: SpreadState, state: SpreadState, connections: u64) {
    match (before, state) {
        (_, SpreadState::Moving) => tracing::info!(connections, "rebalance begun"),
        (SpreadState::Moving, SpreadState::Even | SpreadState::Waiting) => {
            tracing::info!(connections, state = state.as_str(), "rebalance ended");
        }
        (_, SpreadState::Returning) => tracing::warn!(
            connections,
            hint = "let the load balancer follow hints or count connections: docs/deploy.md#hints",
            "rebalance ended because clients come back"
        ),
        (_, SpreadState::Even | SpreadState::Waiting) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::report::InstanceReport;
    use crate::wire::stats::{InstanceStats, RebalanceStats};
    use std::sync::atomic::{AtomicU32, Ordering};

    fn instance(name: &str, state: InstanceState, connections: Option<u64>) -> InstanceReport {
        let stats = connections.map(|connections| InstanceStats { connections, ..InstanceStats::default() });
        InstanceReport { name: name.into(), state: state.as_str(), age_ms: 0, stats }
    }

    fn report(instances: Vec<InstanceReport>) -> ClusterReport {
        ClusterReport { complete: true, instances, ..ClusterReport::default() }
    }

    #[test]
    fn picture_is_whole_only_if_every_living_instance_serves_with_a_known_load() {
        let own = || instance("a", InstanceState::Alive, Some(9));
        let alive = |connections| instance("b", InstanceState::Alive, connections);
        let (loads, picture) =
            others(&report(vec![own(), alive(Some(3)), instance("c", InstanceState::Gone, None)]), "a");
        assert_eq!((loads.len(), loads[0].connections, picture), (1, 3, Picture::Whole));
        for other in [
            alive(None),
            instance("b", InstanceState::Draining, Some(1)),
            instance("b", InstanceState::Isolated, Some(1)),
        ] {
            assert_eq!(others(&report(vec![own(), other]), "a").1, Picture::Partial);
        }
        let incomplete = ClusterReport { complete: false, ..report(vec![own(), alive(Some(3))]) };
        assert_eq!(others(&incomplete, "a").1, Picture::Partial);
    }

    #[test]
    fn order_at_another_instance_is_taken() {
        let mut other = instance("b", InstanceState::Alive, Some(1));
        assert_eq!(ordered_elsewhere(&report(vec![other.clone()]), "a"), None);
        let rebalance = RebalanceStats { ordered_percent: Some(5), ..RebalanceStats::default() };
        other.stats = other.stats.map(|stats| InstanceStats { rebalance, ..stats });
        assert_eq!(ordered_elsewhere(&report(vec![other.clone()]), "a"), Some(5));
        assert_eq!(ordered_elsewhere(&report(vec![other]), "b"), None, "the own one is known");
    }

    #[test]
    fn panic_ends_a_turn_and_not_the_thread() {
        let (call, calls) = bounded(8);
        let number = AtomicU32::new(0);
        let clock = move || {
            let number = number.fetch_add(1, Ordering::Relaxed);
            // The first call is of the start, the second of the first turn.
            let _ = call.try_send(number);
            assert_ne!(number, 1, "this test has the turn panic");
            Now { at: Moment::ZERO, unix_ms: 0 }
        };
        let parts = RebalanceParts {
            name: Arc::from("a"),
            board: Arc::default(),
            vitals: Arc::new(Vitals::new(1, 10, 10, u64::MAX, Moment::ZERO)),
            mailboxes: Arc::from(Vec::new()),
        };
        let running = start(parts, clock).expect("a thread");
        let seen: Vec<u32> = (0..3).map(|_| calls.recv_timeout(PERIOD * 20).expect("another turn")).collect();
        assert_eq!(seen, [0, 1, 2]);
        running.stop();
    }
}
