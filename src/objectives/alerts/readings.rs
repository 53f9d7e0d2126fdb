//! Readings of all alerts: from the snapshot of the dependencies, the scoreboard, the certificate and the channels.

use super::outbox::ChannelHealth;
use crate::alert::attribution::{CauseAttribution, OutagePresence};
use crate::alert::channel::AlertChannel;
use crate::alert::key::{AlertKey, AlertKind, AlertSeverity};
use crate::alert::machine::{AlertCondition, AlertRule, EndRule, EventEvidence, GROUP_WAIT_MS};
use crate::alert::reading::AlertReading;
use crate::alert::text::{percent, span, utc};
use crate::health::snapshot::Snapshot;
use crate::job::alerts::WatchedDependency;
use crate::slo::burn::BurnVerdict;
use crate::slo::objective::TICKETS_ONLY;
use crate::slo::report::ObjectiveReport;
use crate::slo::run_counts::AllCounts;
use crate::slo::scoreboard::Scoreboard;
use crate::slo::{SloPart, Urgency};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// A shorter outage of a dependency begins no incident, in milliseconds.
const CRITICAL_DOWN_MS: u64 = 15_000;
const OPTIONAL_DOWN_MS: u64 = 60_000;
/// A file that could not be written for a shorter time begins no incident, in milliseconds.
const DISK_MS: u64 = 30_000;
/// A dependency that is up for less is flapping, in milliseconds.
pub(super) const UP_MS: u64 = 120_000;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;
const CERTIFICATE_MS: u64 = 14 * DAY_MS;
/// Budgets in parts per million: low, and when that is over; when a spent one is over.
const LOW_PPM: i64 = 100_000;
const LOW_OVER_PPM: i64 = 150_000;
const SPENT_OVER_PPM: i64 = 50_000;
/// With fewer bad events a spent budget is a warning.
const FEW_BAD: u64 = 5;

pub(super) const fn held(begin_after_ms: u64, over_after_ms: u64) -> AlertRule {
    AlertRule { begin_after_ms, end: EndRule::After(over_after_ms) }
}

pub(super) fn plain(kind: AlertKind, name: &str, severity: AlertSeverity, rule: AlertRule) -> AlertReading {
    AlertReading {
        key: AlertKey::new(kind, name),
        severity,
        rule,
        condition: AlertCondition::Clear,
        events: EventEvidence::default(),
        text: String::new(),
        reference: None,
        is_explained: false,
    }
}

/// Over exactly if there is a fault.
fn over_if<T>(fault: Option<T>) -> AlertCondition {
    if fault.is_some() { AlertCondition::Over } else { AlertCondition::Clear }
}

/// The dependencies, as the watch sees them.
pub(super) fn dependencies(
    watched: &[WatchedDependency],
    snapshot: &Snapshot,
    age_ms: impl Fn(crate::clock::Moment) -> u64,
    now_ms: u64,
) -> Vec<AlertReading> {
    let reading = |dependency: &WatchedDependency| {
        let (severity, down_ms, effect) = match dependency.is_critical {
            true => (
                AlertSeverity::Critical,
                CRITICAL_DOWN_MS,
                "New clients are refused, and requests that need it fail",
            ),
            false => (
                AlertSeverity::Warning,
                OPTIONAL_DOWN_MS,
                "Clients are admitted, and what needs it is missing",
            ),
        };
        let outage = snapshot.outage_of(&dependency.name);
        let rule = held(down_ms + GROUP_WAIT_MS, UP_MS);
        let mut reading = plain(AlertKind::Dependency, &dependency.name, severity, rule);
        reading.condition = over_if(outage);
        if let Some(outage) = outage {
            let since = utc(now_ms.saturating_sub(age_ms(outage.began())));
            let reference = outage.reference();
            reading.text = format!(
                "Down since {since}. {effect}. The log has the cause under the reference {reference}; run seawall doctor."
            );
            reading.reference = Some(reference.to_string());
        }
        reading
    };
    watched.iter().map(reading).collect()
}

/// The certificate of the listener, if it has one; `not_after` in Unix seconds.
pub(super) fn certificate(not_after: Option<u64>, now_ms: u64) -> AlertReading {
    let mut reading =
        plain(AlertKind::Certificate, "", AlertSeverity::Warning, held(GROUP_WAIT_MS, GROUP_WAIT_MS));
    let end_ms = not_after.map(|unix_s| unix_s.saturating_mul(1_000));
    let soon = end_ms.filter(|end_ms| *end_ms < now_ms.saturating_add(CERTIFICATE_MS));
    reading.condition = over_if(soon);
    reading.text = soon.map_or_else(String::new, |end_ms| format!("It expires at {}.", utc(end_ms)));
    reading
}

/// The file that this process keeps its counts and incidents in; `None` while it cannot be used.
pub(super) fn disk(file: Option<&Connection>) -> AlertReading {
    let rule = held(DISK_MS + GROUP_WAIT_MS, GROUP_WAIT_MS);
    let mut reading = plain(AlertKind::Disk, "slo.db", AlertSeverity::Warning, rule);
    reading.condition = if file.is_none() { AlertCondition::Over } else { AlertCondition::Clear };
    reading.text = "Counts and incidents are lost if the process ends. The log has the error.".into();
    reading
}

/// The channels.
pub(super) fn channels(health: &[(AlertChannel, ChannelHealth, String)]) -> Vec<AlertReading> {
    let reading = |(channel, health, fault): &(AlertChannel, ChannelHealth, String)| {
        let rule = held(GROUP_WAIT_MS, 60_000);
        let mut reading = plain(AlertKind::Alerting, channel.as_str(), AlertSeverity::Warning, rule);
        reading.condition = match health {
            ChannelHealth::Works => AlertCondition::Clear,
            ChannelHealth::Doubtful => AlertCondition::Near,
            ChannelHealth::Broken => AlertCondition::Over,
        };
        reading.text = format!("Its newest answer: {fault}");
        reading
    };
    health.iter().map(reading).collect()
}

/// The causes and the parts of open incidents about objectives.
#[derive(Debug, Default)]
pub(super) struct ObjectiveReadings {
    causes: BTreeMap<&'static str, CauseAttribution>,
    /// The part that an incident is about.
    parts: BTreeMap<AlertKey, SloPart>,
}

impl ObjectiveReadings {
    /// Adds the bad events of ten seconds.
    pub(super) fn add_slot(&mut self, board: &Scoreboard, slot: &AllCounts, presence: OutagePresence) {
        for name in board.names() {
            let parts = SloPart::ALL.into_iter().zip(slot).filter(|(part, _)| part.objective() == name);
            let bad = parts.map(|(part, counts)| counts.totals.bad.div_ceil(part.judged_as_one())).sum();
            self.causes.entry(name).or_default().add(bad, presence);
        }
    }

    /// The objectives, after each slot.
    pub(super) fn all(&mut self, board: &Scoreboard, reports: &[ObjectiveReport]) -> Vec<AlertReading> {
        let mut readings = Vec::new();
        for name in board.names() {
            for (urgency, kind) in [(Urgency::Page, AlertKind::Burn), (Urgency::Ticket, AlertKind::Leak)] {
                let key = AlertKey::new(kind, name);
                let Some(verdict) = board.burn(name, urgency, self.parts.get(&key).copied()) else {
                    continue;
                };
                if verdict.over.is_some() || verdict.is_near {
                    self.parts.insert(key, verdict.part);
                }
                let is_explained = self.causes.get(name).is_some_and(CauseAttribution::is_explained);
                readings.push(AlertReading { is_explained, ..burn(kind, name, &verdict) });
            }
        }
        readings.extend(reports.iter().flat_map(budget));
        readings
    }
}

/// The severity of an incident of an objective.
fn severity(kind: AlertKind, name: &str) -> AlertSeverity {
    let is_page = matches!(kind, AlertKind::Burn | AlertKind::Spent) && !TICKETS_ONLY.contains(&name);
    if is_page { AlertSeverity::Critical } else { AlertSeverity::Warning }
}

fn burn(kind: AlertKind, name: &str, verdict: &BurnVerdict) -> AlertReading {
    let BurnVerdict { threshold_ppm, allowed_ppm, new, recent, recent_bad_ppm, .. } = *verdict;
    let rule =
        AlertRule { begin_after_ms: GROUP_WAIT_MS, end: EndRule::Events { threshold_ppm, allowed_ppm } };
    let mut reading = plain(kind, name, severity(kind, name), rule);
    reading.events = EventEvidence { new, recent, recent_bad_ppm };
    reading.condition = match (&verdict.over, verdict.is_near) {
        (Some(_), _) => AlertCondition::Over,
        (None, true) => AlertCondition::Near,
        (None, false) => AlertCondition::Clear,
    };
    if let Some(over) = &verdict.over {
        let share = over.long_ppm.map_or_else(String::new, percent);
        let window = span(u64::from(over.tier.long_s) * 1_000);
        reading.text = format!(
            "{share} of {} are bad in {window}, and {} are allowed: seawall slo {name}",
            events_of(verdict.part),
            percent(allowed_ppm)
        );
    }
    reading
}

const fn events_of(part: SloPart) -> &'static str {
    match part {
        SloPart::Attempt => "attempts to connect",
        SloPart::Session => "the time of sessions",
        SloPart::Publish => "messages",
        SloPart::DeliveryFanout | SloPart::LatencyFanout => "deliveries",
        SloPart::Command => "replies",
        SloPart::Request => "health reports",
        SloPart::Endings => "ends of sessions",
        SloPart::ConnectionCanary => "the canary's connections",
        SloPart::DeliveryCanary | SloPart::LatencyCanary => "the canary's messages",
        SloPart::Probe => "probes of /health/ready",
        SloPart::Returns => "returns of clients",
        SloPart::Answer => "answers",
        SloPart::Piece => "first pieces of answers",
    }
}

/// The budget of an objective, by its worst part.
fn budget(report: &ObjectiveReport) -> Vec<AlertReading> {
    let worst = report.parts.iter().min_by_key(|part| part.budget_left_ppm.unwrap_or(i64::MAX));
    let Some(part) = worst else { return Vec::new() };
    let Some(left) = part.budget_left_ppm else { return Vec::new() };
    let condition = |is_over: bool, is_near: bool| match (is_over, is_near) {
        (true, _) => AlertCondition::Over,
        (false, true) => AlertCondition::Near,
        (false, false) => AlertCondition::Clear,
    };
    let text = format!(
        "{} of {} allowed {} are bad in {} d: seawall slo {}",
        part.spent, part.allowed, part.unit, report.objective.period_days, report.name
    );
    let few = part.spent < FEW_BAD;
    let spent_severity = if few { AlertSeverity::Warning } else { severity(AlertKind::Spent, report.name) };
    let spent = AlertReading {
        condition: condition(left <= 0, left < SPENT_OVER_PPM),
        text: text.clone(),
        ..plain(AlertKind::Spent, report.name, spent_severity, held(GROUP_WAIT_MS, HOUR_MS))
    };
    let low = AlertReading {
        condition: condition(left < LOW_PPM, left <= LOW_OVER_PPM),
        text,
        ..plain(AlertKind::Low, report.name, AlertSeverity::Warning, held(GROUP_WAIT_MS, 60_000))
    };
    vec![spent, low]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::incidents::{IncidentStep, Incidents};
    use crate::random::Random;
    use crate::slo::objective::USUAL;
    use crate::slo::part::PartTotals;
    use crate::slo::scoreboard::{Measured, PartCounts};

    const SLOT_MS: u64 = 10_000;
    const SLOTS_PER_DAY: u64 = 8_640;

    /// Counts begins of one kind about `delivery` over some slots with this share of bad messages, at 1,000 a minute.
    struct Day {
        board: Scoreboard,
        readings: ObjectiveReadings,
        incidents: Incidents,
        random: Random,
        slot: u64,
    }

    impl Day {
        fn new() -> Day {
            Day {
                board: Scoreboard::new(&USUAL).expect("objectives"),
                readings: ObjectiveReadings::default(),
                incidents: Incidents::default(),
                random: Random::seeded(20_261_128),
                slot: 0,
            }
        }

        fn run(&mut self, slots: u64, bad_ppm: u64) -> Vec<AlertKind> {
            let mut begun = Vec::new();
            for _ in 0..slots {
                self.slot += 1;
                let bad = (0..166).filter(|_| self.random.u64() % 1_000_000 < bad_ppm).count() as u64;
                let mut slot = AllCounts::default();
                let totals = PartTotals { good: 166 - bad, bad, excluded: 0 };
                slot[SloPart::Publish.index()] = PartCounts::of_slot(totals);
                self.board.close_slot(SloPart::Publish, totals);
                self.readings.add_slot(&self.board, &slot, OutagePresence::AllUp);
                let readings = self.readings.all(&self.board, &[]);
                let now_ms = self.slot * SLOT_MS;
                for step in self.incidents.read(&readings, now_ms) {
                    match step {
                        IncidentStep::Began(number) => {
                            let incident = self.incidents.open().find(|it| it.number == number);
                            begun.extend(incident.map(|incident| incident.key.kind));
                        }
                        IncidentStep::Ended(incident) => {
                            let urgency = match incident.key.kind {
                                AlertKind::Burn => Urgency::Page,
                                _ => Urgency::Ticket,
                            };
                            self.board.mark_over(&incident.key.name, urgency, 0);
                        }
                    }
                }
            }
            begun
        }
    }

    #[test]
    fn error_rate_at_a_threshold_for_a_day_begins_few_incidents() {
        let mut day = Day::new();
        assert_eq!(day.run(SLOTS_PER_DAY, 500), [], "half of the budget");
        let leaks = day.run(SLOTS_PER_DAY, 1_000);
        assert!(leaks.len() <= 3, "{leaks:?}");
    }

    #[test]
    fn outage_is_one_page_and_its_errors_cause_no_second_one() {
        let mut day = Day::new();
        day.run(1_000, 0);
        let pages = |kinds: Vec<AlertKind>| kinds.iter().filter(|kind| **kind == AlertKind::Burn).count();
        assert_eq!(pages(day.run(180, 1_000_000)), 1);
        // The window of three hours stays over its threshold long after the errors.
        assert_eq!(pages(day.run(2_000, 0)), 0);
        assert_eq!(day.incidents.of(&AlertKey::new(AlertKind::Burn, "delivery")), None, "it is over");
        assert_eq!(pages(day.run(60, 1_000_000)), 1, "another outage is another incident");
    }

    #[test]
    fn spent_budget_with_few_bad_events_is_a_warning() {
        let mut board = Scoreboard::new(&USUAL).expect("objectives");
        let severity = |board: &Scoreboard| {
            let reports = board.report(Measured { known_s: 86_400, up_s: 86_400 });
            let readings: Vec<_> = reports.iter().flat_map(budget).collect();
            let spent = readings.into_iter().find(|it| it.key.kind == AlertKind::Spent).expect("spent");
            (spent.condition, spent.severity)
        };
        board.close_slot(SloPart::Publish, PartTotals { good: 10, bad: 4, excluded: 0 });
        assert_eq!(severity(&board), (AlertCondition::Over, AlertSeverity::Warning));
        board.close_slot(SloPart::Publish, PartTotals { good: 0, bad: 1, excluded: 0 });
        assert_eq!(severity(&board), (AlertCondition::Over, AlertSeverity::Critical));
    }
}
