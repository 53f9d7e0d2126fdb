//! A port that must accept a connection, and with TLS show a valid certificate. Every look opens a new connection: there is
//! nothing to keep.

use crate::net::dial::Dialer;
use crate::net::peer::PeerAddress;
use crate::net::trouble::Trouble;
use std::time::Instant;

pub(super) fn look(
    dialer: &mut Dialer,
    peer: &PeerAddress,
    tls: Option<&str>,
    deadline: Instant,
) -> Result<(), Trouble> {
    let line = dialer.dial(peer, deadline)?;
    match tls {
        None => Ok(()),
        Some(name) => line.secure(&dialer.trust, name).map(|_| ()),
    }
}
