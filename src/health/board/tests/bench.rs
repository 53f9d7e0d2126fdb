//! A board on a virtual clock, with simulated dependencies.

use super::super::*;
use crate::health::definition::{DependencyKind, EndedBy, Gate};
use crate::health::dependency::Work;
use crate::health::finding::Fault;
use crate::health::snapshot::Level;

/// The behaviour of a simulated dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    Well,
    Refuses,
    Silent,
}

/// A board on a virtual clock, with probes that take simulated time.
pub(super) struct Bench {
    pub(super) board: Board,
    pub(super) ms: u64,
    pub(super) worlds: Vec<World>,
    flights: Vec<(u64, DueProbe, Finding)>,
    pub(super) events: Vec<Event>,
    pub(super) random: u64,
}

pub(super) fn definition(name: &str, kind: DependencyKind, criticality: Criticality) -> Definition {
    Definition {
        name: Arc::from(name),
        kind,
        address: Arc::from("db:5432"),
        criticality,
        gate: Gate::Handshake,
        ended_by: EndedBy::Probes,
        lost: vec![Arc::from(format!("{name}-things")), Arc::from("shared")],
        sentence: Arc::from(format!("Without {name}.")),
        interval: criticality.interval(),
        timeout: criticality.timeout(),
        failures: 2,
        successes: 2,
    }
}

pub(super) fn refused() -> Cause {
    Cause::new(Fault::Refused, "db:5432: connection refused", "Check whether it is running.")
}

pub(super) fn status(board: &Board) -> serde_json::Value {
    serde_json::from_str(&board.snapshot().status).expect("status is JSON")
}

impl Bench {
    pub(super) fn new(definitions: Vec<Definition>) -> Bench {
        let worlds = vec![World::Well; definitions.len()];
        let board = Board::new(definitions, AdmissionMode::Enforce, Bench::at(1_000));
        Bench { board, ms: 1_000, worlds, flights: Vec::new(), events: Vec::new(), random: 7 }
    }

    /// A store and an assistant, both known to be up.
    pub(super) fn pair() -> Bench {
        let mut bench = Bench::new(vec![
            definition("store", DependencyKind::Postgres, Criticality::Critical),
            definition("assistant", DependencyKind::Http, Criticality::Optional),
        ]);
        bench.run(10);
        assert_eq!(bench.level(), Level::Ok);
        bench.events.clear();
        bench
    }

    fn at(ms: u64) -> Now {
        Now { at: Moment::from_micros(ms * 1_000), unix_ms: 1_700_000_000_000 + ms }
    }

    pub(super) fn now(&self) -> Now {
        Bench::at(self.ms)
    }

    fn draw(&mut self) -> u64 {
        self.random = Draw::new(self.random).number();
        self.random
    }

    pub(super) fn level(&self) -> Level {
        self.board.snapshot().level
    }

    pub(super) fn take(&mut self, changes: Changes) {
        self.events.extend(changes.events);
    }

    fn begin_looks(&mut self) {
        while let Some(due) = self.board.due(self.now().at) {
            let timeout = due.definition.timeout;
            let (latency, result) = match self.worlds[due.dependency.0] {
                World::Well => (Duration::from_millis(3), Ok(None)),
                World::Refuses => (Duration::from_millis(1), Err(refused())),
                World::Silent => (timeout, Err(Cause::new(Fault::Timeout, "no answer", "its load"))),
            };
            let ends = self.ms + latency.as_millis() as u64;
            self.flights.push((ends, due, Finding { latency, result }));
        }
    }

    /// Advances millisecond by millisecond. Returns the number of milliseconds.
    pub(super) fn run_until(&mut self, limit_ms: u64, done: impl Fn(&Bench) -> bool) -> u64 {
        let start = self.ms;
        while self.ms - start < limit_ms && !done(self) {
            self.begin_looks();
            self.ms += 1;
            let (ended, flying) =
                std::mem::take(&mut self.flights).into_iter().partition(|(ends, ..)| *ends <= self.ms);
            self.flights = flying;
            for (_, due, finding) in Vec::<(u64, DueProbe, Finding)>::from_iter(ended) {
                let random = self.draw();
                let changes = self.board.observe(&due, finding, self.now(), random);
                self.take(changes);
            }
            if self.board.next_due().is_some_and(|due| due <= self.now().at) {
                let random = self.draw();
                let changes = self.board.tick(self.now(), random);
                self.take(changes);
            }
        }
        self.ms - start
    }

    pub(super) fn run(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// Makes a call to the store with this result.
    pub(super) fn work(&mut self, work: Work) -> bool {
        let id = self.board.id("store").expect("configured");
        let (now, random) = (self.now(), self.draw());
        match self.board.admit(id, Use::Write, now, random) {
            Ok(ticket) => {
                let changes = self.board.record(
                    PermittedCall { dependency: id, of: Use::Write, ticket },
                    CallResult { work, took: Duration::from_millis(1) },
                    now,
                    random,
                );
                self.take(changes);
                true
            }
            Err(open) => {
                assert!((100..=30_000).contains(&open.retry_ms));
                false
            }
        }
    }

    pub(super) fn downs(&self) -> Vec<Reference> {
        let reference = |event: &Event| match &event.what {
            HealthEventKind::Down { reference, .. } => Some(*reference),
            _ => None,
        };
        self.events.iter().filter_map(reference).collect()
    }
}
