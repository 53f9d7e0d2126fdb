//! The channels that notices are sent to, and how fast each may be used.

use serde::{Deserialize, Serialize};

/// A way to operators. The log is none of them, because it has every incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertChannel {
    /// PagerDuty, Events API v2.
    Pagerduty,
    /// An incoming webhook of Slack.
    Slack,
    /// A signed webhook (Standard Webhooks 1.0).
    Webhook,
}

/// The pace that the service behind a channel accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelPace {
    /// The time between two notices, in milliseconds.
    pub apart_ms: u64,
    /// Notices in any 60 seconds.
    pub per_minute: usize,
    /// Begins in one notice.
    pub group_max: usize,
}

impl AlertChannel {
    /// All channels, in declaration order.
    pub const ALL: [AlertChannel; 3] = [AlertChannel::Pagerduty, AlertChannel::Slack, AlertChannel::Webhook];

    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in settings, reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertChannel::Pagerduty => "pagerduty",
            AlertChannel::Slack => "slack",
            AlertChannel::Webhook => "webhook",
        }
    }

    pub fn parse(text: &str) -> Option<AlertChannel> {
        AlertChannel::ALL.into_iter().find(|channel| channel.as_str() == text)
    }

    /// Slack accepts one message a second, PagerDuty 120 events a minute. Only people read several begins in one message: programs need
    /// each with its key.
    pub const fn pace(self) -> ChannelPace {
        match self {
            AlertChannel::Pagerduty => ChannelPace { apart_ms: 0, per_minute: 60, group_max: 1 },
            AlertChannel::Slack => ChannelPace { apart_ms: 1_000, per_minute: 20, group_max: 10 },
            AlertChannel::Webhook => ChannelPace { apart_ms: 200, per_minute: 300, group_max: 1 },
        }
    }

    /// True exactly if it has an escalation of its own, so that nothing is sent there twice.
    pub const fn escalates(self) -> bool {
        matches!(self, AlertChannel::Pagerduty)
    }
}
