//! The source of a report: the person for whom it counts, and the party whose shares it uses.

use std::net::IpAddr;

/// FNV-1a, 64 bits.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The source of a report. It has digests of names alone, because a group must not become a list of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// Tells users apart; without a name, connections.
    pub person: u32,
    /// Tells those apart that have shares: a user, or an address.
    pub party: u64,
    /// True if `party` is a user.
    pub has_name: bool,
}

impl Reporter {
    pub fn user(name: &str) -> Reporter {
        let digest = digest(b'u', name.as_bytes());
        Reporter { person: folded(digest), party: digest, has_name: true }
    }

    /// A client without a user's name. `address` is `None` behind a proxy that reports none: such clients are one party.
    pub fn anonymous(connection: u64, address: Option<IpAddr>) -> Reporter {
        let party = match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => digest(b'4', &address.octets()),
            // The network of an IPv6 client is its first half.
            Some(IpAddr::V6(address)) => digest(b'6', address.octets().get(..8).unwrap_or_default()),
            None => digest(b'p', b""),
        };
        Reporter { person: folded(digest(b'c', &connection.to_be_bytes())), party, has_name: false }
    }
}

fn digest(kind: u8, bytes: &[u8]) -> u64 {
    let all = std::iter::once(kind).chain(bytes.iter().copied());
    all.fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// 32 bits: of 64 users, two look like one in two million groups.
fn folded(digest: u64) -> u32 {
    (digest ^ (digest >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn ipv4_clients_of_a_listener_for_both_families_are_different_parties() {
        let party = |address: IpAddr| Reporter::anonymous(1, Some(address)).party;
        let mapped = |last| IpAddr::V6(Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped());
        assert_ne!(party(mapped(1)), party(mapped(2)));
        assert_eq!(party(mapped(1)), party(Ipv4Addr::new(10, 0, 0, 1).into()));
    }
}
