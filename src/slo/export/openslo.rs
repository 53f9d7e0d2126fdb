//! OpenSLO v1: a document for each part, because an objective there has one ratio, and a policy for each tier.
//!
//! Source: the specification in github.com/OpenSLO/OpenSLO. Its durations have no seconds, so the short window of a tier, and the ten
//! seconds that attempts are counted by, are annotations.

use super::exported::{ExportedObjective, promql_duration, share};
use crate::slo::objective::Counting;
use crate::slo::part::SloPart;
use crate::slo::tier::{Tier, Urgency};
use std::fmt::Write;

/// The label that names the objective of a document.
pub(in crate::slo) const OBJECTIVE_LABEL: &str = "seawall.dev/objective";
/// The annotation that lists the objectives that are off.
pub(in crate::slo) const OFF_ANNOTATION: &str = "seawall.dev/off";

const HEAD: &str = "# Objectives of Seawall in OpenSLO v1: seawall slo export --format openslo\n";

/// All documents of these objectives; the known ones without one are off, but for those of answers, which need a relay.
pub(super) fn documents(objectives: &[ExportedObjective]) -> String {
    let mut off: Vec<&str> = SloPart::ALL
        .into_iter()
        .filter(|part| !part.is_of_answers())
        .map(SloPart::objective)
        .filter(|name| objectives.iter().all(|one| one.name != *name))
        .collect();
    off.sort_unstable();
    off.dedup();
    let mut text = HEAD.to_owned();
    service(&mut text, &off);
    for exported in objectives {
        for part in SloPart::ALL.into_iter().filter(|part| part.objective() == exported.name) {
            objective(&mut text, exported, part);
        }
        for tier in &exported.tiers {
            policy(&mut text, exported, tier);
        }
    }
    text
}

/// The documents that the others refer to.
fn service(text: &mut String, off: &[&str]) {
    let annotations = match off {
        [] => String::new(),
        off => format!("  annotations: {{{OFF_ANNOTATION}: \"{}\"}}\n", off.join(" ")),
    };
    // Writing to a string cannot fail.
    let _infallible = write!(
        text,
        "apiVersion: openslo/v1
kind: Service
metadata:
  name: seawall
  displayName: Seawall
{annotations}spec:
  description: A chat gateway
---
apiVersion: openslo/v1
kind: DataSource
metadata:
  name: prometheus
spec:
  type: Prometheus
  connectionDetails: {{url: \"http://127.0.0.1:9090\"}}
"
    );
    for (severity, description) in
        [("page", "Calls a person at once"), ("ticket", "A person looks within a day")]
    {
        let _infallible = write!(
            text,
            "---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata:
  name: seawall-{severity}
spec:
  description: {description}
  target: alertmanager
"
        );
    }
}

fn objective(text: &mut String, exported: &ExportedObjective, part: SloPart) {
    let ExportedObjective { name: slo, objective, tiers } = exported;
    let part_name = part.as_str();
    let metric = match part {
        SloPart::Session => "seawall_slo_seconds_total",
        _ => "seawall_slo_events_total",
    };
    let (budgeting, slice, annotation) = match part.counting() {
        Counting::Events => ("Occurrences", "", ""),
        Counting::Looks => ("RatioTimeslices", ", timeSliceWindow: 1m", ", seawall.dev/slice: 10s"),
    };
    let source = |outcomes: &str| {
        format!(
            "
          metricSource:
            metricSourceRef: prometheus
            type: Prometheus
            spec:
              query: 'sum({metric}{{slo=\"{slo}\",part=\"{part_name}\",outcome{outcomes}}})'"
        )
    };
    let policies: Vec<String> = tiers.iter().map(|tier| format!("{slo}-{}", tier.name)).collect();
    let _infallible = write!(
        text,
        "---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: {slo}-{part_name}
  labels: {{{OBJECTIVE_LABEL}: {slo}}}
  annotations: {{seawall.dev/part: {part_name}, seawall.dev/unit: {}{annotation}}}
spec:
  description: See docs/slo.md
  service: seawall
  indicator:
    metadata: {{name: {slo}-{part_name}}}
    spec:
      ratioMetric:
        counter: true
        good:{}
        total:{}
  timeWindow:
    - duration: {}d
      isRolling: true
  budgetingMethod: {budgeting}
  objectives:
    - {{displayName: {slo}, target: {}{slice}}}
  alertPolicies: [{}]
",
        part.unit(),
        source("=\"good\""),
        source("=~\"good|bad\""),
        objective.period_days,
        share(1_000_000 - objective.allowed_ppm),
        policies.join(", "),
    );
}

fn policy(text: &mut String, exported: &ExportedObjective, tier: &Tier) {
    let ExportedObjective { name: slo, objective, .. } = exported;
    let severity = match exported.urgency(tier) {
        Urgency::Page => "page",
        Urgency::Ticket => "ticket",
    };
    let burn = tier.burn_milli(objective);
    let _infallible = write!(
        text,
        "---
apiVersion: openslo/v1
kind: AlertPolicy
metadata:
  name: {slo}-{name}
  labels: {{{OBJECTIVE_LABEL}: {slo}}}
  annotations: {{seawall.dev/short-window: {short}, seawall.dev/runbook: \"docs/outages.md#runbook-slo-{slo}\"}}
spec:
  alertWhenBreaching: true
  alertWhenResolved: true
  alertWhenNoData: false
  conditions:
    - kind: AlertCondition
      metadata: {{name: {slo}-{name}}}
      spec:
        severity: {severity}
        condition: {{kind: burnrate, op: gte, threshold: {}.{:03}, lookbackWindow: {long}}}
  notificationTargets:
    - targetRef: seawall-{severity}
",
        burn / 1_000,
        burn % 1_000,
        name = tier.name,
        short = promql_duration(tier.short_s),
        long = promql_duration(tier.long_s),
    );
}
