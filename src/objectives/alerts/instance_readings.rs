//! Readings of instances: their canaries, their room for connections, and their clocks. The leader knows those of all from the load that each
//! writes for the others.

use super::readings::{UP_MS, held, plain};
use crate::alert::incident::Incident;
use crate::alert::key::{AlertKey, AlertKind, AlertSeverity};
use crate::alert::machine::{AlertCondition, GROUP_WAIT_MS};
use crate::alert::reading::AlertReading;
use crate::cluster::report::InstanceReport;
use crate::slo::instance_health::InstanceVerdict;
use crate::wire::stats::InstanceStats;
use std::collections::BTreeSet;

/// Connections of more than this share of the bound for a while are an incident, which stays while the second share is reached, in percent.
const FULL_PERCENT: u64 = 90;
const NEARLY_FULL_PERCENT: u64 = 85;
const FULL_MS: u64 = 120_000;
/// A clock that differs from the one of the store by more than this, for a while, is an incident, which stays while the second difference is
/// exceeded, in milliseconds.
const SKEW_MS: u32 = 2_000;
const SMALL_SKEW_MS: u32 = 1_000;
const SKEWED_MS: u64 = 300_000;

/// The kinds of alerts about one instance's load.
const KINDS: [AlertKind; 3] = [AlertKind::Capacity, AlertKind::Clock, AlertKind::Canary];

/// The instance, as its canary sees it.
pub(super) fn instance(name: &str, verdict: InstanceVerdict) -> AlertReading {
    let rule = held(GROUP_WAIT_MS, UP_MS);
    let mut reading = plain(AlertKind::Instance, name, AlertSeverity::Critical, rule);
    reading.condition = match verdict {
        InstanceVerdict::Ill => AlertCondition::Over,
        InstanceVerdict::Doubtful => AlertCondition::Near,
        InstanceVerdict::Well => AlertCondition::Clear,
    };
    reading.text = "Its canary fails in half of its rounds: take it out with seawall drain.".into();
    reading
}

/// The readings of all instances that serve, and of any others with an open incident: one that drains or is gone has none of these faults.
pub(super) fn loads<'a>(
    reports: &[InstanceReport],
    open: impl Iterator<Item = &'a Incident>,
) -> Vec<AlertReading> {
    let serving = reports.iter().filter_map(|report| {
        let stats = report.stats.as_ref()?;
        (report.state == "alive" && stats.phase == "serving").then_some((&*report.name, stats))
    });
    let mut readings: Vec<AlertReading> = serving
        .flat_map(|(name, stats)| [capacity(name, stats), clock(name, stats), canary(name, stats)])
        .collect();
    let known: BTreeSet<AlertKey> = readings.iter().map(|reading| reading.key.clone()).collect();
    let gone = open.filter(|incident| KINDS.contains(&incident.key.kind) && !known.contains(&incident.key));
    readings.extend(gone.map(|incident| warning(incident.key.kind, &incident.key.name, 0, UP_MS)));
    readings
}

/// A reading in the clear.
fn warning(kind: AlertKind, name: &str, over_ms: u64, clear_ms: u64) -> AlertReading {
    plain(kind, name, AlertSeverity::Warning, held(over_ms + GROUP_WAIT_MS, clear_ms))
}

/// The room for connections.
fn capacity(name: &str, stats: &InstanceStats) -> AlertReading {
    let InstanceStats { connections, connections_max, .. } = *stats;
    let mut reading = warning(AlertKind::Capacity, name, FULL_MS, UP_MS);
    let has = |percent: u64| {
        connections_max > 0 && connections.saturating_mul(100) > connections_max.saturating_mul(percent)
    };
    reading.condition = match (has(FULL_PERCENT), has(NEARLY_FULL_PERCENT)) {
        (true, _) => AlertCondition::Over,
        (false, true) => AlertCondition::Near,
        (false, false) => AlertCondition::Clear,
    };
    reading.text = format!(
        "{connections} of {connections_max} connections (limits.connections) are open. At the bound further clients are refused: add an instance, or raise the bound."
    );
    reading
}

/// The clock. A store that does not answer leaves it as it was.
fn clock(name: &str, stats: &InstanceStats) -> AlertReading {
    let mut reading = warning(AlertKind::Clock, name, SKEWED_MS, UP_MS);
    let Some(skew_ms) = stats.signs.clock_ms else {
        reading.condition = AlertCondition::Unmeasured;
        return reading;
    };
    reading.condition = match skew_ms.unsigned_abs() {
        ms if ms > SKEW_MS => AlertCondition::Over,
        ms if ms > SMALL_SKEW_MS => AlertCondition::Near,
        _ => AlertCondition::Clear,
    };
    let side = if skew_ms > 0 { "ahead of" } else { "behind" };
    let seconds = f64::from(skew_ms.unsigned_abs()) / 1e3;
    reading.text =
        format!("It is {seconds:.1} s {side} the clock of the database. Run NTP on both machines.");
    reading
}

/// The canary as a watcher: while it has no rounds, no event of a quiet night says that nothing works.
fn canary(name: &str, stats: &InstanceStats) -> AlertReading {
    let mut reading = warning(AlertKind::Canary, name, 0, 0);
    if let Some(silent_s) = stats.signs.canary_s {
        reading.condition = AlertCondition::Over;
        reading.text = format!(
            "It had no round for {} min, so an outage without users is not seen. Restart the instance.",
            silent_s / 60
        );
    }
    reading
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::incidents::{IncidentStep, Incidents};
    use crate::wire::stats::InstanceSigns;

    fn report(name: &str, connections: u64, signs: InstanceSigns) -> InstanceReport {
        let stats = InstanceStats {
            phase: "serving".into(),
            connections,
            connections_max: 1_000,
            signs,
            ..InstanceStats::default()
        };
        InstanceReport { name: name.into(), state: "alive", age_ms: 0, stats: Some(stats) }
    }

    fn signs(clock_ms: Option<i32>, canary_s: Option<u32>) -> InstanceSigns {
        InstanceSigns { clock_ms, canary_s }
    }

    /// Gives readings of these instances each second, and returns what began and ended, with the seconds.
    fn run(
        incidents: &mut Incidents,
        now_s: &mut u64,
        seconds: u64,
        reports: &[InstanceReport],
    ) -> Vec<(String, u64)> {
        let mut steps = Vec::new();
        for second in 1..=seconds {
            *now_s += 1;
            let readings = loads(reports, incidents.open());
            for step in incidents.read(&readings, *now_s * 1_000) {
                let key = match step {
                    IncidentStep::Began(number) => {
                        incidents.open().find(|it| it.number == number).expect("it is open").key.to_string()
                    }
                    IncidentStep::Ended(incident) => format!("end of {}", incident.key),
                };
                steps.push((key, second));
            }
        }
        steps
    }

    #[test]
    fn instance_that_is_nearly_full_skewed_or_without_a_canary_is_an_incident_until_it_is_not() {
        let step = |key: &str, at: u64| (key.to_owned(), at);
        let (mut incidents, mut now_s) = (Incidents::default(), 0);
        let mut run = |seconds, reports: &[InstanceReport]| run(&mut incidents, &mut now_s, seconds, reports);
        let well = report("b", 900, signs(Some(2_000), None));
        assert_eq!(run(1_000, std::slice::from_ref(&well)), [], "at the bounds");
        assert_eq!(run(200, &[report("a", 901, signs(None, None)), well.clone()]), [step("capacity/a", 131)]);
        assert_eq!(run(200, &[report("a", 851, signs(None, None))]), [], "near");
        assert_eq!(run(200, &[report("a", 850, signs(None, None))]), [step("end of capacity/a", 121)]);
        let behind = |ms| report("a", 0, signs(ms, None));
        assert_eq!(run(400, &[behind(Some(-2_001))]), [step("clock/a", 311)]);
        assert_eq!(run(400, &[behind(None)]), [], "the store does not answer");
        assert_eq!(run(400, &[behind(Some(-1_000))]), [step("end of clock/a", 121)]);
        assert_eq!(run(60, &[report("a", 0, signs(None, Some(300)))]), [step("canary/a", 11)]);
        assert_eq!(run(60, &[report("a", 0, signs(None, None))]), [step("end of canary/a", 2)]);
    }

    #[test]
    fn instance_that_drains_or_is_gone_has_no_such_incident() {
        let (mut incidents, mut now_s) = (Incidents::default(), 0);
        let ill = report("a", 1_000, signs(Some(9_000), Some(900)));
        assert_eq!(run(&mut incidents, &mut now_s, 400, std::slice::from_ref(&ill)).len(), 3);
        let mut draining = ill.clone();
        draining.stats.iter_mut().for_each(|stats| stats.phase = "moving".into());
        assert_eq!(run(&mut incidents, &mut now_s, 130, &[draining]).len(), 3);
        run(&mut incidents, &mut now_s, 400, &[ill]);
        assert_eq!(run(&mut incidents, &mut now_s, 130, &[]).len(), 3, "each has an end");
        assert_eq!(incidents.open().count(), 0);
    }
}
