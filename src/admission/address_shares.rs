//! The share of arriving connections that one address may have before those of other addresses are served first.
//!
//! A machine that opens connections without pause takes its handshakes from all: their admissions, the time in which they are
//! read, and the rest that follows it. So arrivals are counted by address, and those of an address over its share come after
//! the others. Nothing else is taken from it: while no other address arrives, it has all.
//!
//! An address has one meter, in whose units a connection costs two: one when it is accepted, one when it asks for an upgrade. Behind a
//! trusted proxy, the address is known with the upgrade only, and a connection costs one.

use crate::clock::Moment;
use crate::rate::Rate;
use crate::rate::address_meters::AddressMeters;
use std::net::IpAddr;
use std::time::Duration;

/// An address may have one in this many of the handshakes that a reactor can do. Two meter units are one handshake.
const SHARE: f64 = 8.0;
/// The units that an address may use at once after a pause: half as many connections.
const BURST: u32 = 64;
/// Other addresses count as present for this time after an upgrade.
const PRESENT_FOR: Duration = Duration::from_secs(600);

/// The order of an arriving connection among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArrivalShare {
    /// First: its address is within its share, or not known.
    #[default]
    Within,
    /// After those: its address is over its share.
    Over,
}

/// The addresses of recent arrivals on one reactor.
#[derive(Debug, Default)]
pub struct AddressShares {
    meters: AddressMeters,
    /// The address of the last upgrade.
    last: Option<IpAddr>,
    /// Upgrades of more than one address are recent until then.
    several_until: Moment,
}

impl AddressShares {
    /// Counts one unit of `address`, an IPv4 address or the first half of an IPv6 address. `per_s` is the rate of handshakes that
    /// the reactor can do.
    pub fn count(&mut self, address: IpAddr, per_s: f64, now: Moment) -> ArrivalShare {
        let per_s = (2.0 * per_s / SHARE).clamp(1.0, f64::from(u32::MAX)) as u32;
        let Some(rate) = Rate::new(per_s, BURST) else { return ArrivalShare::Within };
        match self.meters.admit(address, rate, now) {
            Ok(()) => ArrivalShare::Within,
            Err(_) => ArrivalShare::Over,
        }
    }

    /// Notes that a client at `address` asks for an upgrade.
    pub fn note_upgrade(&mut self, address: IpAddr, now: Moment) {
        if self.last.replace(address).is_some_and(|last| last != address) {
            self.several_until = now + PRESENT_FOR;
        }
    }

    /// True exactly when clients of more than one address came lately, so that one of them may have to go.
    pub fn are_several(&self, now: Moment) -> bool {
        now < self.several_until
    }

    /// Drops the meters at rest. Call it a few times a second: at a thousand handshakes per second, a full burst takes a quarter of
    /// a second to rest.
    pub fn forget_rested(&mut self, now: Moment) {
        self.meters.forget_rested(now);
    }

    /// The number of addresses with a meter.
    pub fn len(&self) -> usize {
        self.meters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const PER_S: f64 = 4_000.0;

    fn start() -> Moment {
        Moment::from_micros(3_600_000_000)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + number))
    }

    fn within(shares: &mut AddressShares, number: u32, now: Moment) -> bool {
        shares.count(address(number), PER_S, now) == ArrivalShare::Within
    }

    #[test]
    fn address_that_floods_is_over_its_share_and_others_are_within_theirs() {
        let mut shares = AddressShares::default();
        let mut flood = 0_u32;
        for ms in 0..1_000 {
            let now = start() + Duration::from_millis(ms);
            flood += (0..10).map(|_| u32::from(within(&mut shares, 1, now))).sum::<u32>();
            assert!(within(&mut shares, 2 + ms as u32 % 50, now), "one of fifty others, after {ms} ms");
        }
        // Its burst, and an eighth of the handshakes of a second, two units each.
        assert!((1_050..1_080).contains(&flood), "{flood}");
        shares.forget_rested(start() + Duration::from_secs(2));
        assert!(shares.is_empty());
    }

    #[test]
    fn several_addresses_are_recent_for_ten_minutes() {
        let mut shares = AddressShares::default();
        shares.note_upgrade(address(1), start());
        shares.note_upgrade(address(1), start());
        assert!(!shares.are_several(start()));
        shares.note_upgrade(address(2), start());
        shares.note_upgrade(address(2), start() + Duration::from_secs(500));
        assert!(shares.are_several(start() + Duration::from_secs(599)));
        assert!(!shares.are_several(start() + Duration::from_secs(600)));
    }

    proptest! {
        /// Whatever the others do, an address with fewer arrivals than its share is served with the first.
        #[test]
        fn address_below_its_share_is_never_over_it(
            crowds in prop::collection::vec((0u32..6_000, 1usize..40), 1..200),
            pause_us in 1_000u64..20_000,
        ) {
            let mut shares = AddressShares::default();
            let mut now = start();
            for (first, count) in crowds {
                for number in 0..count as u32 {
                    within(&mut shares, 2 + first + number % 3, now);
                }
                // A thousand units a second are its share.
                prop_assert!(within(&mut shares, 1, now));
                now = now + Duration::from_micros(pause_us);
                shares.forget_rested(now);
            }
        }
    }
}
