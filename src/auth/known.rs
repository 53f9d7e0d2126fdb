//! A bounded cache of introspection results. It stores hashes of tokens, never tokens.
//!
//! A positive result is *fresh* for a while and is then used without a call. After that it is *stale*: the service is
//! asked again, and the stale result may be used while the service is known to be down, for a bounded time and until the
//! token expires. So known users stay admitted during an outage. After that time the token is still *recognised*: it was
//! good once, so it is no made-up one. Negative results have their own bound, so that made-up tokens
//! cannot evict positive ones. At a bound, the least recently used entry is evicted.

use super::permission::Permissions;
use super::recent::Recent;
use super::token::{Claims, TokenFault};
pub use super::token_hash::TokenHash;
use super::trust::TokenOrigin;
use crate::clock::{Moment, Now};
use crate::id::{TokenStamp, UserName};
use std::sync::Arc;
use std::time::Duration;

/// How long a token without `exp` is recognised after a positive result.
pub const ENDLESS_MAX: Duration = Duration::from_secs(24 * 3_600);
/// The bound on negative results, as a percentage of that on positive ones.
const REFUSED_PERCENT: usize = 25;
/// The approximate size of an entry without its texts: map, order and struct.
const ENTRY_BYTES: usize = 256;

/// The bounds of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBounds {
    /// The number of positive results. A quarter as many negative ones are kept in addition.
    pub entries: usize,
    /// The approximate size of all positive results.
    pub bytes: usize,
    /// How long a positive result is fresh.
    pub fresh: Duration,
    /// How long a positive result may be used after that while the service is down.
    pub stale: Duration,
    /// How long a negative result is cached.
    pub refused: Duration,
}

/// The user of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub user: UserName,
    pub permissions: Arc<Permissions>,
    /// The expiry of the token, in Unix milliseconds.
    pub expires_unix_ms: Option<u64>,
    /// The publishes per second that the token claims; 0: none.
    pub publishes_per_s: u32,
    /// The claim `info`, as JSON.
    pub info: Option<Arc<str>>,
    /// The claims that routes forward, as a JSON object.
    pub forwarded: Option<Arc<str>>,
    /// `None`: auth is off.
    pub origin: Option<TokenOrigin>,
    pub stamp: TokenStamp,
}

impl From<Claims> for Person {
    fn from(claims: Claims) -> Person {
        let Claims { user, permissions, expires_unix_ms, publishes_per_s, info, forwarded, origin, stamp } =
            claims;
        let (permissions, origin) = (Arc::new(permissions), Some(origin));
        Person { user, permissions, expires_unix_ms, publishes_per_s, info, forwarded, origin, stamp }
    }
}

/// The result of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The token is valid, and no call is needed.
    Fresh(Person),
    /// The token was valid; the service should be asked again. While it is down, this result may be used.
    Stale(Person),
    /// The token was valid too long ago to be believed; the service must be asked again.
    Recognised,
    /// The token is not valid.
    Refused(TokenFault),
    /// There is no usable result.
    Nothing,
}

/// The cache; see the module.
#[derive(Debug)]
pub struct TokenCache {
    bounds: CacheBounds,
    good: Recent<Good>,
    bad: Recent<Bad>,
}

#[derive(Debug)]
struct Good {
    person: Person,
    fresh_until: Moment,
    /// The end of the result's use for a token without `exp`.
    until: Moment,
}

#[derive(Debug)]
struct Bad {
    fault: TokenFault,
    until: Moment,
}

impl TokenCache {
    /// Creates an empty cache.
    pub fn new(bounds: CacheBounds) -> TokenCache {
        let bad = (bounds.entries * REFUSED_PERCENT / 100).max(1);
        TokenCache {
            bounds,
            good: Recent::new(bounds.entries, bounds.bytes),
            bad: Recent::new(bad, usize::MAX),
        }
    }

    /// Looks up a token.
    pub fn find(&mut self, token: &TokenHash, now: Now) -> Found {
        if let Some(bad) = self.bad.find(token) {
            if now.at < bad.until {
                return Found::Refused(bad.fault);
            }
            self.bad.remove(token);
        }
        let Some(good) = self.good.find(token) else { return Found::Nothing };
        let ends = good.person.expires_unix_ms;
        if ends.is_some_and(|ends| now.unix_ms >= ends) {
            // The token has expired, which is certain without a call.
            return Found::Refused(TokenFault::Expired);
        }
        if now.at < good.fresh_until {
            Found::Fresh(good.person.clone())
        } else if now.at < good.fresh_until + self.bounds.stale {
            Found::Stale(good.person.clone())
        } else if ends.is_some() || now.at < good.until {
            Found::Recognised
        } else {
            self.good.remove(token);
            Found::Nothing
        }
    }

    /// Stores a positive result.
    pub fn granted(&mut self, token: TokenHash, person: Person, now: Now) {
        self.bad.remove(&token);
        let length = |json: &Option<Arc<str>>| json.as_ref().map_or(0, |json| json.len());
        let claims = length(&person.info) + length(&person.forwarded);
        let bytes = ENTRY_BYTES + person.user.as_str().len() + person.permissions.bytes() + claims;
        let fresh_until = now.at + self.bounds.fresh;
        self.good.insert(token, Good { person, fresh_until, until: now.at + ENDLESS_MAX }, bytes);
    }

    /// Stores a negative result.
    pub fn refused(&mut self, token: TokenHash, fault: TokenFault, now: Now) {
        self.good.remove(&token);
        let until = now.at + self.bounds.refused;
        self.bad.insert(token, Bad { fault, until }, ENTRY_BYTES);
    }

    /// The number of cached results, positive and negative.
    pub fn len(&self) -> usize {
        self.good.len() + self.bad.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The approximate size of the positive results.
    pub fn bytes(&self) -> usize {
        self.good.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: CacheBounds = CacheBounds {
        entries: 8,
        bytes: 100_000,
        fresh: Duration::from_secs(60),
        stale: Duration::from_secs(900),
        refused: Duration::from_secs(5),
    };

    fn now(s: u64) -> Now {
        Now { at: Moment::from_micros(s * 1_000_000), unix_ms: s * 1_000 }
    }

    fn token(name: &str) -> TokenHash {
        TokenHash::of(name, &[7; 16])
    }

    fn person(user: &str, ends_s: Option<u64>) -> Person {
        let user = UserName::parse(user).expect("a user name");
        let permissions = Arc::new(Permissions::nothing());
        Person {
            user,
            permissions,
            expires_unix_ms: ends_s.map(|s| s * 1_000),
            publishes_per_s: 0,
            info: None,
            forwarded: None,
            origin: None,
            stamp: TokenStamp::default(),
        }
    }

    #[test]
    fn positive_result_is_fresh_then_stale_then_recognised_until_the_token_expires() {
        let mut known = TokenCache::new(BOUNDS);
        let ann = person("ann", Some(1_000));
        known.granted(token("a"), ann.clone(), now(0));
        assert_eq!(known.find(&token("a"), now(59)), Found::Fresh(ann.clone()));
        assert_eq!(known.find(&token("a"), now(60)), Found::Stale(ann.clone()));
        assert_eq!(known.find(&token("a"), now(959)), Found::Stale(ann));
        assert_eq!(known.find(&token("a"), now(960)), Found::Recognised);
        assert_eq!(known.find(&token("a"), now(999)), Found::Recognised);
        assert_eq!(known.find(&token("a"), now(1_000)), Found::Refused(TokenFault::Expired));
        assert_eq!(known.find(&token("b"), now(0)), Found::Nothing);
    }

    #[test]
    fn token_that_expires_early_is_refused_while_its_result_is_fresh() {
        let mut known = TokenCache::new(BOUNDS);
        known.granted(token("a"), person("ann", Some(10)), now(0));
        assert_eq!(known.find(&token("a"), now(10)), Found::Refused(TokenFault::Expired));
    }

    #[test]
    fn token_without_expiry_is_forgotten_after_a_day() {
        let mut known = TokenCache::new(BOUNDS);
        let ann = person("ann", None);
        known.granted(token("a"), ann, now(0));
        assert_eq!(known.find(&token("a"), now(24 * 3_600 - 1)), Found::Recognised);
        assert_eq!(known.find(&token("a"), now(24 * 3_600)), Found::Nothing);
    }

    #[test]
    fn negative_result_replaces_a_positive_one_for_a_short_time() {
        let mut known = TokenCache::new(BOUNDS);
        known.granted(token("a"), person("ann", None), now(0));
        known.refused(token("a"), TokenFault::Inactive, now(1));
        assert_eq!(known.find(&token("a"), now(5)), Found::Refused(TokenFault::Inactive));
        assert_eq!(known.find(&token("a"), now(6)), Found::Nothing);
    }

    #[test]
    fn made_up_tokens_evict_no_user_and_the_least_recent_goes_first() {
        let mut known = TokenCache::new(BOUNDS);
        for name in 0..8 {
            known.granted(token(&name.to_string()), person("ann", None), now(0));
        }
        for name in 0..1_000 {
            known.refused(token(&format!("made up {name}")), TokenFault::Inactive, now(0));
        }
        assert_eq!(known.len(), 8 + 2);
        assert!(matches!(known.find(&token("0"), now(1)), Found::Fresh(_)));
        known.granted(token("8"), person("ann", None), now(1));
        assert!(matches!(known.find(&token("0"), now(1)), Found::Fresh(_)));
        assert_eq!(known.find(&token("1"), now(1)), Found::Nothing);
    }

    #[test]
    fn hashes_differ_between_processes() {
        assert_ne!(TokenHash::of("a", &[0; 16]), TokenHash::of("a", &[1; 16]));
        assert_eq!(format!("{:?}", token("a")), "TokenHash");
    }

    proptest! {
        #[test]
        fn cache_never_exceeds_its_bounds(steps in prop::collection::vec((0_u8..40, any::<bool>(), 0_u64..90), 0..200), entries in 1_usize..12, bytes in 0_usize..4_000) {
            let mut known = TokenCache::new(CacheBounds { entries, bytes, ..BOUNDS });
            let mut at = 0;
            for (name, good, wait) in steps {
                at += wait;
                let token = token(&name.to_string());
                match good {
                    true => known.granted(token, person("ann", Some(at + 30)), now(at)),
                    false => known.refused(token, TokenFault::Inactive, now(at)),
                }
                prop_assert!(known.good.len() <= entries && known.bytes() <= bytes);
                prop_assert!(known.bad.len() <= (entries / 4).max(1));
                known.good.check_invariants();
                let found = known.find(&token, now(at));
                let expected = matches!(found, Found::Fresh(_)) || found == Found::Nothing;
                let refused = found == Found::Refused(TokenFault::Inactive);
                prop_assert!(if good { expected } else { refused }, "{:?}", found);
            }
        }
    }
}
