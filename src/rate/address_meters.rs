//! One meter for each of a bounded number of addresses.

use super::{Meter, Rate};
use crate::clock::Moment;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The most addresses with a meter, which take 200 KiB.
pub const ADDRESSES_MAX: usize = 4_096;

/// The use of a rate by address. An address is one as the census counts it: an IPv4 address, or the first half of an IPv6 address.
///
/// Invariant: at most [`ADDRESSES_MAX`] meters. [`AddressMeters::forget_rested`] drops those at rest.
#[derive(Debug, Default)]
pub struct AddressMeters(BTreeMap<IpAddr, Meter>);

impl AddressMeters {
    /// Counts one event of an address, or refuses it and returns the wait. An address for which there is no room is admitted.
    pub fn admit(&mut self, address: IpAddr, rate: Rate, now: Moment) -> Result<(), Duration> {
        let is_full = self.0.len() >= ADDRESSES_MAX;
        let meter = match self.0.get_mut(&address) {
            Some(meter) => meter,
            None if is_full => return Ok(()),
            None => self.0.entry(address).or_default(),
        };
        // The debt from a time of a slower rate.
        meter.cap(rate, now);
        meter.admit(rate, now)
    }

    /// Drops the meters at rest. Call it about as often as a burst takes to rest, so that the room is for addresses of now.
    pub fn forget_rested(&mut self, now: Moment) {
        self.0.retain(|_, meter| !meter.at_rest(now));
    }

    /// The number of addresses with a meter.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn each_address_has_its_own_meter_and_no_more_are_kept_than_the_bound() {
        let (mut meters, rate) = (AddressMeters::default(), Rate::new(10, 2).expect("on"));
        let start = Moment::from_micros(5_000_000);
        let address = |number: usize| IpAddr::V4(Ipv4Addr::from_bits(number as u32));
        let mut admitted = |number, at| meters.admit(address(number), rate, at).is_ok();
        assert!(admitted(0, start) && admitted(0, start) && !admitted(0, start));
        assert!((1..ADDRESSES_MAX + 50).all(|number| admitted(number, start)));
        assert!((0..9).all(|_| admitted(ADDRESSES_MAX + 1, start)), "there is no room for its meter");
        assert_eq!(meters.len(), ADDRESSES_MAX);
        meters.forget_rested(start + Duration::from_millis(150));
        assert_eq!(meters.len(), 1, "the one with two events");
        meters.forget_rested(start + Duration::from_millis(200));
        assert!(meters.is_empty());
    }
}
