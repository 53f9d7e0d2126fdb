//! The owner of a connection's address, and its part in the count of it.

use std::net::IpAddr;

/// The one whose address a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressOwner {
    /// The client.
    Client,
    /// A trusted proxy, which did not report the client's.
    Proxy,
}

impl AddressOwner {
    /// The client's address; `None` if `address` is that of a proxy.
    pub(super) fn client(self, address: IpAddr) -> Option<IpAddr> {
        match self {
            AddressOwner::Client => Some(address),
            AddressOwner::Proxy => None,
        }
    }
}

/// The part of a connection in the count of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressCount {
    /// It is not counted.
    No,
    /// The auth worker has counted it, and it must be released exactly once.
    Counted,
}
