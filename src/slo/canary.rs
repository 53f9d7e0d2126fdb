//! The canary: when it looks, and what a look counts as.
//!
//! Objectives that count users know nothing while there are none, and with few of them a total failure takes minutes to differ from
//! chance. The canary is a client of the gateway's own that connects, publishes and receives every few seconds. Each kind of its events is
//! a part of its own, so it neither dilutes the failures of users nor is diluted by them.

use super::attempt::{self, StopCause};
use super::part::{BadCause, Exclusion, SloOutcome, SloPart};
use crate::clock::Moment;
use std::time::Duration;

/// A connection that is not `connected` by then has failed.
pub const CONNECTED_WITHIN: Duration = attempt::CONNECTED_WITHIN;
/// A message that is not stored and received by then has failed.
pub const DELIVERED_WITHIN: Duration = Duration::from_secs(5);
/// A message that is received later is late.
pub const RECEIVED_WITHIN: Duration = Duration::from_secs(2);
/// A health report that comes later is late.
pub const REPORTED_WITHIN: Duration = Duration::from_secs(1);
/// One round in this number of them drops its connection and recovers.
const RECOVERS_EVERY: u64 = 6;
/// Periods vary by up to this share, so that instances that start together do not look together.
const JITTER: f32 = 0.1;

/// Something that is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    period: Duration,
    next: Moment,
}

impl Repetition {
    /// The first time comes after a period. `random` is in [0, 1).
    pub fn new(period: Duration, now: Moment, random: f32) -> Repetition {
        let mut repetition = Repetition { period, next: now };
        repetition.advance(now, random);
        repetition
    }

    pub fn next(&self) -> Moment {
        self.next
    }

    /// Plans the time after `now`. A round that took too long does not bring the next one forward.
    pub fn advance(&mut self, now: Moment, random: f32) {
        let vary = |from: Moment| from + self.period.mul_f32(1.0 - JITTER + 2.0 * JITTER * random);
        let next = vary(self.next);
        self.next = if next > now { next } else { vary(now) };
    }
}

/// The extent of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundKind {
    /// Connects, subscribes, publishes, receives.
    Plain,
    /// Also drops the connection, and recovers the message on another one.
    Recovering,
}

impl RoundKind {
    /// The kind of the round with this number, counted from 1.
    pub const fn of(number: u64) -> RoundKind {
        if number.is_multiple_of(RECOVERS_EVERY) { RoundKind::Recovering } else { RoundKind::Plain }
    }
}

/// Why a look failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryFault {
    /// There was no answer by the deadline.
    Late,
    /// The upgrade or the health report was answered with this HTTP status.
    Status(u16),
    /// The gateway closed the connection with this code.
    Closed(u16),
    /// A command was answered with an error.
    Rejected,
    /// The connection could not be opened, or broke, or brought something that is no answer.
    Broken,
}

/// The findings of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundRecord {
    /// The time until `connected`.
    pub connected: Result<Duration, CanaryFault>,
    /// The time from `publish` until the message was stored and received; `None` if there was no connection to publish on.
    pub delivered: Option<Result<Duration, CanaryFault>>,
}

/// The events of a round: none for a part that was not measured.
pub fn events_of_round(record: &RoundRecord, stop: Option<StopCause>) -> Vec<(SloPart, SloOutcome)> {
    let mut events = Vec::with_capacity(3);
    let connected = match record.connected {
        Ok(took) => Some(attempt::connected(took)),
        Err(fault) => refused(fault),
    };
    events.extend(connected.map(|outcome| (SloPart::ConnectionCanary, outcome)));
    let (delivered, received) = match record.delivered {
        None => (None, None),
        Some(Ok(took)) if took <= RECEIVED_WITHIN => (Some(SloOutcome::Good), Some(SloOutcome::Good)),
        Some(Ok(_)) => (Some(SloOutcome::Good), Some(SloOutcome::Bad(BadCause::Late))),
        Some(Err(CanaryFault::Late)) => {
            (Some(SloOutcome::Bad(BadCause::Late)), Some(SloOutcome::Bad(BadCause::Late)))
        }
        // A fast error is not a fast answer.
        Some(Err(_)) => (Some(SloOutcome::Bad(BadCause::NotStored)), None),
    };
    events.extend(delivered.map(|outcome| (SloPart::DeliveryCanary, outcome)));
    events.extend(received.map(|outcome| (SloPart::LatencyCanary, outcome)));
    excuse(events, stop)
}

/// The event of a health report.
pub fn event_of_probe(
    answered: Result<Duration, CanaryFault>,
    stop: Option<StopCause>,
) -> Vec<(SloPart, SloOutcome)> {
    let outcome = match answered {
        Ok(took) if took <= REPORTED_WITHIN => SloOutcome::Good,
        Ok(_) | Err(CanaryFault::Late) => SloOutcome::Bad(BadCause::Late),
        Err(CanaryFault::Status(503)) => SloOutcome::Bad(BadCause::Unavailable),
        Err(
            CanaryFault::Status(_) | CanaryFault::Closed(_) | CanaryFault::Rejected | CanaryFault::Broken,
        ) => SloOutcome::Bad(BadCause::Fault),
    };
    excuse(vec![(SloPart::Probe, outcome)], stop)
}

/// The outcome of a connection that failed; `None` if another process answered.
fn refused(fault: CanaryFault) -> Option<SloOutcome> {
    Some(match fault {
        CanaryFault::Late => SloOutcome::Bad(BadCause::Late),
        CanaryFault::Status(503) | CanaryFault::Closed(1011) => SloOutcome::Bad(BadCause::Unavailable),
        CanaryFault::Closed(1013) => SloOutcome::Bad(BadCause::Capacity),
        // A bound of its address: a proxy on this machine shares it.
        CanaryFault::Status(429) => SloOutcome::Excluded(Exclusion::ClientLimit),
        // Only this process knows its token. While another takes over, both listen.
        CanaryFault::Closed(4501) => return None,
        CanaryFault::Status(_) | CanaryFault::Closed(_) | CanaryFault::Rejected | CanaryFault::Broken => {
            SloOutcome::Bad(BadCause::Fault)
        }
    })
}

/// Excludes the failures of a process that was asked to end.
fn excuse(mut events: Vec<(SloPart, SloOutcome)>, stop: Option<StopCause>) -> Vec<(SloPart, SloOutcome)> {
    if stop == Some(StopCause::Requested) {
        for (_, outcome) in &mut events {
            if matches!(outcome, SloOutcome::Bad(_)) {
                *outcome = SloOutcome::Excluded(Exclusion::Drain);
            }
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::super::objective::USUAL;
    use super::super::part::PartTotals;
    use super::super::scoreboard::Scoreboard;
    use super::super::tier::Urgency;
    use super::*;
    use crate::random::Random;

    const PERIOD: Duration = Duration::from_secs(10);
    const SOON: Duration = Duration::from_millis(20);
    const GOOD: RoundRecord = RoundRecord { connected: Ok(SOON), delivered: Some(Ok(SOON)) };

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    #[test]
    fn rounds_come_every_period_with_a_tenth_of_jitter_and_a_late_one_moves_the_next() {
        let mut rounds = Repetition::new(PERIOD, at(0), 0.5);
        assert_eq!(rounds.next(), at(10_000));
        rounds.advance(at(10_000), 0.0);
        assert_eq!(rounds.next(), at(19_000));
        rounds.advance(at(19_000), 0.999_999);
        assert!(at(29_999) <= rounds.next() && rounds.next() <= at(30_000), "{rounds:?}");
        // It took until 45 s, and there is no burst of rounds that were missed.
        rounds.advance(at(45_000), 0.5);
        assert_eq!(rounds.next(), at(55_000));
        assert_eq!((1..=12).filter(|n| RoundKind::of(*n) == RoundKind::Recovering).count(), 2);
    }

    #[test]
    fn round_counts_in_the_parts_that_it_measured() {
        use SloPart::{ConnectionCanary, DeliveryCanary, LatencyCanary};
        let good = SloOutcome::Good;
        let late = SloOutcome::Bad(BadCause::Late);
        let bad = SloOutcome::Bad;
        let all =
            |outcome| vec![(ConnectionCanary, good), (DeliveryCanary, outcome), (LatencyCanary, outcome)];
        let events = |record: &RoundRecord| events_of_round(record, None);
        assert_eq!(events(&GOOD), all(good));
        let slow = RoundRecord { connected: Ok(SOON), delivered: Some(Ok(Duration::from_secs(3))) };
        assert_eq!(events(&slow), [(ConnectionCanary, good), (DeliveryCanary, good), (LatencyCanary, late)]);
        assert_eq!(events(&RoundRecord { delivered: Some(Err(CanaryFault::Late)), ..GOOD }), all(late));
        assert_eq!(
            events(&RoundRecord { delivered: Some(Err(CanaryFault::Rejected)), ..GOOD }),
            [(ConnectionCanary, good), (DeliveryCanary, bad(BadCause::NotStored))]
        );
        for (fault, outcome) in [
            (CanaryFault::Late, Some(late)),
            (CanaryFault::Closed(1011), Some(bad(BadCause::Unavailable))),
            (CanaryFault::Closed(1013), Some(bad(BadCause::Capacity))),
            (CanaryFault::Broken, Some(bad(BadCause::Fault))),
            (CanaryFault::Status(429), Some(SloOutcome::Excluded(Exclusion::ClientLimit))),
            (CanaryFault::Closed(4501), None),
        ] {
            let found = events(&RoundRecord { connected: Err(fault), delivered: None });
            let expected: Vec<_> = outcome.map(|it| (ConnectionCanary, it)).into_iter().collect();
            assert_eq!(found, expected, "{fault:?}");
        }
    }

    #[test]
    fn failures_of_a_process_that_was_asked_to_end_are_excluded() {
        let failed = RoundRecord { connected: Err(CanaryFault::Broken), delivered: None };
        let drain = SloOutcome::Excluded(Exclusion::Drain);
        let requested = Some(StopCause::Requested);
        assert_eq!(events_of_round(&failed, requested), [(SloPart::ConnectionCanary, drain)]);
        assert_eq!(event_of_probe(Err(CanaryFault::Status(503)), requested), [(SloPart::Probe, drain)]);
        assert_eq!(events_of_round(&GOOD, requested), events_of_round(&GOOD, None));
        let by_fault = events_of_round(&failed, Some(StopCause::Failed));
        assert_eq!(by_fault, [(SloPart::ConnectionCanary, SloOutcome::Bad(BadCause::Fault))]);
    }

    #[test]
    fn every_outcome_has_a_place_in_the_metrics() {
        let faults = [CanaryFault::Late, CanaryFault::Rejected, CanaryFault::Broken]
            .into_iter()
            .chain([429, 503, 500].map(CanaryFault::Status))
            .chain([1011, 1013, 4501, 1000].map(CanaryFault::Closed));
        for fault in faults {
            let connection = RoundRecord { connected: Err(fault), delivered: None };
            let delivery = RoundRecord { connected: Ok(SOON), delivered: Some(Err(fault)) };
            for stop in [None, Some(StopCause::Requested)] {
                let rounds = [&connection, &delivery].map(|record| events_of_round(record, stop));
                for (part, outcome) in rounds.into_iter().flatten().chain(event_of_probe(Err(fault), stop)) {
                    match outcome {
                        SloOutcome::Good => {}
                        SloOutcome::Bad(cause) => {
                            assert!(part.causes().contains(&cause), "{part:?} {cause:?}")
                        }
                        SloOutcome::Excluded(reason) => {
                            assert!(part.exclusions().contains(&reason), "{part:?} {reason:?}");
                        }
                    }
                }
            }
        }
    }

    /// Ten seconds of the canary's events, on a virtual clock.
    struct Night {
        board: Scoreboard,
        rounds: Repetition,
        probes: Repetition,
        random: Random,
        slot: u64,
    }

    impl Night {
        fn new(period: Duration, seed: u64) -> Night {
            let mut random = Random::seeded(seed);
            Night {
                board: Scoreboard::new(&USUAL).expect("objectives"),
                rounds: Repetition::new(period, Moment::ZERO, random.f32()),
                probes: Repetition::new(period / 2, Moment::ZERO, random.f32()),
                random,
                slot: 0,
            }
        }

        fn slot(&mut self, record: &RoundRecord, answered: Result<Duration, CanaryFault>) {
            self.slot += 1;
            let end = at(self.slot * 10_000);
            let mut totals = [PartTotals::default(); SloPart::ALL.len()];
            let mut count = |events: Vec<(SloPart, SloOutcome)>| {
                for (part, outcome) in events {
                    match outcome {
                        SloOutcome::Good => totals[part.index()].good += 1,
                        SloOutcome::Bad(_) => totals[part.index()].bad += 1,
                        SloOutcome::Excluded(_) => totals[part.index()].excluded += 1,
                    }
                }
            };
            while self.rounds.next() <= end {
                count(events_of_round(record, None));
                self.rounds.advance(self.rounds.next(), self.random.f32());
            }
            while self.probes.next() <= end {
                count(event_of_probe(answered, None));
                self.probes.advance(self.probes.next(), self.random.f32());
            }
            for (part, totals) in SloPart::ALL.into_iter().zip(totals) {
                self.board.close_slot(part, totals);
            }
        }

        fn pages(&self, name: &str) -> bool {
            self.board.burn(name, Urgency::Page, None).is_some_and(|verdict| verdict.over.is_some())
        }
    }

    /// The seconds from the failure to a page of this objective, over some seeds, sorted.
    fn page_after(name: &str, record: RoundRecord, answered: Result<Duration, CanaryFault>) -> Vec<u64> {
        let after = |seed| {
            let mut night = Night::new(PERIOD, seed);
            (0..2_000).for_each(|_| night.slot(&GOOD, Ok(SOON)));
            assert!(USUAL.iter().all(|(name, _)| !night.pages(name)), "a quiet night");
            let slots = (1..200).find(|_| {
                night.slot(&record, answered);
                night.pages(name)
            });
            slots.expect("a page") * 10
        };
        let mut found: Vec<u64> = (0..20).map(after).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn total_failure_without_any_user_pages_within_two_minutes() {
        let refused = RoundRecord { connected: Err(CanaryFault::Broken), delivered: None };
        let not_stored = RoundRecord { delivered: Some(Err(CanaryFault::Rejected)), ..GOOD };
        let no_answer = RoundRecord { delivered: Some(Err(CanaryFault::Late)), ..GOOD };
        let cases = [
            ("connection", refused, Ok(SOON)),
            ("delivery", not_stored, Ok(SOON)),
            ("latency", no_answer, Ok(SOON)),
            ("health", GOOD, Err(CanaryFault::Broken)),
        ];
        for (name, record, answered) in cases {
            let after = page_after(name, record, answered);
            // An incident is sent ten seconds after it began.
            let (middle, longest) = (after[10] + 10, after[19] + 10);
            assert!(middle <= 110 && longest <= 120, "{name}: {after:?}");
        }
    }

    #[test]
    fn canary_that_fails_by_itself_once_in_a_thousand_pages_nothing() {
        let mut night = Night::new(PERIOD, 3);
        let mut failures = Random::seeded(20_261_128);
        for slot in 0..60_000 {
            let fails = failures.u64().is_multiple_of(1_000);
            let failed = RoundRecord { delivered: Some(Err(CanaryFault::Late)), ..GOOD };
            night.slot(if fails { &failed } else { &GOOD }, Ok(SOON));
            assert!(!night.pages("delivery") && !night.pages("latency"), "at {slot}");
        }
    }
}
