//! Counters of the traffic as this side saw it, to compare with the server's own counters one by one.

use serde_json::{Value, json};

/// Totals of a run, from its first connection to its last.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) opened: u64,
    pub(crate) upgraded: u64,
    /// TLS handshakes, of accepted upgrades, that resumed an earlier session.
    pub(crate) tls_resumed: u64,
    /// TLS handshakes, of accepted upgrades, that were full handshakes.
    pub(crate) tls_full: u64,
    /// `connected` messages received.
    pub(crate) connected: u64,
    /// `subscribed` messages received.
    pub(crate) subscribed: u64,
    pub(crate) texts_sent: u64,
    pub(crate) pongs_sent: u64,
    pub(crate) closes_sent: u64,
    /// Close frames received in reply to ours.
    pub(crate) closes_answered: u64,
    pub(crate) pings: u64,
    pub(crate) beats: u64,
    /// Connections we ended without a close frame, and read to the end.
    pub(crate) dropped: u64,
    /// Connections we reset.
    pub(crate) reset: u64,
    /// Bytes written to the kernel.
    pub(crate) bytes_sent: u64,
    /// Bytes read from the kernel.
    pub(crate) bytes_received: u64,
}

impl Counts {
    /// Formats the counters for the report.
    pub(crate) fn json(&self) -> Value {
        json!({
            "opened": self.opened, "upgraded": self.upgraded, "tls_resumed": self.tls_resumed, "tls_full": self.tls_full, "connected": self.connected,
            "subscribed": self.subscribed, "texts_sent": self.texts_sent, "pongs_sent": self.pongs_sent,
            "closes_sent": self.closes_sent, "closes_answered": self.closes_answered, "pings": self.pings,
            "beats": self.beats, "dropped": self.dropped, "reset": self.reset, "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
        })
    }
}
