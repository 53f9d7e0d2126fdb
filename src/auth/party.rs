//! The parties that share the auth worker.

use super::census::place;
use crate::id::UserName;
use std::net::IpAddr;

/// The party that a token check is made for. Each has an equal share of what is scarce, whatever the others do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A client that is not known yet, by its address as the census counts it.
    Address(IpAddr),
    /// A user with a session.
    User(UserName),
}

impl Party {
    /// The party of a client at `address`.
    pub fn of(address: IpAddr) -> Party {
        Party::Address(place(address))
    }
}
