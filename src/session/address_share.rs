//! The rates that clients without a user's name share by their address.

use super::policy::PresencePolicy;
use crate::auth::census::place;
use crate::clock::Moment;
use crate::rate::address_meters::AddressMeters;
use std::net::IpAddr;
use std::time::Duration;

/// The share of a client's address, on one reactor.
pub struct AddressShare<'a> {
    /// `None` for a proxy that reports no address: the clients behind it share nothing.
    pub address: Option<IpAddr>,
    /// The use of `presence.commands_per_s`.
    pub rosters: &'a mut AddressMeters,
    /// The rate of an address as a multiple of that of one connection.
    pub times: u32,
}

impl AddressShare<'_> {
    /// Counts a use of a roster, at a rate of `per_s` for one connection, or returns the wait.
    pub(super) fn admit_roster(&mut self, per_s: u32, now: Moment) -> Result<(), Duration> {
        let per_s = per_s.saturating_mul(self.times);
        match (self.address, PresencePolicy::rate(per_s)) {
            (Some(address), Some(rate)) => self.rosters.admit(place(address), rate, now),
            (_, None) | (None, _) => Ok(()),
        }
    }
}
