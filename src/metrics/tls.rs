//! What is counted of TLS: causes of failed handshakes, and what all reactors have in common.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a TLS connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// Its first bytes are plain HTTP: it is told to use https or wss.
    PlainHttp,
    /// Its first bytes are neither TLS nor HTTP.
    NotTls,
    /// Both sides have no version, cipher or application protocol in common.
    Incompatible,
    /// The peer refused us with an alert: mostly it does not believe the certificate.
    RefusedByPeer,
    /// The peer broke the protocol during the handshake.
    Protocol,
    /// The handshake took longer than `limits.head_ms`.
    Timeout,
    /// The peer left in the middle of the handshake.
    Abandoned,
    /// A record after the handshake was not authentic, or broke the protocol.
    Broken,
    /// A TLS handshake came, and this listener is a plain one.
    HelloOnPlain,
}

impl TlsFault {
    /// All of them, in the order they are counted.
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

    /// As a label.
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

    /// Its place in [`TlsFault::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Kinds of handshakes, in the order they are counted: with a signature, and with a ticket of an earlier connection.
pub const HANDSHAKE_KINDS: [&str; 2] = ["full", "resumed"];

/// What holds for the whole process.
#[derive(Debug, Default)]
pub struct TlsCounters {
    not_after: AtomicU64,
}

impl TlsCounters {
    /// The end of the served certificate, in Unix seconds.
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
    fn each_fault_is_counted_in_its_own_place() {
        for (place, fault) in TlsFault::ALL.iter().enumerate() {
            assert_eq!(fault.index(), place, "{}", fault.as_str());
        }
    }
}
