//! Rules for Prometheus: one recording rule for each window, and one alert for each objective and urgency.
//!
//! All objectives share a recording rule, because Prometheus takes two rules with one name and the same labels for a mistake. For the
//! same reason each alert has the label `slo`.

use super::exported::{
    BURNING, CANARY, CLOCK, ExportedObjective, LEAKING, LOW, SILENT, SPENT, promql_duration, share,
};
use crate::slo::history::SLOT_S;
use crate::slo::objective::Counting;
use crate::slo::part::SloPart;
use crate::slo::tier::{Tier, Urgency};
use std::fmt::Write;

const HEAD: &str = "\
# Objectives of Seawall for Prometheus 2.42 or later: seawall slo export --format prometheus
#
# Scrape every 15 seconds. A job is a deployment: give each one a job name of its own. Seawall judges the same objectives by itself
# (docs/alerts.md). These rules differ: each attempt to connect counts, so an outage that ends after minutes spends more of the
# budget; the group of users with most bad events is not left out; an alert ends five minutes after its windows are below.
groups:
";
/// Windows of at most this length are evaluated with each scrape, in seconds.
const SHORT_WINDOW_MAX_S: u32 = 3_600;
/// Connection-seconds that count as one event, because the guard compares events.
const SECONDS_AS_ONE: u64 = SloPart::Session.judged_as_one() / 1_000;
/// The labels that stay: those of the deployment and of the part.
const BY: &str = "sum by (job, slo, part)";
/// Time without a judgement after which the judge has failed, in seconds.
const SILENT_S: u32 = 18 * SLOT_S;

/// The file with all rules.
pub(super) fn rules(objectives: &[ExportedObjective]) -> String {
    let mut text = HEAD.to_owned();
    let mut windows: Vec<u32> =
        objectives.iter().flat_map(|one| &one.tiers).flat_map(|tier| [tier.long_s, tier.short_s]).collect();
    windows.sort_unstable();
    windows.dedup();
    let (short, long): (Vec<u32>, Vec<u32>) =
        windows.iter().partition(|window| **window <= SHORT_WINDOW_MAX_S);
    for (name, interval, windows) in
        [("seawall-slo-windows", "15s", short), ("seawall-slo-long-windows", "1m", long)]
    {
        if windows.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "  - name: {name}\n    interval: {interval}\n    rules:");
        windows.into_iter().for_each(|window_s| window(&mut text, window_s));
    }
    text += "  - name: seawall-slo-alerts\n    interval: 15s\n    rules:\n";
    for objective in objectives {
        for urgency in [Urgency::Page, Urgency::Ticket] {
            burn_alert(&mut text, objective, urgency);
        }
    }
    budget_alerts(&mut text);
    text
}

/// The recording rules of a window.
fn window(text: &mut String, window_s: u32) {
    let window = promql_duration(window_s);
    for (name, outcomes) in [("valid", r#"outcome=~"good|bad""#), ("bad", r#"outcome="bad""#)] {
        let _infallible = write!(
            text,
            "      - record: slo:seawall_slo_{name}:increase{window}
        expr: |-
          {BY} (increase(seawall_slo_events_total{{{outcomes}}}[{window}]))
          or {BY} (increase(seawall_slo_seconds_total{{{outcomes}}}[{window}])) / {SECONDS_AS_ONE}
"
        );
    }
    let _infallible = write!(
        text,
        "      - record: slo:seawall_slo_error:ratio_increase{window}
        expr: slo:seawall_slo_bad:increase{window} / (slo:seawall_slo_valid:increase{window} > 0)
"
    );
}

/// The alert of all tiers of an urgency.
fn burn_alert(text: &mut String, exported: &ExportedObjective, urgency: Urgency) {
    let ExportedObjective { name, objective, tiers } = exported;
    let conditions: Vec<String> = tiers
        .iter()
        .filter(|tier| exported.urgency(tier) == urgency)
        .map(|tier| condition(exported, tier))
        .collect();
    if conditions.is_empty() {
        return;
    }
    let (alert, verb) = match urgency {
        Urgency::Page => (BURNING, "burns"),
        Urgency::Ticket => (LEAKING, "leaks"),
    };
    let counts_looks =
        SloPart::ALL.into_iter().any(|part| part.objective() == *name && part.counting() == Counting::Looks);
    let note = if counts_looks { " Each attempt counts here: compare seawall slo." } else { "" };
    let _infallible = write!(
        text,
        "      - alert: {alert}
        expr: |-
          {}
        keep_firing_for: 5m
        labels: {{severity: {}, slo: {name}}}
        annotations:
          summary: \"{name} of {{{{ $labels.job }}}} {verb}: {{{{ $value | humanizePercentage }}}} of {{{{ $labels.part }}}} are bad. Promised: {objective}.\"
          description: \"Run seawall slo {name} and seawall doctor.{note}\"
          runbook: docs/outages.md#runbook-slo-{name}
",
        conditions.join("\n          or\n          "),
        severity(urgency),
    );
}

/// The severity, as in the other alerts of Seawall.
const fn severity(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Page => "page",
        Urgency::Ticket => "ticket",
    }
}

/// True exactly while both windows of a tier reach its threshold, and both have more bad events than chance explains. The factors are
/// those of [`Guard`](crate::slo::guard::Guard).
fn condition(exported: &ExportedObjective, tier: &Tier) -> String {
    let (slo, allowed, threshold) = (exported.name, exported.allowed(), share(tier.threshold_ppm));
    let [long, short] = [tier.long_s, tier.short_s].map(promql_duration);
    let over = |window: &str| {
        format!("slo:seawall_slo_error:ratio_increase{window}{{slo=\"{slo}\"}} >= {threshold}")
    };
    let guard = |window: &str, factor: &str, constant: u32| {
        let expected = format!("{allowed} * slo:seawall_slo_valid:increase{window}{{slo=\"{slo}\"}}");
        let bad = format!("slo:seawall_slo_bad:increase{window}{{slo=\"{slo}\"}}");
        format!("{bad}\n              >= {expected} + {factor} * sqrt({expected}) + {constant}")
    };
    let parts = [over(&long), over(&short), guard(&long, "4.3", 3), guard(&short, "3.7", 2)];
    format!("(\n            {}\n          )", parts.join("\n            and "))
}

/// The alerts on budgets, and on what judges them: the thread, the canary and the clocks.
fn budget_alerts(text: &mut String) {
    let left = "min by (job, slo, part) (seawall_slo_error_budget_remaining_ratio)";
    let _infallible = write!(
        text,
        "      - alert: {SPENT}
        expr: {left} <= 0
        for: 1m
        labels: {{severity: ticket}}
        annotations:
          summary: \"{{{{ $labels.slo }}}} of {{{{ $labels.job }}}} is not kept: the budget of {{{{ $labels.part }}}} is spent. Run seawall slo {{{{ $labels.slo }}}}.\"
      - alert: {LOW}
        expr: 0 < {left} < 0.1
        for: 1m
        labels: {{severity: ticket}}
        annotations:
          summary: \"{{{{ $value | humanizePercentage }}}} of the budget of {{{{ $labels.slo }}}}, {{{{ $labels.part }}}}, of {{{{ $labels.job }}}} are left.\"
      - alert: {SILENT}
        expr: time() - seawall_slo_evaluated_timestamp_seconds > {SILENT_S}
        labels: {{severity: ticket}}
        annotations:
          summary: \"{{{{ $labels.instance }}}} has not judged its objectives for three minutes, so it sends no notices. See its log.\"
      - alert: {CANARY}
        expr: seawall_slo_canary_silent == 1
        for: 1m
        labels: {{severity: ticket}}
        annotations:
          summary: \"The canary of {{{{ $labels.instance }}}} has stopped, so an outage without users is not seen there. Restart it.\"
          runbook: docs/outages.md#runbook-canary
      - alert: {CLOCK}
        expr: abs(seawall_clock_skew_seconds) > 2
        for: 5m
        labels: {{severity: ticket}}
        annotations:
          summary: \"The clock of {{{{ $labels.instance }}}} differs from that of the database by {{{{ $value | humanizeDuration }}}}. Run NTP on both.\"
          runbook: docs/outages.md#runbook-clock
"
    );
}
