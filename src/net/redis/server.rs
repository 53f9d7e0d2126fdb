//! One server of an address, and the login.

use crate::net::peer::PeerAddress;
use zeroize::Zeroizing;

#[derive(Clone)]
pub(super) struct RedisServer {
    pub(super) peer: PeerAddress,
    /// The name its certificate must be valid for; `None`: the connection is not encrypted.
    pub(super) tls: Option<String>,
}

#[derive(Clone)]
pub(super) struct RedisLogin {
    pub(super) user: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
}
