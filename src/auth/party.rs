//! The parties that share what is scarce: the auth worker, the store, and the memory for connections.

use super::census::place;
use crate::id::UserName;
use std::net::IpAddr;

/// The party that work is done for. Each has an equal share of what is scarce, whatever the others do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// A client that is not known yet or anonymous, by its address as the census counts it.
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
