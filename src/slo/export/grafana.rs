//! A dashboard for Grafana 10: budgets, burn rates, events and what spoils them.

use super::exported::ExportedObjective;
use crate::slo::objective;
use serde_json::{Value, json};

/// The version of the format, which Grafana migrates to its own.
const SCHEMA_VERSION: u32 = 38;
/// The columns of Grafana's grid, and the width and height of a panel.
const COLUMNS: usize = 24;
const WIDTH: usize = 12;
const HEIGHT: usize = 8;

/// A panel of the dashboard.
struct Panel {
    title: &'static str,
    description: &'static str,
    kind: PanelKind,
    unit: &'static str,
    /// Expressions with their legends.
    queries: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy)]
enum PanelKind {
    /// The last value of each series, as a bar.
    Bars,
    Lines,
}

impl PanelKind {
    const fn as_str(self) -> &'static str {
        match self {
            PanelKind::Bars => "bargauge",
            PanelKind::Lines => "timeseries",
        }
    }
}

const PANELS: &[Panel] = &[
    Panel {
        title: "Budget left",
        description: "The share of the error budget that is left. Below 10 %: only fixes; 0: stop roll-outs.",
        kind: PanelKind::Bars,
        unit: "percentunit",
        queries: &[(
            r#"min by (slo, part) (seawall_slo_error_budget_remaining_ratio{job=~"$job"})"#,
            "{{slo}} {{part}}",
        )],
    },
    Panel {
        title: "Open incidents",
        description: "1 for each alert with an open incident. seawall alert explains them.",
        kind: PanelKind::Bars,
        unit: "none",
        queries: &[(
            r#"max by (alert, severity) (seawall_alert_firing{job=~"$job"})"#,
            "{{severity}}: {{alert}}",
        )],
    },
    Panel {
        title: "Burn rate",
        description: "The share of bad events over the allowed share. At 1 a period spends exactly its budget.",
        kind: PanelKind::Lines,
        unit: "none",
        queries: &[(
            r#"max by (slo, window) (seawall_slo_burn_rate_ratio{job=~"$job"})"#,
            "{{slo}}, {{window}}",
        )],
    },
    Panel {
        title: "Bad events",
        description: "The share of bad events in five minutes. Compare it with the rate of events.",
        kind: PanelKind::Lines,
        unit: "percentunit",
        queries: &[(
            r#"sum by (slo, part) (rate(seawall_slo_events_total{job=~"$job",outcome="bad"}[5m])) / sum by (slo, part) (rate(seawall_slo_events_total{job=~"$job",outcome=~"good|bad"}[5m]))"#,
            "{{slo}} {{part}}",
        )],
    },
    Panel {
        title: "Events",
        description: "Good and bad events a second.",
        kind: PanelKind::Lines,
        unit: "cps",
        queries: &[(
            r#"sum by (slo, part) (rate(seawall_slo_events_total{job=~"$job",outcome=~"good|bad"}[5m]))"#,
            "{{slo}} {{part}}",
        )],
    },
    Panel {
        title: "Causes of bad events",
        description: "Bad events a second, by cause.",
        kind: PanelKind::Lines,
        unit: "cps",
        queries: &[(
            r#"sum by (slo, part, cause) (rate(seawall_slo_bad_total{job=~"$job"}[5m])) > 0"#,
            "{{slo}} {{part}}: {{cause}}",
        )],
    },
    Panel {
        title: "Excluded events",
        description: "Events that do not count, a second, by reason.",
        kind: PanelKind::Lines,
        unit: "cps",
        queries: &[(
            r#"sum by (slo, part, reason) (rate(seawall_slo_excluded_total{job=~"$job"}[5m])) > 0"#,
            "{{slo}} {{part}}: {{reason}}",
        )],
    },
    Panel {
        title: "Sessions",
        description: "Sessions that are connected, and closes of connections a second by code.",
        kind: PanelKind::Lines,
        unit: "short",
        queries: &[
            (r#"sum by (instance) (seawall_sessions_open{job=~"$job"})"#, "{{instance}}"),
            (
                r#"sum by (code) (rate(seawall_closes_total{job=~"$job"}[5m])) > 0"#,
                "closes with {{code}} a second",
            ),
        ],
    },
    Panel {
        title: "Latency: 99 %",
        description: "99 % of replies to publish, of deliveries and of handshakes come within this time.",
        kind: PanelKind::Lines,
        unit: "s",
        queries: &[
            (
                r#"histogram_quantile(0.99, sum by (le) (rate(seawall_publish_seconds_bucket{job=~"$job"}[5m])))"#,
                "publish",
            ),
            (
                r#"histogram_quantile(0.99, sum by (le) (rate(seawall_delivery_seconds_bucket{job=~"$job"}[5m])))"#,
                "delivery",
            ),
            (
                r#"histogram_quantile(0.99, sum by (le) (rate(seawall_handshake_seconds_bucket{job=~"$job"}[5m])))"#,
                "handshake",
            ),
            (
                r#"histogram_quantile(0.99, sum by (le) (rate(seawall_token_check_seconds_bucket{job=~"$job"}[5m])))"#,
                "token check",
            ),
        ],
    },
    Panel {
        title: "Commits",
        description: "The time of a transaction of the store, which publishers wait for.",
        kind: PanelKind::Lines,
        unit: "s",
        queries: &[
            (
                r#"histogram_quantile(0.5, sum by (le) (rate(seawall_store_commit_seconds_bucket{job=~"$job"}[5m])))"#,
                "half within",
            ),
            (
                r#"histogram_quantile(0.99, sum by (le) (rate(seawall_store_commit_seconds_bucket{job=~"$job"}[5m])))"#,
                "99 % within",
            ),
        ],
    },
    Panel {
        title: "Dependencies",
        description: "1 while a dependency is up.",
        kind: PanelKind::Lines,
        unit: "none",
        queries: &[
            (r#"min by (dependency) (seawall_dependency_up{job=~"$job"})"#, "{{dependency}}"),
            (r#"min by (instance) (seawall_gateway_up{job=~"$job"})"#, "{{instance}} itself"),
        ],
    },
];

/// The panels of a gateway that has the objectives of answers.
const OF_ANSWERS: &[Panel] = &[
    Panel {
        title: "Time to the first piece of an answer",
        description: "The time from a question to the first text or event of its answer.",
        kind: PanelKind::Lines,
        unit: "s",
        queries: &[
            (
                r#"histogram_quantile(0.5, sum by (le) (rate(seawall_relay_first_piece_seconds_bucket{job=~"$job"}[5m])))"#,
                "half within",
            ),
            (
                r#"histogram_quantile(0.95, sum by (le) (rate(seawall_relay_first_piece_seconds_bucket{job=~"$job"}[5m])))"#,
                "95 % within",
            ),
        ],
    },
    Panel {
        title: "Ends of answers",
        description: "Answers that ended, a second, by state and the reason of the gateway.",
        kind: PanelKind::Lines,
        unit: "cps",
        queries: &[(
            r#"sum by (state, cause) (rate(seawall_relay_answers_total{job=~"$job"}[5m])) > 0"#,
            "{{state}}: {{cause}}",
        )],
    },
];

/// The dashboard as JSON.
pub(super) fn dashboard(objectives: &[ExportedObjective]) -> String {
    let is_of_answers =
        |one: &ExportedObjective| objective::OF_ANSWERS.iter().any(|(name, _)| *name == one.name);
    let of_answers = if objectives.iter().any(is_of_answers) { OF_ANSWERS } else { &[] };
    let variable = |name: &str, value: Value| {
        let mut variable = json!({ "name": name, "label": name, "hide": 0, "includeAll": false });
        if let (Some(fields), Value::Object(more)) = (variable.as_object_mut(), value) {
            fields.extend(more);
        }
        variable
    };
    let job = json!({
        "type": "query", "datasource": source(), "refresh": 1, "multi": true, "includeAll": true, "allValue": ".*",
        "query": "label_values(seawall_build_info, job)",
    });
    let dashboard = json!({
        "title": "Seawall objectives",
        "uid": "seawall-slo",
        "tags": ["seawall"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": true,
        "refresh": "1m",
        "time": { "from": "now-24h", "to": "now" },
        "templating": { "list": [variable("datasource", json!({ "type": "datasource", "query": "prometheus" })), variable("job", job)] },
        "panels": PANELS.iter().chain(of_answers).enumerate().map(|(index, one)| panel(index, one)).collect::<Vec<_>>(),
    });
    let mut text = serde_json::to_string_pretty(&dashboard).unwrap_or_default();
    text.push('\n');
    text
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn panel(index: usize, panel: &Panel) -> Value {
    let target = |(number, (expression, legend)): (usize, &(&str, &str))| {
        let name = char::from(b'A' + number as u8).to_string();
        json!({ "refId": name, "datasource": source(), "expr": expression, "legendFormat": legend })
    };
    let place = index * WIDTH;
    json!({
        "id": index + 1,
        "title": panel.title,
        "description": panel.description,
        "type": panel.kind.as_str(),
        "datasource": source(),
        "gridPos": { "x": place % COLUMNS, "y": place / COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT },
        "fieldConfig": { "defaults": { "unit": panel.unit }, "overrides": [] },
        "targets": panel.queries.iter().enumerate().map(target).collect::<Vec<_>>(),
    })
}
