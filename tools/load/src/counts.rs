//! What went over the wire, counted on this side: a server's own counters can be compared with it, one by one.

use serde_json::{Value, json};

/// Totals of a run, from its first connection to its last.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Sockets that were opened.
    pub(crate) opened: u64,
    /// Upgrades that were accepted.
    pub(crate) upgraded: u64,
    /// TLS handshakes of these that resumed an earlier connection.
    pub(crate) tls_resumed: u64,
    /// TLS handshakes of these that were full ones.
    pub(crate) tls_full: u64,
    /// `connected` that came.
    pub(crate) connected: u64,
    /// `subscribed` that came.
    pub(crate) subscribed: u64,
    /// Commands sent.
    pub(crate) texts_sent: u64,
    /// Pongs sent.
    pub(crate) pongs_sent: u64,
    /// Close frames sent.
    pub(crate) closes_sent: u64,
    /// Close frames that answered ours.
    pub(crate) closes_answered: u64,
    /// Pings that came.
    pub(crate) pings: u64,
    /// Beats that came.
    pub(crate) beats: u64,
    /// Connections that were ended without a close frame, and read to the end.
    pub(crate) dropped: u64,
    /// Connections that were reset.
    pub(crate) reset: u64,
    /// Bytes the kernel took.
    pub(crate) bytes_sent: u64,
    /// Bytes the kernel gave.
    pub(crate) bytes_received: u64,
}

impl Counts {
    /// As the report has it.
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
