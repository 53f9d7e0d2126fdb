//! Faults of `[alert]`. None of them shows an address, which is a secret.

use crate::notify::address::NoticeAddressFault;
use std::fmt;

/// A fault of the settings of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertFault {
    Address(NoticeAddressFault),
    WebhookSecret,
    /// Channels are configured, and this list has none of them.
    NoChannel,
    /// Reports are no incidents of PagerDuty.
    NoReports,
}

impl fmt::Display for AlertFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AlertFault::Address(fault) => fault.as_str(),
            AlertFault::WebhookSecret => {
                "must be \"whsec_\" and 24 to 64 random bytes in base64; two of them, the newest first, while you change it"
            }
            AlertFault::NoReports => "must not have \"pagerduty\", because a report is no incident: leave it out",
            AlertFault::NoChannel => {
                "names no channel that is configured, so critical incidents would reach no one: add one that has an address"
            }
        })
    }
}
