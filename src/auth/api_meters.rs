//! The use of the rates of the server API, by backend.

use super::api_key::ApiKey;
use crate::clock::Moment;
use crate::rate::{Meter, Rate};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Backends with a rate that are remembered at once. Keys are few; an issuer of tokens may name many.
const BACKENDS_MAX: usize = 1_024;
/// The wait if too many backends have used their rates just now.
const FULL_WAIT: Duration = Duration::from_secs(1);

/// The use of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiUse {
    /// This many publications of one request.
    Publications(usize),
    Signal,
    Order,
    /// This many users of one look-up.
    Users(usize),
}

/// The meters of all backends. Those at rest are removed when there is no room for another.
#[derive(Debug, Default)]
pub struct ApiMeters {
    backends: BTreeMap<Arc<str>, BackendMeters>,
}

#[derive(Debug, Default)]
struct BackendMeters {
    publishes: RateMeter,
    signals: RateMeter,
    orders: RateMeter,
    lookups: RateMeter,
}

/// A meter and the rate that it measures. Another rate begins with a new meter.
#[derive(Debug, Default)]
struct RateMeter {
    rate: Option<Rate>,
    meter: Meter,
}

impl ApiMeters {
    /// Counts a use, or refuses it and returns the wait. A request counts as a whole, so after a large one the wait is long.
    pub fn admit(&mut self, key: &ApiKey, use_of: ApiUse, now: Moment) -> Result<(), Duration> {
        let rates = key.rates();
        let (rate, count) = match use_of {
            ApiUse::Publications(count) => (rates.publishes, count),
            ApiUse::Signal => (rates.signals, 1),
            ApiUse::Order => (rates.orders, 1),
            ApiUse::Users(count) => (rates.lookups, count),
        };
        let Some(rate) = rate else { return Ok(()) };
        if !self.backends.contains_key(key.party()) && self.backends.len() >= BACKENDS_MAX {
            self.backends.retain(|_, meters| !meters.at_rest(now));
            if self.backends.len() >= BACKENDS_MAX {
                return Err(FULL_WAIT);
            }
        }
        let meters = self.backends.entry(Arc::clone(key.party())).or_default();
        let of_use = match use_of {
            ApiUse::Publications(_) => &mut meters.publishes,
            ApiUse::Signal => &mut meters.signals,
            ApiUse::Order => &mut meters.orders,
            ApiUse::Users(_) => &mut meters.lookups,
        };
        if of_use.rate != Some(rate) {
            *of_use = RateMeter { rate: Some(rate), meter: Meter::default() };
        }
        of_use.meter.admit_together(rate, count, now)
    }

    /// Releases publications that were admitted and not handed to the store.
    pub fn give_back(&mut self, key: &ApiKey, publications: usize) {
        if let (Some(rate), Some(meters)) = (key.rates().publishes, self.backends.get_mut(key.party()))
            && meters.publishes.rate == Some(rate)
        {
            meters.publishes.meter.give_back(rate, publications);
        }
    }
}

impl BackendMeters {
    fn at_rest(&self, now: Moment) -> bool {
        let all = [&self.publishes, &self.signals, &self.orders, &self.lookups];
        all.iter().all(|of_use| of_use.meter.at_rest(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::api_key::{ApiRates, Authorship};

    fn key(name: &str, publishes_per_s: u32) -> ApiKey {
        let rates = ApiRates::new(publishes_per_s, 2);
        ApiKey::new(name, b"x", Vec::new(), &["*".into()], Authorship::Own, rates).expect("a key")
    }

    #[test]
    fn backend_waits_for_its_own_rate_alone() {
        let (mut meters, now) = (ApiMeters::default(), Moment::from_micros(5_000_000));
        let (a, b, free) = (key("a", 10), key("b", 10), key("free", 0));
        assert!(meters.admit(&a, ApiUse::Publications(110), now).is_ok());
        let wait = meters.admit(&a, ApiUse::Publications(1), now).expect_err("it used more than a burst");
        assert_eq!(wait, Duration::from_millis(10_100));
        meters.give_back(&a, 105);
        assert!(meters.admit(&a, ApiUse::Publications(5), now).is_ok(), "only 5 of them were stored");
        assert!(meters.admit(&a, ApiUse::Publications(1), now).is_err());
        assert!((0..100).all(|_| meters.admit(&free, ApiUse::Order, now).is_ok()));
        assert!(meters.admit(&free, ApiUse::Order, now).is_err(), "each key has a rate of orders");
        assert!((0..100).all(|_| meters.admit(&free, ApiUse::Users(100), now).is_ok()));
        assert!(meters.admit(&free, ApiUse::Users(1), now).is_err(), "each key has a rate of look-ups");
        assert!(meters.admit(&b, ApiUse::Users(100), now).is_ok(), "and its own share of them");
        assert!(meters.admit(&b, ApiUse::Publications(1), now).is_ok());
        assert!((0..2).all(|_| meters.admit(&a, ApiUse::Signal, now).is_ok()), "another rate");
        assert!(meters.admit(&a, ApiUse::Signal, now).is_err());
        assert!(meters.admit(&free, ApiUse::Publications(1_000_000), now).is_ok());
        assert!(meters.admit(&key("a", 20), ApiUse::Publications(1), now).is_ok(), "a reload starts again");
    }

    #[test]
    fn backends_at_rest_give_way_to_others() {
        let (mut meters, now) = (ApiMeters::default(), Moment::from_micros(5_000_000));
        for n in 0..BACKENDS_MAX {
            assert!(meters.admit(&key(&format!("k{n}"), 1), ApiUse::Publications(1), now).is_ok());
        }
        assert_eq!(meters.admit(&key("new", 1), ApiUse::Publications(1), now), Err(FULL_WAIT));
        let later = now + Duration::from_secs(1);
        assert!(meters.admit(&key("new", 1), ApiUse::Publications(1), later).is_ok());
        assert_eq!(meters.backends.len(), 1);
    }
}
