//! Tokens of application backends, which use the server API.
//!
//! They are verified like those of users, but for another audience, and their rights are in the claim `api`. A token without the claim
//! is a user's.

use super::api_key::{ApiKey, ApiRates, ApiRight, Authorship};
use super::key_set::KeySet;
use super::permission::ClaimFault;
use super::token::{TokenFault, TokenForm, Unverified, Verifier, stamp, subject};
use serde::Deserialize;

/// The bound on a rate, as in `[[api.keys]]`.
const RATE_MAX: u32 = 1_000_000;

/// The content of a valid token of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendToken {
    /// The rights. The name is `sub`.
    pub key: ApiKey,
    /// The end of validity, in Unix milliseconds; `None`: never.
    pub expires_unix_ms: Option<u64>,
}

/// The reason why a token is not that of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendFault {
    /// No token like this is accepted.
    Token(TokenFault),
    /// No key at hand signed it; one of a newer key set may have.
    NoKeyYet(TokenFault),
    /// It has no claim `api`.
    NoClaim,
    /// `api` has the wrong shape.
    BadClaim,
}

impl BackendFault {
    /// The text for people.
    pub const fn text(self) -> &'static str {
        match self {
            BackendFault::Token(TokenFault::WrongAudience) => "the token's aud does not contain api.audience",
            BackendFault::Token(fault) | BackendFault::NoKeyYet(fault) => fault.text(),
            BackendFault::NoClaim => "the token has no claim api, so it is a user's and no backend's",
            BackendFault::BadClaim => {
                "the claim api must be {rights, channels}, lists of words, with as_user, publishes_per_s, signals_per_s or none"
            }
        }
    }
}

impl From<TokenFault> for BackendFault {
    fn from(fault: TokenFault) -> BackendFault {
        BackendFault::Token(fault)
    }
}

impl From<Unverified> for BackendFault {
    fn from(unverified: Unverified) -> BackendFault {
        match unverified {
            Unverified::Open(fault, TokenForm::Jwt) => BackendFault::NoKeyYet(fault),
            Unverified::Open(fault, TokenForm::Opaque) | Unverified::Refused(fault) => {
                BackendFault::Token(fault)
            }
        }
    }
}

/// The claim `api`. Members and rights that are not known may be those of a later version.
#[derive(Deserialize)]
struct ApiClaim {
    rights: Vec<String>,
    channels: Vec<String>,
    #[serde(default)]
    as_user: bool,
    #[serde(default)]
    publishes_per_s: u32,
    #[serde(default = "signals_per_s")]
    signals_per_s: u32,
}

const fn signals_per_s() -> u32 {
    ApiRates::SIGNALS_PER_S
}

/// Verifies the token of a backend at `now_unix_ms` with the configured keys and those of a key set.
pub fn verify_backend(
    verifier: &Verifier,
    fetched: &KeySet,
    token: &str,
    now_unix_ms: u64,
) -> Result<BackendToken, BackendFault> {
    verifier.read_claims(token, fetched, now_unix_ms, |claims, expires_unix_ms| {
        let name = subject(claims.sub)?;
        let json = claims.api.ok_or(BackendFault::NoClaim)?;
        let claim: ApiClaim = serde_json::from_str(json.get()).map_err(|_| BackendFault::BadClaim)?;
        let ApiClaim { rights, channels, as_user, publishes_per_s, signals_per_s } = claim;
        if publishes_per_s.max(signals_per_s) > RATE_MAX {
            return Err(BackendFault::BadClaim);
        }
        let rights = rights.iter().filter_map(|word| ApiRight::parse(word)).collect();
        let authorship = if as_user { Authorship::AnyUser } else { Authorship::Own };
        let rates = ApiRates::new(publishes_per_s, signals_per_s);
        let key = ApiKey::of_token(name.as_str(), rights, &channels, authorship, rates);
        let key = key.map_err(|fault| match fault {
            ClaimFault::Shape => TokenFault::BadSubject,
            fault => fault.into(),
        })?;
        Ok(BackendToken { key: key.stamped(stamp(claims.iat, claims.jti)), expires_unix_ms })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::key::{Algorithm, KeyConfig, KeyMaterial};
    use crate::auth::token::VerifierConfig;
    use crate::id::{ChannelName, TokenId, TokenStamp};
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: u64 = 1_800_000_000_000;

    fn verifier() -> Verifier {
        let material = KeyMaterial::Secret(SECRET.to_vec().into());
        let keys = vec![KeyConfig { kid: None, algorithm: Algorithm::Hs256, material }];
        Verifier::new(VerifierConfig {
            keys,
            audience: Some("seawall-api".into()),
            ..VerifierConfig::default()
        })
        .expect("a key")
    }

    fn verified(change: impl FnOnce(&mut Value)) -> Result<BackendToken, BackendFault> {
        let mut claims = json!({
            "sub": "shop", "aud": ["chat", "seawall-api"], "exp": NOW / 1_000 + 60,
            "api": {"rights": ["publish", "history", "later"], "channels": ["room.*"], "publishes_per_s": 5, "later": 1},
        });
        change(&mut claims);
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).expect("a token");
        verify_backend(&verifier(), &KeySet::default(), &token, NOW)
    }

    #[test]
    fn token_of_a_backend_has_its_rights_in_the_claim_api() {
        let BackendToken { key, expires_unix_ms } = verified(|_| {}).expect("good");
        assert_eq!(expires_unix_ms, Some(NOW + 60_000));
        assert_eq!((&**key.name(), &**key.party()), ("shop", "token:shop"));
        assert!(key.has(ApiRight::Publish) && key.has(ApiRight::History) && !key.has(ApiRight::Signal));
        let covers = |name| key.covers(&ChannelName::parse(name).expect("a name"));
        assert!(covers("room.1") && !covers("lobby"));
        let named =
            verified(|claims| (claims["jti"], claims["iat"]) = ("a".into(), 7.into())).expect("good").key;
        let stamp = TokenStamp { issued_s: 7, jti: TokenId::of("a") };
        assert_eq!(named.revocable().map(|(user, stamp)| (user.as_str(), stamp)), Some(("$api:shop", stamp)));
        assert_eq!(key.author(None).expect("its own").as_str(), "$api:shop");
        assert_eq!(key.author(Some(crate::id::UserName::anonymous())), None);
        assert_eq!(key.rates(), ApiRates::new(5, ApiRates::SIGNALS_PER_S));
        let any = verified(|claims| claims["api"]["as_user"] = true.into()).expect("good").key;
        assert!(any.author(Some(crate::id::UserName::anonymous())).is_some());
    }

    #[test]
    fn token_of_a_user_and_a_wrong_claim_are_refused() {
        let fault = |change: fn(&mut Value)| verified(change).expect_err("refused");
        assert_eq!(
            fault(|claims| drop(claims.as_object_mut().expect("one").remove("api"))),
            BackendFault::NoClaim
        );
        for change in [
            (|claims| claims["api"] = Value::Null) as fn(&mut Value),
            |claims| claims["api"] = json!(["publish"]),
            |claims| claims["api"]["rights"] = json!("publish"),
            |claims| claims["api"]["as_user"] = json!("yes"),
            |claims| claims["api"]["publishes_per_s"] = json!(1_000_001),
            |claims| claims["api"]["signals_per_s"] = json!(-1),
        ] {
            assert_eq!(fault(change), BackendFault::BadClaim);
        }
        let token = |fault| BackendFault::Token(fault);
        assert_eq!(fault(|claims| claims["aud"] = json!("chat")), token(TokenFault::WrongAudience));
        assert_eq!(fault(|claims| claims["exp"] = json!(1)), token(TokenFault::Expired));
        assert_eq!(fault(|claims| claims["sub"] = json!("$api:shop")), token(TokenFault::BadSubject));
        assert_eq!(fault(|claims| claims["sub"] = json!("s".repeat(124))), token(TokenFault::BadSubject));
        assert_eq!(fault(|claims| claims["api"]["channels"] = json!(["a*b"])), token(TokenFault::BadPattern));
        assert!(BackendFault::BadClaim.text().contains("rights"));
        assert_eq!(
            verify_backend(&verifier(), &KeySet::default(), "x.y.z", NOW),
            Err(token(TokenFault::Malformed))
        );
    }
}
