//! The address of a peer: host and port, or a path.

use std::path::PathBuf;

/// The address that a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PeerAddress::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            PeerAddress::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}
