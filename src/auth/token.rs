//! Verifies a token (a JWT, RFC 7519) with the configured keys, at a `now` that is passed in.
//!
//! The signature is checked before any claim is read, so an attacker learns nothing from a fault except that the
//! signature is invalid. A fault never contains any part of the token.

mod fault;
mod signature;
mod values;

pub use crate::auth::key::{Algorithm, KeyConfig, KeyFault, KeyMaterial, KeyProblem};
pub use fault::TokenFault;
pub(super) use signature::Parts;
pub use signature::TokenForm;
pub(super) use values::{decode, object, stamp, subject};

use crate::auth::key::{self, KeyChanges, VerifyingKey};
use crate::auth::key_set::KeySet;
use crate::auth::permission::Permissions;
use crate::auth::token_type::is_type;
use crate::auth::trust::{TokenOrigin, TokenSource, TrustMark};
use crate::id::{INTEGER_MAX, TokenStamp, UserName};
use crate::wire::claims::{self, CLAIMS_BYTES_MAX, ChosenClaims};
use serde::Deserialize;
use serde_json::value::RawValue;
use signature::{Header, Signer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use values::{milliseconds, names, present, rate, string, whole_ms};

/// The bound on the bytes of a token, because it is read before anything is known of its sender. A token must also
/// fit twice into the head of an upgrade.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The rule for tokens without `exp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiryRule {
    /// A token without `exp` never expires.
    #[default]
    Optional,
    /// A token without `exp` is refused.
    Required,
}

/// The configuration that tokens are verified against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifierConfig {
    /// One to [`key::KEYS_MAX`] keys.
    pub keys: Vec<KeyConfig>,
    /// The value that `aud` must equal or contain; `None` ignores `aud`.
    pub audience: Option<String>,
    /// The value that `iss` must equal; `None` ignores `iss`.
    pub issuer: Option<String>,
    /// The tolerance for the issuer's clock, added to `exp` and subtracted from `nbf`.
    pub leeway: Duration,
    /// The value that `typ` must have, in the header or among the claims of a signed token; `None` ignores `typ`.
    pub token_type: Option<String>,
    pub expiry: ExpiryRule,
    /// The longest time from `iat`, or from now without it, to the end of validity; `None`: as long as `exp` says.
    pub lifetime_max: Option<Duration>,
    /// The address of the key set; `None` if none is fetched.
    pub key_set: Option<TrustMark>,
    /// The address of the introspection service; `None` if none is asked.
    pub service: Option<TrustMark>,
    /// The names of the claims that routes forward.
    pub forwarded: Arc<[Arc<str>]>,
}

/// The content of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub user: UserName,
    /// From `channels`; without the claim, [`Permissions::nothing`].
    pub permissions: Permissions,
    /// The end of validity: `exp` plus the leeway, or the end of the longest lifetime, in Unix milliseconds.
    pub expires_unix_ms: Option<u64>,
    /// From `publishes_per_s`; 0 without the claim.
    pub publishes_per_s: u32,
    /// From `info`, as JSON; `None` without the claim or if it is over [`INFO_BYTES_MAX`](crate::limits::INFO_BYTES_MAX).
    pub info: Option<Arc<str>>,
    /// The [claims] that routes forward, as a JSON object; `None` if the token has none of them.
    pub forwarded: Option<Arc<str>>,
    pub origin: TokenOrigin,
    pub stamp: TokenStamp,
}

/// The result of checking a token with the available keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Final: a key made the signature, or the token names a key that did not, or no party could accept the token.
    Settled(Result<Claims, TokenFault>),
    /// Undecided: no available key can verify the token, but another source may.
    Open {
        /// The fault to report if no other source is asked.
        fault: TokenFault,
        form: TokenForm,
    },
}

/// Verifies tokens. It holds secrets, so its `Debug` form shows nothing.
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    audience: Option<String>,
    issuer: Option<String>,
    leeway_ms: u64,
    token_type: Option<String>,
    expiry: ExpiryRule,
    lifetime_max_ms: Option<u64>,
    key_set: TokenSource,
    service: TokenSource,
    forwarded: Arc<[Arc<str>]>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// Prepares the keys. The fault names the first key that cannot be used.
    pub fn new(config: VerifierConfig) -> Result<Verifier, KeyFault> {
        if config.keys.is_empty() { Err(KeyFault::NoKeys) } else { Verifier::with_auth_service(config) }
    }

    /// Like [`Verifier::new`], but with an auth service that is asked as well, so there may be no keys.
    pub fn with_auth_service(config: VerifierConfig) -> Result<Verifier, KeyFault> {
        Ok(Verifier {
            keys: key::prepare(config.keys)?,
            audience: config.audience,
            issuer: config.issuer,
            leeway_ms: whole_ms(config.leeway),
            token_type: config.token_type,
            expiry: config.expiry,
            lifetime_max_ms: config.lifetime_max.map(whole_ms),
            key_set: TokenSource::KeySet(config.key_set.unwrap_or(TrustMark::NONE)),
            service: TokenSource::Service(config.service.unwrap_or(TrustMark::NONE)),
            forwarded: config.forwarded,
        })
    }

    /// Verifies `token` at `now_unix_ms` with the configured keys alone.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Claims, TokenFault> {
        match self.judge(token, &KeySet::default(), now_unix_ms) {
            Judged::Settled(claims) => claims,
            Judged::Open { fault, .. } => Err(fault),
        }
    }

    /// The configured keys that differ from those of an earlier verifier; `None` if they are the same.
    pub fn changes_since(&self, before: &Verifier) -> Option<KeyChanges> {
        KeyChanges::between(&before.keys, &self.keys)
    }

    /// Checks `token` with the configured keys, then with those of a key set.
    pub fn judge(&self, token: &str, fetched: &KeySet, now_unix_ms: u64) -> Judged {
        match self.signed(token, fetched) {
            Ok((parts, source)) => {
                let read = |claims: &RawClaims<'_>, expires| claims_of(claims, source, expires);
                let claims = self.read(&parts, now_unix_ms, read);
                Judged::Settled(claims.map(|claims| Claims { forwarded: self.forwarded(&parts), ..claims }))
            }
            Err(Unverified::Refused(fault)) => Judged::Settled(Err(fault)),
            Err(Unverified::Open(fault, form)) => Judged::Open { fault, form },
        }
    }

    /// The parts of a token whose signature is good, and its signer.
    fn signed<'a>(&self, token: &'a str, fetched: &KeySet) -> Result<(Parts<'a>, TokenSource), Unverified> {
        match token.len() {
            0 => return Err(Unverified::Refused(TokenFault::Missing)),
            1..=TOKEN_BYTES_MAX => {}
            _ => return Err(Unverified::Refused(TokenFault::TooLong)),
        }
        let opaque = |fault| Unverified::Open(fault, TokenForm::Opaque);
        let parts = Parts::of(token).map_err(opaque)?;
        match signature::signer(&parts, &self.keys, fetched) {
            Ok(Signer::Known(mark)) => Ok((parts, mark.map_or(self.key_set, TokenSource::Key))),
            Ok(Signer::Forged) => Err(Unverified::Refused(TokenFault::BadSignature)),
            Ok(Signer::Unknown(fault, form)) => Err(Unverified::Open(fault, form)),
            Err(fault @ TokenFault::UnknownExtension) => Err(Unverified::Refused(fault)),
            Err(fault) => Err(opaque(fault)),
        }
    }

    /// Hands the claims of a token to `read`, with the end of its validity, if a configured key or one of `fetched` signed it and it
    /// is meant for this gateway and valid now.
    pub(super) fn read_claims<T, E: From<TokenFault> + From<Unverified>>(
        &self,
        token: &str,
        fetched: &KeySet,
        now_unix_ms: u64,
        read: impl FnOnce(&RawClaims<'_>, Option<u64>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (parts, _) = self.signed(token, fetched)?;
        self.read(&parts, now_unix_ms, read)
    }

    fn read<T, E: From<TokenFault>>(
        &self,
        parts: &Parts<'_>,
        now_unix_ms: u64,
        read: impl FnOnce(&RawClaims<'_>, Option<u64>) -> Result<T, E>,
    ) -> Result<T, E> {
        let payload = decode(parts.payload)?;
        let claims: RawClaims<'_> = object(&payload)?;
        if let Some(expected) = &self.token_type {
            check_type(parts, &claims, expected)?;
        }
        let expires_unix_ms = self.check(&claims, now_unix_ms)?;
        read(&claims, expires_unix_ms)
    }

    /// The claims of a signed token that routes forward.
    fn forwarded(&self, parts: &Parts<'_>) -> Option<Arc<str>> {
        if self.forwarded.is_empty() {
            return None;
        }
        kept(claims::choose(&decode(parts.payload).ok()?, &self.forwarded))
    }

    /// Reads the claims of an answer of the introspection service, in which `find` finds a member.
    pub(super) fn introspected<'a>(
        &self,
        body: &RawClaims<'_>,
        find: impl Fn(&str) -> Option<&'a str>,
        now_unix_ms: u64,
    ) -> Result<Claims, TokenFault> {
        if let Some(expected) = &self.token_type {
            check_introspected_type(body, expected)?;
        }
        let claims = claims_of(body, self.service, self.check(body, now_unix_ms)?)?;
        Ok(Claims { forwarded: kept(claims::choose_from(find, &self.forwarded)), ..claims })
    }

    /// The end of the validity of claims that are meant for this gateway and valid now.
    fn check(&self, body: &RawClaims<'_>, now_unix_ms: u64) -> Result<Option<u64>, TokenFault> {
        self.check_parties(body)?;
        self.check_times(body, now_unix_ms)
    }

    fn check_parties(&self, body: &RawClaims<'_>) -> Result<(), TokenFault> {
        if let Some(issuer) = &self.issuer
            && body.iss.and_then(string).as_deref() != Some(issuer)
        {
            return Err(TokenFault::WrongIssuer);
        }
        match &self.audience {
            Some(audience) if !body.aud.is_some_and(|aud| names(aud, audience)) => {
                Err(TokenFault::WrongAudience)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks the times. `exp` is the first moment at which a token is no longer valid, `nbf` the first at which it
    /// is (RFC 7519 sections 4.1.4 and 4.1.5).
    fn check_times(&self, body: &RawClaims<'_>, now_unix_ms: u64) -> Result<Option<u64>, TokenFault> {
        let not_before = body.nbf.map(milliseconds).transpose()?;
        let early = not_before.map_or(0, |at| at.saturating_sub(now_unix_ms.saturating_add(self.leeway_ms)));
        if early > 0 {
            return Err(TokenFault::NotYetValid { wait_ms: u32::try_from(early).unwrap_or(u32::MAX) });
        }
        let expires = body.exp.map(milliseconds).transpose()?;
        let expires = expires.map(|at| at.saturating_add(self.leeway_ms).min(INTEGER_MAX));
        if expires.is_none() && self.expiry == ExpiryRule::Required {
            return Err(TokenFault::NoExpiry);
        }
        let expires = expires.into_iter().chain(self.latest_end(body, now_unix_ms)?).min();
        if expires.is_some_and(|at| now_unix_ms >= at) { Err(TokenFault::Expired) } else { Ok(expires) }
    }

    /// The end of the longest lifetime. An `iat` in the future counts as now.
    fn latest_end(&self, body: &RawClaims<'_>, now_unix_ms: u64) -> Result<Option<u64>, TokenFault> {
        let Some(lifetime_max_ms) = self.lifetime_max_ms else { return Ok(None) };
        let issued = body.iat.map(milliseconds).transpose()?.unwrap_or(now_unix_ms).min(now_unix_ms);
        Ok(Some(issued.saturating_add(lifetime_max_ms).min(INTEGER_MAX)))
    }
}

/// The claims to forward. The log bounds the repeated line.
fn kept(chosen: ChosenClaims) -> Option<Arc<str>> {
    if let Some(claim) = chosen.left_out {
        let bytes_max = CLAIMS_BYTES_MAX;
        tracing::warn!(claim = &*claim, bytes_max, "claim of a token not forwarded, because it is too long");
    }
    chosen.object
}

/// Reads the claims of a user that were checked, except the forwarded ones.
fn claims_of(
    body: &RawClaims<'_>,
    source: TokenSource,
    expires_unix_ms: Option<u64>,
) -> Result<Claims, TokenFault> {
    let user = subject(body.sub)?;
    let permissions = match body.channels {
        Some(json) => Permissions::from_claim(json.get())?,
        None => Permissions::nothing(),
    };
    let issuer = body.iss.and_then(string).map(|issuer| TrustMark::of(&issuer));
    let origin = TokenOrigin { source, issuer };
    let publishes_per_s = body.publishes_per_s.map_or(Ok(0), rate)?;
    let (info, stamp) = (body.info.and_then(values::info), stamp(body.iat, body.jti));
    let forwarded = None;
    Ok(Claims { user, permissions, expires_unix_ms, publishes_per_s, info, forwarded, origin, stamp })
}

/// A token without a good signature of a key at hand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unverified {
    /// For good.
    Refused(TokenFault),
    /// Another source may accept it.
    Open(TokenFault, TokenForm),
}

/// The claims that are read, each as JSON, so that a wrong type is a separate fault. Other claims are ignored.
#[derive(Default, Deserialize)]
pub(super) struct RawClaims<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) sub: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) exp: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) nbf: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) iat: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) jti: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) typ: Option<&'a RawValue>,
    /// Of an introspection answer.
    #[serde(skip)]
    pub(super) token_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) aud: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) iss: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) channels: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) publishes_per_s: Option<&'a RawValue>,
    /// Of a backend's token.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) api: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) info: Option<&'a RawValue>,
}

/// Checks the kind of a token: the `typ` of its header (RFC 9068 section 2.1), or of its claims, where some issuers have it.
fn check_type(parts: &Parts<'_>, claims: &RawClaims<'_>, expected: &str) -> Result<(), TokenFault> {
    let header = decode(parts.header)?;
    let header: Header<'_> = object(&header)?;
    let is_expected = |typ: Option<&RawValue>| typ.is_some_and(|typ| is_type(typ, expected));
    if is_expected(header.typ) || is_expected(claims.typ) { Ok(()) } else { Err(TokenFault::WrongType) }
}

/// Checks the kind of a token that its issuer describes. `typ` names it at some issuers. `token_type` (RFC 7662 section 2.2) mostly
/// says how a token is presented, which is `Bearer` for any kind of access token. An answer without either leaves the kind to the issuer.
fn check_introspected_type(answer: &RawClaims<'_>, expected: &str) -> Result<(), TokenFault> {
    let is_expected = match (answer.typ, answer.token_type) {
        (Some(typ), _) => is_type(typ, expected),
        (None, Some(token_type)) => is_type(token_type, expected) || is_type(token_type, "Bearer"),
        (None, None) => true,
    };
    if is_expected { Ok(()) } else { Err(TokenFault::WrongType) }
}

#[cfg(test)]
mod tests;
