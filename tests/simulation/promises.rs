//! The board's promises to the readers of its snapshots, compared with the true state of the dependencies.

use super::ground::{Purpose, Truth};
use seawall::clock::{Moment, Now};
use seawall::health::board::{Board, Changes, DependencyId, HealthEventKind};
use seawall::health::breaker::{BreakerPosition, BreakerTicket, Open};
use seawall::health::definition::Criticality;
use seawall::health::dependency::{Dependency, State};
use seawall::health::outage::Reference;
use seawall::health::snapshot::{AdmissionMode, Availability, Level, Snapshot};
use seawall::health::template::Template;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A step is at most 150 ms, and each beginning or end waits for the next one: several steps lie between a fault and its verdict.
const STEPS_BETWEEN: Duration = Duration::from_millis(6 * 150);
/// The longest damping of flaps, with the next probe and the trials after it.
const DAMPED_MAX: Duration = Duration::from_secs(18 + 3);
/// A fault of this age opens no breaker and is in no window.
const FORGOTTEN: Duration = Duration::from_secs(20);
/// A dependency that is down for the first time in a minute does not flap.
const FLAP_WINDOW: Duration = Duration::from_secs(62);

/// The history of one dependency.
#[derive(Debug)]
struct Seen {
    outage: Option<Reference>,
    /// Without an interruption of the true state.
    bad_since: Option<Moment>,
    well_since: Option<Moment>,
    not_well_at: Option<Moment>,
    /// It came out of something that is neither good nor bad.
    moody_at: Option<Moment>,
    down_at: Option<Moment>,
    up_at: Option<Moment>,
}

pub struct Promises {
    pub events: u64,
    published: Arc<Snapshot>,
    references: BTreeSet<String>,
    seen: Vec<Seen>,
}

impl Promises {
    pub fn new(board: &Board, now: Now) -> Promises {
        let seen = || Seen {
            outage: None,
            bad_since: None,
            well_since: Some(now.at),
            not_well_at: None,
            moody_at: None,
            down_at: None,
            up_at: None,
        };
        Promises {
            events: 0,
            published: Arc::clone(board.snapshot()),
            references: BTreeSet::new(),
            seen: board.dependencies().map(|_| seen()).collect(),
        }
    }

    /// One reference an outage, revisions that grow with what `status` says, and only then.
    pub fn take(&mut self, changes: &Changes, board: &Board, now: Now) {
        for event in &changes.events {
            // Without calls, a breaker's trials take their time; users are not notified of them.
            self.events += u64::from(!matches!(event.what, HealthEventKind::Breaker { .. }));
            let place = board.id(&event.dependency).expect("on the board").place();
            let seen = &mut self.seen[place];
            match &event.what {
                HealthEventKind::Down { reference, cause } => {
                    assert!(self.references.insert(reference.to_string()), "{reference} is of two outages");
                    assert_eq!(seen.outage.replace(*reference), None, "down while down");
                    assert!(!cause.text.is_empty());
                    let lately = seen.not_well_at.is_some_and(|at| now.at.since(at) < FORGOTTEN);
                    assert!(lately, "{} is down, and was well for long: {cause:?}", event.dependency);
                    seen.down_at = Some(now.at);
                }
                HealthEventKind::Recovered { reference, .. } => {
                    assert_eq!(seen.outage.take(), Some(*reference), "another outage ended than began");
                    seen.up_at = Some(now.at);
                }
                HealthEventKind::Became { from, to } => assert!(*from != State::Down && *to != State::Down),
                HealthEventKind::Breaker { from, to, .. } => assert_ne!(from, to),
                HealthEventKind::Forced(_) | HealthEventKind::Released => {
                    panic!("no operator forced anything")
                }
            }
        }
        if let Some(snapshot) = &changes.snapshot {
            let same = snapshot.status == self.published.status;
            assert_eq!(snapshot.revision, self.published.revision + u64::from(!same), "{}", snapshot.status);
            self.published = Arc::clone(snapshot);
        }
        // The last published snapshot contains everything.
        assert!(Arc::ptr_eq(&self.published, board.snapshot()));
        self.check_level(board);
    }

    fn check_level(&self, board: &Board) {
        let down = |weight| {
            let is =
                move |it: &&Dependency| it.state() == State::Down && it.definition().criticality == weight;
            board.dependencies().filter(is).count()
        };
        match self.published.level {
            Level::Down => assert!(down(Criticality::Critical) > 0),
            Level::Degraded => assert_eq!(down(Criticality::Critical), 0),
            Level::Ok => assert_eq!(down(Criticality::Critical) + down(Criticality::Optional), 0),
        }
        for dependency in board.dependencies() {
            let name = &dependency.definition().name;
            assert_eq!(self.published.outage_of(name).is_some(), dependency.state() == State::Down, "{name}");
        }
    }

    /// A handshake reads the snapshot, and is refused exactly during an outage that stops handshakes.
    pub fn handshake(&self, board: &Board, now: Now, random: f32) {
        let critical = |it: &&Dependency| {
            let definition = it.definition();
            it.state() == State::Down && definition.gate.stops_handshakes(definition.criticality)
        };
        let down: Vec<&Dependency> = board.dependencies().filter(critical).collect();
        match (&self.published.availability, board.mode()) {
            (Availability::Admit, _) => assert!(down.is_empty(), "let in while {} are down", down.len()),
            (Availability::Refuse(template), AdmissionMode::Enforce)
            | (Availability::Observe(template), AdmissionMode::Observe) => {
                let of = down.iter().find(|it| it.definition().name == *template.dependency());
                let outage = of.and_then(|it| it.outage()).expect("refused for what is not down");
                assert_eq!(template.reference(), outage.reference);
                read_refusal(template, now, random);
            }
            (availability, mode) => panic!("{availability:?} in mode {mode:?}"),
        }
    }

    /// While it is down, work fails at once with a time to come back; half-open, one call at a time tries.
    pub fn work(
        &self,
        board: &Board,
        (id, purpose, trials): (DependencyId, Purpose, usize),
        admitted: &Result<Option<BreakerTicket>, Open>,
    ) {
        let dependency = board.dependencies().nth(id.place()).expect("on the board");
        let name = &dependency.definition().name;
        match admitted {
            Err(open) => assert!((100..=30_000).contains(&open.retry_ms), "{name}: {open:?}"),
            Ok(_) => {
                let by_probe = dependency.breakers().all(|(_, position)| position == BreakerPosition::Closed);
                let down = dependency.state() == State::Down;
                assert!(!(down && by_probe), "{name} is down, and work goes there");
                assert!(purpose == Purpose::Work || trials == 0, "{name}: {trials} more try it at once");
            }
        }
    }

    /// Every fault is noticed in time, and every outage ends in time.
    pub fn check_time(&mut self, board: &Board, truths: &[Truth], now: Now) {
        for ((seen, truth), dependency) in self.seen.iter_mut().zip(truths).zip(board.dependencies()) {
            seen.note(*truth, now.at);
            let definition = dependency.definition();
            let bound = match definition.criticality {
                Criticality::Critical => Duration::from_secs(5),
                Criticality::Optional => Duration::from_secs(11),
            };
            let state = dependency.state();
            if seen.bad_since.is_some_and(|since| now.at.since(since) > bound + STEPS_BETWEEN) {
                assert_eq!(state, State::Down, "{} is {truth:?} for longer than {bound:?}", definition.name);
            }
            let Some(well_since) = seen.well_since else { continue };
            let lately = |at: Option<Moment>, from: Moment| at.is_some_and(|at| from.since(at) < FLAP_WINDOW);
            let flapped = seen.down_at.is_some_and(|down| lately(seen.up_at, down));
            let bound = if flapped || lately(seen.moody_at, well_since) {
                DAMPED_MAX
            } else {
                // The look that was under way ends by its timeout, the next one comes half a second later.
                definition.timeout + Duration::from_millis(1_000)
            };
            // Calls of before it was well may end late, and open a breaker then.
            let from = seen.down_at.map_or(well_since, |down| down.max(well_since));
            if now.at.since(from) > bound + STEPS_BETWEEN {
                assert_ne!(state, State::Down, "{} is well for longer than {bound:?}", definition.name);
            }
        }
    }

    pub fn check_all_is_well(&self, board: &Board) {
        assert_eq!(self.published.level, Level::Ok, "{}", self.published.status);
        let admits = matches!(self.published.availability, Availability::Admit);
        assert!(admits && board.dependencies().all(|it| it.state() == State::Ok));
    }
}

impl Seen {
    fn note(&mut self, truth: Truth, now: Moment) {
        match truth {
            Truth::Well => {
                self.bad_since = None;
                self.well_since.get_or_insert(now);
            }
            Truth::Moody => {
                (self.bad_since, self.well_since) = (None, None);
                (self.not_well_at, self.moody_at) = (Some(now), Some(now));
            }
            Truth::Refuses | Truth::Silent | Truth::Fails => {
                assert!(truth.is_bad());
                self.well_since = None;
                self.not_well_at = Some(now);
                self.bad_since.get_or_insert(now);
            }
        }
    }
}

/// The frames of a refusal name the outage and the wait, twice.
fn read_refusal(template: &Template, now: Now, random: f32) {
    let retry_ms = template.retry_ms(now.at, random);
    assert!((1_000..=15_000).contains(&retry_ms), "{retry_ms}");
    let mut frames = Vec::new();
    template.write(&mut frames, retry_ms);
    let text = String::from_utf8_lossy(&frames);
    assert_eq!(text.matches(template.reference().as_str()).count(), 2, "{text}");
    assert!(text.contains(&format!("\"retry_ms\":{retry_ms},")), "{text}");
    assert!(text.contains(&format!("retry_ms={retry_ms};")), "{text}");
}
