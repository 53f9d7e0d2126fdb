//! `[alert]`: the channels of incidents.

use super::url::Url;
use super::value::Secret;
use crate::alert::channel::AlertChannel;
use crate::alert::routing::AlertMode;
use std::time::Duration;
use zeroize::Zeroizing;

/// The channels, and the incidents that each is sent.
#[derive(Clone, Debug)]
pub struct AlertSection {
    pub mode: AlertMode,
    /// `None`: `seawall`.
    pub deployment: Option<String>,
    pub docs_url: Option<String>,
    pub critical: Vec<AlertChannel>,
    pub warning: Vec<AlertChannel>,
    pub info: Vec<AlertChannel>,
    /// Empty: as `critical`.
    pub escalate: Vec<AlertChannel>,
    pub escalate_after: Duration,
    pub slack_url: Option<Secret>,
    pub slack_mention: Option<String>,
    pub pagerduty_key: Option<Secret>,
    /// `None`: the service in the USA.
    pub pagerduty_url: Option<Url>,
    pub webhook_url: Option<Secret>,
    /// The newest first, with blanks between them.
    pub webhook_secret: Option<Secret>,
    pub heartbeat_url: Option<Secret>,
    pub heartbeat: Duration,
}

impl Default for AlertSection {
    fn default() -> AlertSection {
        AlertSection {
            mode: AlertMode::Send,
            deployment: None,
            docs_url: None,
            critical: AlertChannel::ALL.to_vec(),
            warning: vec![AlertChannel::Slack, AlertChannel::Webhook],
            info: vec![AlertChannel::Slack, AlertChannel::Webhook],
            escalate: Vec::new(),
            escalate_after: Duration::from_secs(900),
            slack_url: None,
            slack_mention: None,
            pagerduty_key: None,
            pagerduty_url: None,
            webhook_url: None,
            webhook_secret: None,
            heartbeat_url: None,
            heartbeat: Duration::from_secs(60),
        }
    }
}

impl AlertSection {
    /// True exactly if the channel has an address.
    pub fn has(&self, channel: AlertChannel) -> bool {
        match channel {
            AlertChannel::Pagerduty => self.pagerduty_key.is_some(),
            AlertChannel::Slack => self.slack_url.is_some(),
            AlertChannel::Webhook => self.webhook_url.is_some(),
        }
    }

    /// The address of PagerDuty.
    pub fn pagerduty_address(&self) -> &str {
        self.pagerduty_url.as_ref().map_or("https://events.pagerduty.com/v2/enqueue", Url::whole)
    }

    /// The secrets of the webhook, the newest first.
    pub fn webhook_secrets(&self) -> Vec<Zeroizing<String>> {
        let text = self.webhook_secret.as_ref().map(text).unwrap_or_default();
        text.split_whitespace().map(|secret| Zeroizing::new(secret.to_owned())).collect()
    }
}

/// The text of a secret.
pub fn text(secret: &Secret) -> Zeroizing<String> {
    Zeroizing::new(String::from_utf8_lossy(secret.bytes()).into_owned())
}
