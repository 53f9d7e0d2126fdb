//! The check of `[alert]`: a channel that cannot work is refused.

use super::alert::text;
use super::alert_fault::AlertFault;
use super::error::{ConfigFault, ProblemList};
use super::sections::Config;
use crate::alert::channel::AlertChannel;
use crate::notify::address;
use crate::notify::is_webhook_secret;
use zeroize::Zeroizing;

const SLACK_URL: &str = "alert.slack_url";
const PAGERDUTY_URL: &str = "alert.pagerduty_url";
const WEBHOOK_URL: &str = "alert.webhook_url";
const WEBHOOK_SECRET: &str = "alert.webhook_secret";
const HEARTBEAT_URL: &str = "alert.heartbeat_url";
/// Secrets of a webhook: the new one, and the old one until the receiver knows the new one.
const SECRETS_MAX: usize = 2;

/// Reports what cannot be used.
pub(super) fn check(config: &Config, report: &mut ProblemList) {
    let alert = &config.alert;
    let mut fault =
        |setting: &'static str, fault| report.add(config.origins.of(setting).clone(), setting, fault);
    let secrets = [
        (SLACK_URL, alert.slack_url.as_ref()),
        (WEBHOOK_URL, alert.webhook_url.as_ref()),
        (HEARTBEAT_URL, alert.heartbeat_url.as_ref()),
    ];
    let addresses = secrets.into_iter().filter_map(|(setting, secret)| Some((setting, text(secret?))));
    let pagerduty = (PAGERDUTY_URL, Zeroizing::new(alert.pagerduty_address().to_owned()));
    for (setting, address) in addresses.chain([pagerduty]) {
        if let Err(wrong) = address::parse(&address) {
            fault(setting, ConfigFault::Alert(AlertFault::Address(wrong)));
        }
    }
    let secrets = alert.webhook_secrets();
    if alert.webhook_secret.is_some()
        && (secrets.is_empty()
            || secrets.len() > SECRETS_MAX
            || !secrets.iter().all(|secret| is_webhook_secret(secret)))
    {
        fault(WEBHOOK_SECRET, ConfigFault::Alert(AlertFault::WebhookSecret));
    }
    match (&alert.webhook_url, &alert.webhook_secret) {
        (Some(_), None) => fault(WEBHOOK_URL, ConfigFault::NeedsSetting { setting: WEBHOOK_SECRET }),
        (None, Some(_)) => fault(WEBHOOK_SECRET, ConfigFault::NeedsSetting { setting: WEBHOOK_URL }),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if alert.info.contains(&AlertChannel::Pagerduty) {
        fault("alert.info", ConfigFault::Alert(AlertFault::NoReports));
    }
    let is_any = AlertChannel::ALL.into_iter().any(|channel| alert.has(channel));
    if is_any && !alert.critical.iter().any(|channel| alert.has(*channel)) {
        fault("alert.critical", ConfigFault::Alert(AlertFault::NoChannel));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sources::load_text;
    use std::path::Path;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn channel_that_cannot_work_is_refused_without_showing_its_secret() {
        let load = |text: &str| load_text(Path::new("seawall.toml"), &format!("[alert]\n{text}\n"));
        let webhook =
            format!("webhook_url = \"https://ops.example/hunter2\"\nwebhook_secret = \"{SECRET} {SECRET}\"");
        for right in [
            "slack_url = \"https://hooks.example/hunter2\"",
            "heartbeat_url = \"http://127.0.0.1:1/x\"",
            &webhook,
        ] {
            assert!(load(right).is_ok(), "{right}");
        }
        for (wrong, part) in [
            ("slack_url = \"http://hooks.example/hunter2\"", "alert.slack_url: use https://"),
            ("slack_url = \"https:\\\\\\\\hooks.example\\\\hunter2\"", "alert.slack_url: write it like"),
            ("pagerduty_key = \"hunter2\"\ncritical = [\"slack\"]", "alert.critical: names no channel"),
            ("pagerduty_url = \"http://events.example/hunter2\"", "alert.pagerduty_url: use https://"),
            ("webhook_url = \"https://ops.example/hunter2\"", "needs"),
            (
                "webhook_url = \"https://ops.example/\"\nwebhook_secret = \"hunter2\"",
                "alert.webhook_secret: must be",
            ),
            ("critical = [\"pager\"]", "\"pagerduty\""),
        ] {
            let error = load(wrong).expect_err(wrong).to_string();
            let part = if part == "needs" { "has no effect without alert.webhook_secret" } else { part };
            assert!(error.contains(part) && !error.contains("hunter2"), "{wrong}: {error}");
        }
    }
}
