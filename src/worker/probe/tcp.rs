//! A port that must accept, and with TLS show a valid certificate. Every look is a new connection: there is nothing to keep.

use crate::worker::line::trouble::Trouble;
use crate::worker::line::{Dialer, Peer};
use std::time::Instant;

pub(super) fn look(
    dialer: &mut Dialer,
    peer: &Peer,
    tls: Option<&str>,
    deadline: Instant,
) -> Result<(), Trouble> {
    let line = dialer.dial(peer, deadline)?;
    match tls {
        None => Ok(()),
        Some(name) => line.secure(&dialer.trust, name).map(|_| ()),
    }
}
