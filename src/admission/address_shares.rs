//! The share of arriving connections that one address may have before those of other addresses are served first.
//!
//! A machine that opens connections without pause takes its handshakes from all: their admissions, the time in which they are
//! read, and the rest that follows it. So arrivals are counted by address, and those of an address over its share come after
//! the others. Nothing else is taken from it: while no other address arrives, it has all.
//!
//! An address has one meter, in whose units a connection costs two: one when it is accepted, one when it asks for an upgrade. Behind a
//! trusted proxy, the address is known with the upgrade only, which then costs both.
//!
//! A flood may be dropped for the sake of others, but a storm of many clients behind a few addresses may not. So others count only if
//! their address was within its share all the time, and one of them came a moment ago.

use crate::clock::Moment;
use crate::rate::Rate;
use crate::rate::address_meters::AddressMeters;
use std::net::IpAddr;
use std::time::Duration;

/// An address may have one in this many of the handshakes that a reactor can do. Two meter units are one handshake.
const SHARE: f64 = 8.0;
/// The units that an address may use at once after a pause: half as many connections.
const BURST: u32 = 64;
/// An address that was over its share is remembered for this time after the last such arrival.
const OVER_FOR: Duration = Duration::from_secs(10);
/// The most addresses that are remembered as over their share. If there are more, they are a storm and no flood of one.
const OVER_MAX: usize = 16;
/// An address within its share counts as one of the others for this time after an arrival.
const OTHER_FOR: Duration = Duration::from_secs(2);

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
    /// Addresses over their share, each with the last such arrival; at most [`OVER_MAX`].
    over: Vec<(IpAddr, Moment)>,
    /// Until then, more addresses were over their share lately than are remembered.
    many_until: Moment,
    /// The last arrivals of two addresses that were not over their share lately.
    others: [Option<(IpAddr, Moment)>; 2],
}

impl AddressShares {
    /// Counts one unit of `address`, an IPv4 address or the first half of an IPv6 address. `per_s` is the rate of handshakes that
    /// the reactor can do.
    pub fn count(&mut self, address: IpAddr, per_s: f64, now: Moment) -> ArrivalShare {
        let per_s = (2.0 * per_s / SHARE).clamp(1.0, f64::from(u32::MAX)) as u32;
        let Some(rate) = Rate::new(per_s, BURST) else { return ArrivalShare::Within };
        match self.meters.admit(address, rate, now) {
            Ok(()) => {
                self.note_within(address, now);
                ArrivalShare::Within
            }
            Err(_) => {
                self.note_over(address, now);
                ArrivalShare::Over
            }
        }
    }

    /// Notes an arrival within the share of `address`, which may also be that of a trusted proxy.
    pub fn note_within(&mut self, address: IpAddr, now: Moment) {
        if self.over.iter().any(|(over, at)| *over == address && now.since(*at) < OVER_FOR) {
            return;
        }
        match self.others.iter_mut().flatten().find(|(other, _)| *other == address) {
            Some((_, at)) => *at = now,
            None => self.others = [Some((address, now)), self.others[0]],
        }
    }

    fn note_over(&mut self, address: IpAddr, now: Moment) {
        if let Some((_, at)) = self.over.iter_mut().find(|(over, _)| *over == address) {
            *at = now;
        } else {
            self.over.retain(|(_, at)| now.since(*at) < OVER_FOR);
            if self.over.len() < OVER_MAX {
                self.over.push((address, now));
            } else {
                self.many_until = now + OVER_FOR;
            }
        }
        for other in &mut self.others {
            *other = other.filter(|(other, _)| *other != address);
        }
    }

    /// True exactly when a client of an address within its share came a moment ago, so that those of an address over its share may
    /// have to go.
    pub fn have_others(&self, now: Moment) -> bool {
        now >= self.many_until && self.others.iter().flatten().any(|(_, at)| now.since(*at) < OTHER_FOR)
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

    /// Uses up the burst of an address, and more.
    fn flood(shares: &mut AddressShares, number: u32, now: Moment) {
        while within(shares, number, now) {}
    }

    #[test]
    fn address_within_its_share_counts_as_another_for_two_seconds() {
        let mut shares = AddressShares::default();
        flood(&mut shares, 1, start());
        assert!(!shares.have_others(start()), "it is no other to itself");
        within(&mut shares, 2, start());
        // Those of the flood that are within its share do not displace it.
        for ms in 1..2_000 {
            within(&mut shares, 1, start() + Duration::from_millis(ms));
        }
        assert!(shares.have_others(start() + Duration::from_millis(1_999)));
        assert!(!shares.have_others(start() + Duration::from_secs(2)));
    }

    #[test]
    fn addresses_that_are_over_their_shares_by_turns_are_no_others() {
        for addresses in [2, 5, 17, 40] {
            let mut shares = AddressShares::default();
            (0..addresses).for_each(|number| flood(&mut shares, number, start()));
            // After a pause each has units again.
            let now = start() + Duration::from_secs(1);
            assert!((0..addresses).all(|number| within(&mut shares, number, now)));
            assert!(!shares.have_others(now), "{addresses} addresses");
            assert!(shares.over.len() <= OVER_MAX);
        }
    }

    #[test]
    fn address_that_was_over_its_share_counts_as_another_after_ten_seconds() {
        let mut shares = AddressShares::default();
        flood(&mut shares, 1, start());
        within(&mut shares, 1, start() + Duration::from_millis(9_999));
        assert!(!shares.have_others(start() + Duration::from_millis(9_999)));
        within(&mut shares, 1, start() + Duration::from_secs(10));
        assert!(shares.have_others(start() + Duration::from_secs(10)));
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
