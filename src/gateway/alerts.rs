//! The channels of incidents: the plan that a configuration makes, and the threads.

use super::config::Config;
use super::config::alert::{AlertSection, text};
use crate::alert::channel::AlertChannel;
use crate::alert::routing::AlertRouting;
use crate::clock::Now;
use crate::health::definition::Criticality;
use crate::job::alerts::{
    AlertPlan, HeartbeatTarget, HiddenText, NoticeTarget, NotifyEnds, WatchedDependency,
};
use crate::notify;
use std::io;
use std::sync::Arc;

/// The settings of alerts, as the threads need them.
pub(super) fn plan(config: &Config) -> AlertPlan {
    let alert = &config.alert;
    let configured = |channels: &[AlertChannel]| -> Vec<AlertChannel> {
        channels.iter().copied().filter(|channel| alert.has(*channel)).collect()
    };
    let escalate = if alert.escalate.is_empty() { &alert.critical } else { &alert.escalate };
    let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    AlertPlan {
        routing: AlertRouting {
            mode: alert.mode,
            critical: configured(&alert.critical),
            warning: configured(&alert.warning),
            info: configured(&alert.info),
            escalate: configured(escalate),
            escalate_ms: ms(alert.escalate_after),
        },
        deployment: alert.deployment.clone().unwrap_or_else(|| "seawall".into()),
        docs_url: alert.docs_url.clone().unwrap_or_default(),
        targets: targets(alert),
        heartbeat: alert
            .heartbeat_url
            .as_ref()
            .map(|url| HeartbeatTarget { url: HiddenText(text(url)), every_ms: ms(alert.heartbeat) }),
        dependencies: config
            .dependencies
            .iter()
            .map(|each| WatchedDependency {
                name: Arc::clone(&each.definition.name),
                is_critical: each.definition.criticality == Criticality::Critical,
            })
            .collect(),
    }
}

fn targets(alert: &AlertSection) -> Vec<NoticeTarget> {
    let slack = alert.slack_url.as_ref().map(|url| NoticeTarget::Slack {
        url: HiddenText(text(url)),
        mention: alert.slack_mention.clone().unwrap_or_default(),
    });
    let pagerduty = alert.pagerduty_key.as_ref().map(|key| NoticeTarget::Pagerduty {
        url: alert.pagerduty_address().to_owned(),
        key: HiddenText(text(key)),
    });
    let webhook = alert.webhook_url.as_ref().map(|url| NoticeTarget::Webhook {
        url: HiddenText(text(url)),
        secrets: alert.webhook_secrets().into_iter().map(HiddenText).collect(),
    });
    [slack, pagerduty, webhook].into_iter().flatten().collect()
}

/// Starts a thread for each channel. They wait for work; a reload may configure a channel at any time.
pub(super) fn start(
    config: &Config,
    threads: Vec<NotifyEnds>,
    clock: impl Fn() -> Now + Clone + Send + 'static,
) -> io::Result<()> {
    let names = AlertChannel::ALL.map(AlertChannel::as_str).into_iter().chain(["heartbeat"]);
    for (name, ends) in names.zip(threads) {
        notify::start(name, ends, config.server.source_address, clock.clone())?;
    }
    Ok(())
}
