//! A configuration for Alertmanager: routes by severity, and causes before effects.

use super::exported::{BURNING, LEAKING, LOW, SPENT};

/// The whole file. Its receivers read addresses and keys from files.
pub(super) fn configuration() -> String {
    format!(
        r#"# Routes and inhibitions for the alerts of Seawall: seawall slo export --format alertmanager
#
# For Alertmanager 0.25 or later. Write the routing key of a PagerDuty integration and the address of a Slack webhook into the two
# files. Notices of Seawall itself (docs/alerts.md) have other keys: with both, each incident comes twice, so set alert.mode =
# "observe" there.
route:
  receiver: seawall-ticket
  group_by: [alertname, job, slo]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 1d
  routes:
    - matchers: ['severity="page"']
      receiver: seawall-page
      repeat_interval: 4h
receivers:
  - name: seawall-page
    pagerduty_configs:
      - routing_key_file: /etc/alertmanager/pagerduty_key
        send_resolved: true
    slack_configs:
      - &slack
        api_url_file: /etc/alertmanager/slack_url
        channel: '#seawall'
        title: '{{{{ .CommonLabels.alertname }}}} {{{{ .CommonLabels.slo }}}}'
        text: '{{{{ range .Alerts }}}}{{{{ .Annotations.summary }}}} {{{{ end }}}}'
        send_resolved: true
  - name: seawall-ticket
    slack_configs:
      - *slack
inhibit_rules:
  # A burning objective explains a leaking one, and the budget that it spends.
  - source_matchers: ['alertname="{BURNING}"']
    target_matchers: ['alertname=~"{LEAKING}|{SPENT}|{LOW}"']
    equal: [job, slo]
  - source_matchers: ['alertname="{SPENT}"']
    target_matchers: ['alertname="{LOW}"']
    equal: [job, slo]
  # A critical dependency that is down explains what users notice.
  - source_matchers: ['alertname=~"SeawallDown|SeawallStoreFailing"']
    target_matchers: ['alertname=~"{BURNING}|{LEAKING}"', 'slo=~"connection|delivery|latency"']
    equal: [job]
"#
    )
}
