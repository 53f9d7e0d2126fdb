//! The tokens of backends, good and bad, so that each is verified once.
//!
//! A backend sends its token with every request, so a good one is verified once. A bad one costs as much as a good one, so a client that
//! keeps sending bad ones has to wait; tokens that are known to be good are accepted meanwhile.

use super::api_key::ApiKey;
use super::backend_token::{BackendFault, BackendToken};
use super::party::Party;
use super::recent::Recent;
use super::token::{TOKEN_BYTES_MAX, TokenFault};
use super::token_hash::TokenHash;
use crate::clock::{Moment, Now};
use crate::rate::{Meter, Rate};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Tokens that are remembered at once, of each kind.
const TOKENS_MAX: usize = 1_024;
/// Addresses with bad tokens that are remembered at once.
const ADDRESSES_MAX: usize = 1_024;
/// Bad tokens of an address in a minute, and at once.
const BAD_PER_MINUTE: (u32, u32) = (60, 20);
/// The wait for an address that cannot be remembered.
const FULL_WAIT: Duration = Duration::from_secs(1);

/// The judgement of a token without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenMemory {
    Good(Arc<ApiKey>),
    Bad(BackendFault),
    /// Its address has sent too many bad ones.
    Wait(Duration),
    /// It has to be verified, and the outcome remembered by this name.
    Unknown(TokenHash),
}

/// A token that was accepted.
#[derive(Debug)]
struct GoodToken {
    key: Arc<ApiKey>,
    expires_unix_ms: Option<u64>,
    /// The key set that was at hand, by the beginning of its fetch; `None`: there was none.
    key_set: Option<Moment>,
}

/// See the module.
#[derive(Debug)]
pub struct BackendTokens {
    salt: [u8; 16],
    good: Recent<GoodToken>,
    bad: Recent<BackendFault>,
    /// Tokens whose key was not at hand, and when they came first.
    keyless: Recent<Moment>,
    bad_rate: Option<Rate>,
    addresses: BTreeMap<Party, Meter>,
}

impl BackendTokens {
    /// `salt` for the hashes of tokens.
    pub fn new(salt: [u8; 16]) -> BackendTokens {
        let (per_minute, burst) = BAD_PER_MINUTE;
        BackendTokens {
            salt,
            good: Recent::new(TOKENS_MAX, usize::MAX),
            bad: Recent::new(TOKENS_MAX, usize::MAX),
            keyless: Recent::new(TOKENS_MAX, usize::MAX),
            bad_rate: Rate::per_minute(per_minute, burst),
            addresses: BTreeMap::new(),
        }
    }

    /// Looks a token up. With a newer key set, named by the beginning of its fetch, a good one has to be verified again: the issuer
    /// may have withdrawn its key.
    pub fn look(&mut self, token: &str, key_set: Option<Moment>, from: IpAddr, now: Now) -> TokenMemory {
        if token.len() > TOKEN_BYTES_MAX {
            return TokenMemory::Bad(BackendFault::Token(TokenFault::TooLong));
        }
        let hash = TokenHash::of(token, &self.salt);
        if let Some(good) = self.good.find(&hash) {
            if good.expires_unix_ms.is_none_or(|at| now.unix_ms < at) {
                // However many bad tokens its address has sent.
                return match good.key_set == key_set {
                    true => TokenMemory::Good(Arc::clone(&good.key)),
                    false => TokenMemory::Unknown(hash),
                };
            }
            self.good.remove(&hash);
        }
        if let Some(fault) = self.bad.find(&hash) {
            return TokenMemory::Bad(*fault);
        }
        match self.wait_of(&Party::of(from), now.at) {
            Some(wait) => TokenMemory::Wait(wait),
            None => TokenMemory::Unknown(hash),
        }
    }

    /// Remembers the outcome of a verification with this key set. Bad signatures stay bad; claims may become good with time, and are read again.
    pub fn learn(
        &mut self,
        hash: TokenHash,
        key_set: Option<Moment>,
        from: IpAddr,
        outcome: Result<BackendToken, BackendFault>,
        now: Now,
    ) -> Result<Arc<ApiKey>, BackendFault> {
        match outcome {
            Ok(BackendToken { key, expires_unix_ms }) => {
                let key = Arc::new(key);
                let good = GoodToken { key: Arc::clone(&key), expires_unix_ms, key_set };
                self.good.insert(hash, good, 0);
                Ok(key)
            }
            Err(fault) => {
                self.good.remove(&hash);
                if let BackendFault::Token(TokenFault::BadSignature) = fault {
                    self.bad.insert(hash, fault, 0);
                }
                self.count(Party::of(from), now.at);
                Err(fault)
            }
        }
    }

    /// Remembers a token whose key is not at hand, and returns when it came first. It counts as a bad one of its address.
    pub fn without_key(&mut self, hash: TokenHash, from: IpAddr, now: Moment) -> Moment {
        self.good.remove(&hash);
        self.count(Party::of(from), now);
        if let Some(first) = self.keyless.find(&hash) {
            return *first;
        }
        self.keyless.insert(hash, now, 0);
        now
    }

    fn wait_of(&mut self, address: &Party, now: Moment) -> Option<Duration> {
        let rate = self.bad_rate?;
        if let Some(meter) = self.addresses.get(address) {
            // A copy: only bad tokens are counted.
            let mut meter = *meter;
            return meter.admit(rate, now).err();
        }
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.retain(|_, meter| !meter.at_rest(now));
        }
        (self.addresses.len() >= ADDRESSES_MAX).then_some(FULL_WAIT)
    }

    fn count(&mut self, address: Party, now: Moment) {
        if let Some(rate) = self.bad_rate {
            // Refused if other requests of the address were counted meanwhile: then it has to wait anyway.
            let _ = self.addresses.entry(address).or_default().admit(rate, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::api_key::{ApiRates, Authorship};
    use std::net::Ipv4Addr;

    const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn at(s: u64) -> Now {
        Now { at: Moment::from_micros((1_000 + s) * 1_000_000), unix_ms: s * 1_000 }
    }

    fn unknown(tokens: &mut BackendTokens, token: &str, now: Now) -> TokenHash {
        match tokens.look(token, None, FROM, now) {
            TokenMemory::Unknown(hash) => hash,
            other => panic!("{token}: {other:?}"),
        }
    }

    #[test]
    fn good_token_is_verified_once_until_it_expires() {
        let mut tokens = BackendTokens::new([1; 16]);
        let key =
            ApiKey::of_token("shop", Vec::new(), &[], Authorship::Own, ApiRates::new(0, 0)).expect("one");
        let hash = unknown(&mut tokens, "a", at(0));
        let good = Ok(BackendToken { key, expires_unix_ms: Some(5_000) });
        let key = tokens.learn(hash, None, FROM, good, at(0)).expect("good");
        assert_eq!(tokens.look("a", None, FROM, at(4)), TokenMemory::Good(key));
        assert_eq!(unknown(&mut tokens, "a", at(5)), hash);
        assert_eq!(
            tokens.look(&"a".repeat(TOKEN_BYTES_MAX + 1), None, FROM, at(5)),
            TokenMemory::Bad(BackendFault::Token(TokenFault::TooLong))
        );
    }

    #[test]
    fn good_token_is_verified_again_with_each_newer_key_set() {
        let mut tokens = BackendTokens::new([1; 16]);
        let key =
            ApiKey::of_token("shop", Vec::new(), &[], Authorship::Own, ApiRates::new(0, 0)).expect("one");
        let good = || Ok(BackendToken { key: key.clone(), expires_unix_ms: None });
        let (older, newer) = (Some(at(1).at), Some(at(2).at));
        let hash = unknown(&mut tokens, "a", at(0));
        tokens.learn(hash, older, FROM, good(), at(0)).expect("good");
        assert!(matches!(tokens.look("a", older, FROM, at(3)), TokenMemory::Good(_)));
        for _ in 0..30 {
            tokens.count(Party::of(FROM), at(3).at);
        }
        assert_eq!(tokens.look("a", newer, FROM, at(3)), TokenMemory::Unknown(hash), "it does not wait");
        tokens.learn(hash, newer, FROM, good(), at(3)).expect("good");
        assert!(matches!(tokens.look("a", newer, FROM, at(3)), TokenMemory::Good(_)));
        tokens.without_key(hash, FROM, at(3).at);
        assert!(matches!(tokens.look("a", newer, FROM, at(3)), TokenMemory::Wait(_)), "its key is withdrawn");
    }

    #[test]
    fn address_with_bad_tokens_waits_and_good_tokens_pass() {
        let mut tokens = BackendTokens::new([1; 16]);
        let key =
            ApiKey::of_token("shop", Vec::new(), &[], Authorship::Own, ApiRates::new(0, 0)).expect("one");
        let hash = unknown(&mut tokens, "good", at(0));
        tokens.learn(hash, None, FROM, Ok(BackendToken { key, expires_unix_ms: None }), at(0)).expect("good");
        let forged = BackendFault::Token(TokenFault::BadSignature);
        for n in 0..20 {
            let hash = unknown(&mut tokens, &format!("bad{n}"), at(0));
            assert_eq!(tokens.learn(hash, None, FROM, Err(forged), at(0)), Err(forged));
        }
        assert_eq!(
            tokens.look("bad0", None, FROM, at(0)),
            TokenMemory::Bad(forged),
            "it is not verified again"
        );
        assert_eq!(tokens.look("bad20", None, FROM, at(0)), TokenMemory::Wait(Duration::from_secs(1)));
        assert!(matches!(tokens.look("good", None, FROM, at(0)), TokenMemory::Good(_)));
        let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        assert!(matches!(tokens.look("bad20", None, elsewhere, at(0)), TokenMemory::Unknown(_)));
        unknown(&mut tokens, "bad20", at(1));
    }

    #[test]
    fn token_without_a_key_keeps_the_moment_at_which_it_came_and_counts_as_bad() {
        let mut tokens = BackendTokens::new([1; 16]);
        let hash = unknown(&mut tokens, "a", at(0));
        assert_eq!(tokens.without_key(hash, FROM, at(0).at), at(0).at);
        for s in 0..19 {
            assert_eq!(tokens.without_key(hash, FROM, at(s / 19).at), at(0).at);
        }
        assert!(matches!(tokens.look("a", None, FROM, at(0)), TokenMemory::Wait(_)));
    }

    #[test]
    fn addresses_are_bounded_and_those_at_rest_give_way() {
        let mut tokens = BackendTokens::new([1; 16]);
        for n in 0..ADDRESSES_MAX {
            tokens.count(Party::of(IpAddr::V4(Ipv4Addr::from(n as u32))), at(0).at);
        }
        assert_eq!(tokens.look("a", None, FROM, at(0)), TokenMemory::Wait(FULL_WAIT));
        unknown(&mut tokens, "a", at(1));
    }
}
