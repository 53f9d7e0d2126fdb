//! Counters of TLS: causes of failed handshakes, and values that all reactors share.

use std::sync::atomic::{AtomicU64, Ordering};

/// The cause of a failed TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The first bytes are plain HTTP. The answer tells the client to use https or wss.
    PlainHttp,
    /// The first bytes are neither TLS nor HTTP.
    NotTls,
    /// The two sides have no version, cipher or application protocol in common.
    Incompatible,
    /// The peer rejected the handshake with an alert, usually because it does not trust the certificate.
    RefusedByPeer,
    /// The peer violated the protocol during the handshake.
    Protocol,
    /// The handshake took longer than `limits.head_ms`.
    Timeout,
    /// The peer left in the middle of the handshake.
    Abandoned,
    /// A record after the handshake was not authentic or violated the protocol.
    Broken,
    /// A TLS handshake arrived on a listener without TLS.
    HelloOnPlain,
}

impl TlsFault {
    /// All faults, in counting order.
    pub const ALL: [TlsFault; 9] = [
        TlsFault::PlainHttp,
        TlsFault::NotTls,
        TlsFault::Incompatible,
        TlsFault::RefusedByPeer,
        TlsFault::Protocol,
        TlsFault::Timeout,
        TlsFault::Abandoned,
        TlsFault::Broken,
        TlsFault::HelloOnPlain,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            TlsFault::PlainHttp => "plain_http",
            TlsFault::NotTls => "not_tls",
            TlsFault::Incompatible => "incompatible",
            TlsFault::RefusedByPeer => "refused_by_peer",
            TlsFault::Protocol => "protocol",
            TlsFault::Timeout => "timeout",
            TlsFault::Abandoned => "abandoned",
            TlsFault::Broken => "broken",
            TlsFault::HelloOnPlain => "hello_on_plain",
        }
    }

    /// The index in [`TlsFault::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The kinds of handshakes, in counting order: with a signature, and with a ticket of an earlier connection.
pub const HANDSHAKE_KINDS: [&str; 2] = ["full", "resumed"];

/// Values of the whole process.
#[derive(Debug, Default)]
pub struct TlsCounters {
    not_after: AtomicU64,
}

impl TlsCounters {
    /// Sets the expiry of the served certificate, in Unix seconds.
    pub fn set_not_after(&self, unix_s: u64) {
        self.not_after.store(unix_s, Ordering::Relaxed);
    }

    /// See [`TlsCounters::set_not_after`]; `None` without TLS.
    pub fn not_after(&self) -> Option<u64> {
        Some(self.not_after.load(Ordering::Relaxed)).filter(|unix_s| *unix_s > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_of_each_fault_is_its_place_in_all() {
        for (place, fault) in TlsFault::ALL.iter().enumerate() {
            assert_eq!(fault.index(), place, "{}", fault.as_str());
        }
    }
}
