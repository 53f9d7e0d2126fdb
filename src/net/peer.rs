//! The address of a peer: host and port, or a path.

use std::net::IpAddr;
use std::path::PathBuf;

/// The address that a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl PeerAddress {
    /// True exactly when it leads to this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            PeerAddress::Unix(_) => true,
            PeerAddress::Tcp { host, .. } => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                host.eq_ignore_ascii_case("localhost")
                    || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            }
        }
    }
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PeerAddress::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            PeerAddress::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}
