//! `UPDATE=1 cargo test --lib slo::export` rewrites the files in `docs/deploy`; without it, a difference is a failure.

use super::exported::{promql_duration, share};
use super::*;
use crate::slo::objective::{EXPLAINED, OF_ANSWERS, RECOVERY, TICKETS_ONLY, USUAL};
use std::path::Path;

fn defaults() -> Vec<(&'static str, Objective)> {
    USUAL.into_iter().chain([EXPLAINED, RECOVERY]).collect()
}

fn text(format: ExportFormat) -> String {
    export(format, &defaults()).expect("tiers")
}

#[test]
fn files_of_the_repository_are_those_of_the_defaults() {
    let files = [
        (ExportFormat::Prometheus, "slo-rules.yaml"),
        (ExportFormat::Alertmanager, "alertmanager.yaml"),
        (ExportFormat::Grafana, "grafana.json"),
    ];
    for (format, name) in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy").join(name);
        let expected = text(format);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &expected).expect("the file can be written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == expected, "{name} is out of date: run UPDATE=1 cargo test --lib slo::export");
    }
}

#[test]
fn yaml_has_an_alert_for_each_objective_and_urgency() {
    let with_answers: Vec<_> = defaults().into_iter().chain(OF_ANSWERS).collect();
    let rules = export(ExportFormat::Prometheus, &with_answers).expect("tiers");
    let rules: serde_json::Value = serde_yaml_ng::from_str(&rules).expect("the rules are YAML");
    let groups = rules["groups"].as_array().expect("groups");
    let alerts = groups.last().expect("a group")["rules"].as_array().expect("rules");
    let named = |slo: &str| -> Vec<&str> {
        let of = alerts.iter().filter(|rule| rule["labels"]["slo"] == slo);
        of.filter_map(|rule| rule["labels"]["severity"].as_str()).collect()
    };
    for (name, _) in USUAL.into_iter().chain([OF_ANSWERS[0]]) {
        assert_eq!(named(name), ["page", "ticket"], "{name}");
    }
    for name in TICKETS_ONLY {
        assert_eq!(named(name), ["ticket"], "{name}");
    }
    for format in [ExportFormat::Alertmanager, ExportFormat::Sloth] {
        serde_yaml_ng::from_str::<serde_json::Value>(&text(format)).expect("YAML");
    }
}

#[test]
fn rules_have_the_thresholds_and_the_guard_of_the_judge() {
    let rules = text(ExportFormat::Prometheus);
    for part in [
        "slo:seawall_slo_error:ratio_increase30m{slo=\"delivery\"} >= 0.0168\n",
        "slo:seawall_slo_error:ratio_increase2m30s{slo=\"delivery\"} >= 0.0168\n",
        "+ 4.3 * sqrt(0.001 * slo:seawall_slo_valid:increase30m{slo=\"delivery\"}) + 3\n",
        "+ 3.7 * sqrt(0.001 * slo:seawall_slo_valid:increase2m30s{slo=\"delivery\"}) + 2\n",
    ] {
        assert!(rules.contains(part), "{part}");
    }
}

#[test]
fn objective_that_no_failure_could_burn_is_refused_by_its_name() {
    let wide = Objective { allowed_ppm: 100_000, period_days: 30, ..EXPLAINED.1 };
    let (name, fault) = export(ExportFormat::Sloth, &[("health", wide)]).expect_err("no tier");
    assert_eq!((name, fault.name), ("health", "fast"));
}

#[test]
fn numbers_and_durations_are_as_short_as_they_can_be() {
    assert_eq!([1_000_000, 500_000, 16_800, 1].map(share), ["1", "0.5", "0.0168", "0.000001"]);
    assert_eq!([150, 3_600, 259_200, 90].map(promql_duration), ["2m30s", "1h", "3d", "1m30s"]);
}

#[test]
fn objectives_of_answers_are_exported_only_where_there_are_some() {
    let with_answers: Vec<_> = defaults().into_iter().chain(OF_ANSWERS).collect();
    for format in
        [ExportFormat::Prometheus, ExportFormat::Grafana, ExportFormat::Sloth, ExportFormat::OpenSlo]
    {
        let has_answers = |text: &str| {
            text.contains("answers") && (text.contains("promptness") || text.contains("first_piece"))
        };
        assert!(has_answers(&export(format, &with_answers).expect("tiers")), "{format:?}");
        assert!(!text(format).contains("answers"), "{format:?}");
    }
}
