//! Recording rules with the names and labels that Sloth 0.11 generates, so that its dashboards show the objectives of Seawall.
//!
//! Each part is an objective of its own there. Source: sloth.dev, the examples of generated rules in its repository.

use super::exported::{ExportedObjective, promql_duration, share};
use crate::slo::part::SloPart;
use std::fmt::Write;

const HEAD: &str = "\
# Objectives of Seawall with the recording rules of Sloth: seawall slo export --format sloth
#
# For the dashboards of Sloth. The alerts are in the rules of --format prometheus. Scrape every 15 seconds.
groups:
";
/// The windows whose ratios the dashboards read, in seconds.
const WINDOWS_S: [u32; 7] = [300, 1_800, 3_600, 7_200, 21_600, 86_400, 259_200];
const SERVICE: &str = "seawall";
const DAY_S: u32 = 86_400;

/// The file with the rules of all parts.
pub(super) fn rules(objectives: &[ExportedObjective]) -> String {
    let mut text = HEAD.to_owned();
    for exported in objectives {
        for part in SloPart::ALL.into_iter().filter(|part| part.objective() == exported.name) {
            part_rules(&mut text, exported, part);
        }
    }
    text
}

/// The expression of the bad or of all events of a part in a window.
fn events(part: SloPart, outcomes: &str, window: &str) -> String {
    let metric = match part {
        SloPart::Session => "seawall_slo_seconds_total",
        _ => "seawall_slo_events_total",
    };
    let (slo, part) = (part.objective(), part.as_str());
    format!("sum(rate({metric}{{slo=\"{slo}\",part=\"{part}\",outcome{outcomes}}}[{window}]))")
}

fn part_rules(text: &mut String, exported: &ExportedObjective, part: SloPart) {
    let slo = format!("{}-{}", exported.name, part.as_str());
    let labels = format!("sloth_id: {SERVICE}-{slo}, sloth_service: {SERVICE}, sloth_slo: {slo}");
    let selector = format!("{{sloth_id=\"{SERVICE}-{slo}\"}}");
    // Writing to a string cannot fail.
    let _infallible = writeln!(text, "  - name: sloth-slo-sli-recordings-{SERVICE}-{slo}\n    rules:");
    for window in WINDOWS_S.map(promql_duration) {
        let (bad, valid) = (events(part, "=\"bad\"", &window), events(part, "=~\"good|bad\"", &window));
        let _infallible = write!(
            text,
            "      - record: slo:sli_error:ratio_rate{window}
        expr: |-
          {bad}
          / {valid}
        labels: {{{labels}, sloth_window: {window}}}
"
        );
    }
    let days = exported.objective.period_days;
    let period = promql_duration(days * DAY_S);
    // The longest window is the period itself in some objectives.
    if !WINDOWS_S.contains(&(days * DAY_S)) {
        let of_period = format!("slo:sli_error:ratio_rate5m{selector}[{period}]");
        let _infallible = write!(
            text,
            "      - record: slo:sli_error:ratio_rate{period}
        expr: |-
          sum_over_time({of_period})
          / ignoring (sloth_window) count_over_time({of_period})
        labels: {{{labels}, sloth_window: {period}}}
"
        );
    }
    let _infallible = writeln!(text, "  - name: sloth-slo-meta-recordings-{SERVICE}-{slo}\n    rules:");
    let good = share(1_000_000 - exported.objective.allowed_ppm);
    let burn = |window: &str| {
        format!(
            "slo:sli_error:ratio_rate{window}{selector} / on (sloth_id, sloth_slo, sloth_service) group_left () \
             slo:error_budget:ratio{selector}"
        )
    };
    let rules = [
        ("slo:objective:ratio", format!("vector({good})")),
        ("slo:error_budget:ratio", format!("vector({})", exported.allowed())),
        ("slo:time_period:days", format!("vector({days})")),
        ("slo:current_burn_rate:ratio", burn("5m")),
        ("slo:period_burn_rate:ratio", burn(&period)),
        ("slo:period_error_budget_remaining:ratio", format!("1 - slo:period_burn_rate:ratio{selector}")),
    ];
    for (record, expression) in rules {
        let _infallible = write!(
            text,
            "      - record: {record}
        expr: {expression}
        labels: {{{labels}}}
"
        );
    }
    let _infallible = write!(
        text,
        "      - record: sloth_slo_info
        expr: vector(1)
        labels: {{{labels}, sloth_mode: cli-gen-prom, sloth_objective: \"{}\", sloth_spec: prometheus/v1}}
",
        percent(exported.objective.allowed_ppm),
    );
}

/// The promised share in percent, as a number.
fn percent(allowed_ppm: u32) -> String {
    let good = 1_000_000 - allowed_ppm;
    let text = format!("{}.{:04}", good / 10_000, good % 10_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
