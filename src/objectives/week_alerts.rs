//! The incidents and notices of a week, of their rows in `slo.db` or in the store that instances share.

use crate::alert::incident::Incident;
use crate::alert::key::{AlertKind, AlertSeverity};
use crate::alert::notice::{AlertNotice, NoticeEvent};
use crate::slo::calendar::QuarterSpan;
use crate::slo::weekly_rows::{NoticeTally, OutageSpan, WeekRows};
use std::collections::BTreeMap;

/// An incident that ended sooner, and that no operator acknowledged, was brief, in milliseconds.
const BRIEF_MS: u64 = 600_000;

/// The outages and the tally of a week, without other rows. `incidents` has the bodies of incidents that were open in it, `notices` the fate
/// and the body of each notice. One of a newer version is left out. `now_ms` ends what still goes on.
pub(super) fn alerts_of_week(
    incidents: &[String],
    notices: &[(String, String)],
    week: QuarterSpan,
    now_ms: u64,
) -> WeekRows {
    let incidents: Vec<Incident> =
        incidents.iter().filter_map(|body| serde_json::from_str(body).ok()).collect();
    WeekRows {
        outages: outages(&incidents, now_ms),
        notices: tally(&incidents, notices, week.from_ms()),
        ..WeekRows::default()
    }
}

/// The time from the first failure to the last: an incident ends when the dependency was up for a while.
fn outages(incidents: &[Incident], now_ms: u64) -> Vec<OutageSpan> {
    let of_dependencies = incidents.iter().filter(|incident| incident.key.kind == AlertKind::Dependency);
    let outage = |incident: &Incident| OutageSpan {
        dependency: incident.key.name.to_string(),
        reference: incident.reference.clone(),
        from_ms: incident.since_ms,
        until_ms: incident.end.map_or(now_ms, |end| end.at_ms),
    };
    of_dependencies.map(outage).collect()
}

fn tally(incidents: &[Incident], notices: &[(String, String)], from_ms: u64) -> NoticeTally {
    let mut tally = NoticeTally::default();
    let mut by_alert: BTreeMap<String, u64> = BTreeMap::new();
    for (fate, body) in notices {
        let Ok(AlertNotice { content, .. }) = serde_json::from_str(body) else { continue };
        if fate == "dead" {
            tally.dead += 1;
        } else if content.event == NoticeEvent::Began {
            let count = match (content.key.kind, content.severity) {
                (AlertKind::Test, _) => &mut tally.test,
                (_, AlertSeverity::Critical) => &mut tally.critical,
                (_, AlertSeverity::Warning | AlertSeverity::Info) => &mut tally.warning,
            };
            *count += 1;
            if content.key.kind != AlertKind::Test {
                *by_alert.entry(content.key.to_string()).or_default() += 1;
            }
        }
    }
    let is_brief = |incident: &&Incident| {
        let lasted = incident.end.map(|end| end.at_ms.saturating_sub(incident.since_ms));
        incident.key.kind != AlertKind::Test
            && incident.acknowledged_ms.is_none()
            && incident.since_ms >= from_ms
            && lasted.is_some_and(|lasted| lasted < BRIEF_MS)
    };
    tally.brief = incidents.iter().filter(is_brief).count() as u64;
    tally.noisiest = by_alert.into_iter().rev().max_by_key(|(_, count)| *count);
    tally
}
