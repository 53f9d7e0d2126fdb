//! A gateway's dependencies, which fail by the seed, under the board that judges them: probes, calls and handshakes as a process
//! makes them, on a clock of our own.

use super::promises::Promises;
use super::schedule::{chance, pause_ms};
use super::trace::Trace;
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::health::board::{Board, Changes, DependencyId, DueProbe, PermittedCall};
use seawall::health::breaker::{BreakerPosition, BreakerTicket};
use seawall::health::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate, Use};
use seawall::health::dependency::{CallResult, Work};
use seawall::health::finding::{Cause, Fault, Finding};
use seawall::health::snapshot::AdmissionMode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Steps with faults: some minutes.
const STEPS: u32 = 9_000;
/// All dependencies are well for the first period before the last check, and nothing happens for the second one after it.
const CALM: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(70);

/// How a dependency behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    Well,
    /// It refuses connections.
    Refuses,
    /// It says nothing.
    Silent,
    /// It answers that it cannot.
    Fails,
    /// Now this, now that.
    Moody,
}

impl Truth {
    pub fn is_bad(self) -> bool {
        match self {
            Truth::Refuses | Truth::Silent | Truth::Fails => true,
            Truth::Well | Truth::Moody => false,
        }
    }

    fn draw(rng: &mut Rng) -> Truth {
        [Truth::Refuses, Truth::Silent, Truth::Fails, Truth::Moody][rng.usize(..4)]
    }

    /// The result of a call, and its duration.
    fn meet(self, timeout: Duration, rng: &mut Rng) -> (Result<(), Fault>, Duration) {
        let now = match self {
            Truth::Moody if rng.bool() => Truth::Well,
            Truth::Moody => [Truth::Refuses, Truth::Silent, Truth::Fails][rng.usize(..3)],
            other => other,
        };
        let brief = Duration::from_millis(rng.u64(1..40));
        match now {
            Truth::Well | Truth::Moody => (Ok(()), brief),
            Truth::Refuses => (Err(Fault::Refused), brief),
            Truth::Fails => (Err(Fault::DiskFull), brief),
            Truth::Silent => (Err(Fault::Timeout), timeout),
        }
    }
}

/// Something under way, and what it will have met then.
#[derive(Debug)]
struct Under<T> {
    what: T,
    until: Moment,
    took: Duration,
    met: Result<(), Fault>,
}

/// The purpose of a call: ordinary work, or a trial of a breaker that is half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Work,
    Trial,
}

type Call = (DependencyId, Use, Option<BreakerTicket>);

pub struct Ground {
    board: Board,
    now: Now,
    rng: Rng,
    /// Of a hundred steps, how many begin a call: without any, the probes alone must see it all.
    busy: u8,
    truths: Vec<(Truth, Moment)>,
    looks: Vec<Under<DueProbe>>,
    calls: Vec<(Purpose, Under<Call>)>,
    promises: Promises,
    trace: Rc<Trace>,
}

fn definition(name: &str, kind: DependencyKind, criticality: Criticality, gate: Gate) -> Definition {
    Definition {
        name: Arc::from(name),
        kind,
        address: Arc::from("there"),
        criticality,
        gate,
        ended_by: EndedBy::Probes,
        lost: vec![Arc::from(name)],
        sentence: Arc::from("It is not there."),
        interval: criticality.interval(),
        timeout: criticality.timeout(),
        failures: 2,
        successes: 2,
    }
}

impl Ground {
    pub fn new(seed: u64, trace: Rc<Trace>) -> Ground {
        let now = Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_763_770_000_000 };
        let mut rng = Rng::with_seed(seed);
        let gate = Gate::ALL[rng.usize(..Gate::ALL.len())];
        let definitions = vec![
            definition("store", DependencyKind::Postgres, Criticality::Critical, Gate::Handshake),
            definition("auth", DependencyKind::Http, Criticality::Critical, gate),
            definition("bus", DependencyKind::Redis, Criticality::Optional, Gate::Handshake),
            definition("assistant", DependencyKind::Http, Criticality::Optional, Gate::Handshake),
        ];
        let count = definitions.len();
        let board = Board::new(definitions, AdmissionMode::Enforce, now);
        Ground {
            promises: Promises::new(&board, now),
            board,
            now,
            busy: [0, 5, 60][rng.usize(..3)],
            rng,
            truths: vec![(Truth::Well, now.at); count],
            looks: Vec::new(),
            calls: Vec::new(),
            trace,
        }
    }

    /// The whole of a run: faults, calm, and quiet.
    pub fn run(&mut self) {
        for _ in 0..STEPS {
            self.change_truths();
            self.step();
            if chance(&mut self.rng, 1) && self.rng.u8(..8) == 0 {
                self.switch_mode();
            }
        }
        self.truths.iter_mut().for_each(|truth| *truth = (Truth::Well, self.now.at));
        self.last_for(CALM);
        self.promises.check_all_is_well(&self.board);
        let before = self.promises.events;
        self.last_for(QUIET);
        assert_eq!(self.promises.events, before, "an event while nothing happens");
    }

    fn last_for(&mut self, length: Duration) {
        let end = self.now.at + length;
        while self.now.at < end {
            self.step();
        }
    }

    fn change_truths(&mut self) {
        for place in 0..self.truths.len() {
            let (truth, until) = self.truths[place];
            if until > self.now.at {
                continue;
            }
            let next = match truth {
                Truth::Well => Truth::draw(&mut self.rng),
                _ if chance(&mut self.rng, 20) => Truth::draw(&mut self.rng),
                _ => Truth::Well,
            };
            // Short ones are flapping, long ones are over it.
            let most = [400, 3_000, 20_000, 90_000][self.rng.usize(..4)];
            let length = Duration::from_millis(self.rng.u64(50..most));
            self.truths[place] = (next, self.now.at + length);
            self.trace.note(self.now, || format!("dependency {place} is {next:?} for {length:?}"));
        }
    }

    fn switch_mode(&mut self) {
        let mode = match self.board.mode() {
            AdmissionMode::Enforce => AdmissionMode::Observe,
            AdmissionMode::Observe => AdmissionMode::Enforce,
        };
        let changes = self.board.set_mode(mode, self.now);
        self.take(changes);
    }

    fn step(&mut self) {
        let pause = pause_ms(&mut self.rng);
        self.now.at = self.now.at + Duration::from_millis(pause);
        self.now.unix_ms += pause;
        self.end_looks();
        self.end_calls();
        let random = self.rng.u64(..);
        let changes = self.board.tick(self.now, random);
        self.take(changes);
        self.begin_looks();
        if chance(&mut self.rng, self.busy) {
            self.begin_call();
        }
        if self.busy > 0 && chance(&mut self.rng, 2) {
            // A connection was lost while it rested: that alone says nothing.
            let id = self.one();
            let cause = Cause::new(Fault::Reset, "a connection was lost", "nothing");
            let random = self.rng.u64(..);
            let changes = self.board.suspect(id, cause, self.now, random);
            self.take(changes);
        }
        self.promises.handshake(&self.board, self.now, self.rng.f32());
        let truths: Vec<Truth> = self.truths.iter().map(|(truth, _)| *truth).collect();
        self.promises.check_time(&self.board, &truths, self.now);
    }

    fn begin_looks(&mut self) {
        while let Some(due) = self.board.due(self.now.at) {
            let place = due.dependency.place();
            let same = self.looks.iter().any(|other| other.what.dependency == due.dependency);
            assert!(!same, "two looks at dependency {place} at once");
            let (met, took) = self.truths[place].0.meet(due.definition.timeout, &mut self.rng);
            self.looks.push(Under { until: self.now.at + took, what: due, took, met });
        }
    }

    fn end_looks(&mut self) {
        let now = self.now;
        for look in self.looks.extract_if(.., |look| look.until <= now.at).collect::<Vec<_>>() {
            self.trace.note(now, || format!("a look at {}: {:?}", look.what.definition.name, look.met));
            let result = look.met.map(|()| None).map_err(|fault| Cause::new(fault, "met", "nothing"));
            let (finding, random) = (Finding { latency: look.took, result }, self.rng.u64(..));
            let changes = self.board.observe(&look.what, finding, now, random);
            self.take(changes);
        }
    }

    fn one(&mut self) -> DependencyId {
        let name = ["store", "auth", "bus", "assistant"][self.rng.usize(..4)];
        self.board.id(name).expect("on the board")
    }

    fn begin_call(&mut self) {
        let id = self.one();
        let breakers = |board: &Board| -> Vec<(Use, BreakerPosition)> {
            board.dependencies().nth(id.place()).expect("on the board").breakers().collect()
        };
        let which = self.rng.usize(..breakers(&self.board).len());
        let (of, random) = (breakers(&self.board)[which].0, self.rng.u64(..));
        let admitted = self.board.admit(id, of, self.now, random);
        let purpose = match breakers(&self.board)[which].1 {
            BreakerPosition::HalfOpen => Purpose::Trial,
            BreakerPosition::Open | BreakerPosition::Closed => Purpose::Work,
        };
        let is_same = |(other, call): &&(Purpose, Under<Call>)| {
            *other == Purpose::Trial && (call.what.0, call.what.1) == (id, of)
        };
        let trials = self.calls.iter().filter(is_same).count();
        self.promises.work(&self.board, (id, purpose, trials), &admitted);
        if let Ok(ticket) = admitted {
            let (met, took) = self.truths[id.place()].0.meet(Duration::from_millis(2_800), &mut self.rng);
            let until = self.now.at + took;
            self.calls.push((purpose, Under { until, what: (id, of, ticket), took, met }));
        }
    }

    fn end_calls(&mut self) {
        let now = self.now;
        for (_, call) in self.calls.extract_if(.., |(_, call)| call.until <= now.at).collect::<Vec<_>>() {
            let by_client = chance(&mut self.rng, 3);
            let work = match call.met {
                _ if by_client => Work::ByClient,
                Ok(()) => Work::Answered,
                Err(fault) => Work::Failed(Cause::new(fault, "met", "nothing")),
            };
            let random = self.rng.u64(..);
            let (dependency, of, ticket) = call.what;
            let called = PermittedCall { dependency, of, ticket };
            let changes = self.board.record(called, CallResult { work, took: call.took }, now, random);
            self.take(changes);
        }
    }

    fn take(&mut self, changes: Changes) {
        let now = self.now;
        for event in &changes.events {
            self.trace.note(now, || format!("{}: {:?}", event.dependency, event.what));
        }
        self.promises.take(&changes, &self.board, now);
    }
}
