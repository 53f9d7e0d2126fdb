//! Checks a token (a JWT, RFC 7519) against the configured keys, at a `now` that is passed in.
//!
//! The signature is checked before any claim is read, so a stranger learns nothing from the order of
//! faults but that his signature is no good. A fault is a word and never holds a part of the token.

mod fault;

pub use crate::auth::key::{Algorithm, KeyConfig, KeyFault, KeyMaterial, KeyProblem};
pub use fault::TokenFault;

use crate::auth::key::{self, VerifyingKey};
use crate::auth::key_set::KeySet;
use crate::auth::permission::Permissions;
use crate::id::{INTEGER_MAX, UserName};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Bytes of one token: it is looked at before anything is known of its sender. It also has to fit the
/// head of an upgrade, twice over.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What tokens are checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierConfig {
    /// One to [`key::KEYS_MAX`] keys.
    pub keys: Vec<KeyConfig>,
    /// What `aud` must be or contain; `None`: `aud` is not looked at.
    pub audience: Option<String>,
    /// What `iss` must be; `None`: `iss` is not looked at.
    pub issuer: Option<String>,
    /// How far the issuer's clock may be off: added to `exp`, taken from `nbf`.
    pub leeway: Duration,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`
    pub user: UserName,
    /// `channels`; without the claim, [`Permissions::nothing`].
    pub permissions: Permissions,
    /// From here on the token is no longer accepted: `exp` plus the leeway, Unix milliseconds.
    pub expires_unix_ms: Option<u64>,
}

/// What the keys at hand say of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// One of them made its signature, or is named by it and did not; or nobody could accept it. This is final.
    Settled(Result<Claims, TokenFault>),
    /// None of them can tell, and somebody else may know.
    Open {
        /// What is said where nobody else is asked.
        fault: TokenFault,
        /// Who may know.
        form: Form,
    },
}

/// What a token that no key at hand knows looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JWT whose key a newer key set may hold.
    Jwt,
    /// Only who made it can read it.
    Opaque,
}

/// Checks tokens. Holds secrets, so its `Debug` form says nothing.
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    audience: Option<String>,
    issuer: Option<String>,
    leeway_ms: u64,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// Prepares the keys; the fault names the first that cannot be used.
    pub fn new(config: VerifierConfig) -> Result<Verifier, KeyFault> {
        if config.keys.is_empty() { Err(KeyFault::NoKeys) } else { Verifier::beside_a_service(config) }
    }

    /// The same, where an auth service is asked as well: then there may be no key.
    pub fn beside_a_service(config: VerifierConfig) -> Result<Verifier, KeyFault> {
        Ok(Verifier {
            keys: key::prepare(config.keys)?,
            audience: config.audience,
            issuer: config.issuer,
            leeway_ms: u64::try_from(config.leeway.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// What `token` says, if it is to be believed at `now_unix_ms` by the configured keys alone.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Claims, TokenFault> {
        match self.judge(token, &KeySet::default(), now_unix_ms) {
            Judged::Settled(claims) => claims,
            Judged::Open { fault, .. } => Err(fault),
        }
    }

    /// What the configured keys say of `token`, and after them those of a key set.
    pub fn judge(&self, token: &str, fetched: &KeySet, now_unix_ms: u64) -> Judged {
        match token.len() {
            0 => return Judged::Settled(Err(TokenFault::Missing)),
            1..=TOKEN_BYTES_MAX => {}
            _ => return Judged::Settled(Err(TokenFault::TooLong)),
        }
        let opaque = |fault| Judged::Open { fault, form: Form::Opaque };
        let parts = match Parts::of(token) {
            Ok(parts) => parts,
            Err(fault) => return opaque(fault),
        };
        match self.signer(&parts, fetched) {
            Ok(Signer::Known) => Judged::Settled(self.read(parts.payload, now_unix_ms)),
            Ok(Signer::Forged) => Judged::Settled(Err(TokenFault::BadSignature)),
            Ok(Signer::Unknown(fault, form)) => Judged::Open { fault, form },
            Err(fault @ TokenFault::UnknownExtension) => Judged::Settled(Err(fault)),
            Err(fault) => opaque(fault),
        }
    }

    fn read(&self, payload: &str, now_unix_ms: u64) -> Result<Claims, TokenFault> {
        let payload = decode(payload)?;
        self.claims(&object(&payload)?, now_unix_ms)
    }

    /// What claims that are to be believed grant, if they are for this gateway and for now.
    pub(super) fn claims(&self, body: &Body<'_>, now_unix_ms: u64) -> Result<Claims, TokenFault> {
        self.check_parties(body)?;
        let expires_unix_ms = self.check_times(body, now_unix_ms)?;
        let user = subject(body.sub)?;
        let permissions = match body.channels {
            Some(json) => Permissions::from_claim(json.get())?,
            None => Permissions::nothing(),
        };
        Ok(Claims { user, permissions, expires_unix_ms })
    }

    fn signer(&self, parts: &Parts<'_>, fetched: &KeySet) -> Result<Signer, TokenFault> {
        let header = decode(parts.header)?;
        let header: Header<'_> = object(&header)?;
        if header.crit.is_some() {
            return Err(TokenFault::UnknownExtension);
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or(TokenFault::UnknownAlgorithm)?;
        let sought = Sought { parts, algorithm, kid: header.kid.as_deref() };
        let own = sought.among(&self.keys);
        let (Signer::Unknown(fault, _), false) = (own, fetched.is_empty()) else { return Ok(own) };
        match (sought.among(fetched.keys()), fault) {
            (Signer::Unknown(_, form), TokenFault::BadSignature) => {
                Ok(Signer::Unknown(TokenFault::BadSignature, form))
            }
            (signer, _) => Ok(signer),
        }
    }

    fn check_parties(&self, body: &Body<'_>) -> Result<(), TokenFault> {
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

    /// `exp` is the first moment at which a token is no longer good, `nbf` the first at which it is
    /// (RFC 7519 sections 4.1.4 and 4.1.5).
    fn check_times(&self, body: &Body<'_>, now_unix_ms: u64) -> Result<Option<u64>, TokenFault> {
        let not_before = body.nbf.map(milliseconds).transpose()?;
        if not_before.is_some_and(|at| now_unix_ms.saturating_add(self.leeway_ms) < at) {
            return Err(TokenFault::NotYetValid);
        }
        let expires = body.exp.map(milliseconds).transpose()?;
        let expires = expires.map(|at| at.saturating_add(self.leeway_ms).min(INTEGER_MAX));
        if expires.is_some_and(|at| now_unix_ms >= at) { Err(TokenFault::Expired) } else { Ok(expires) }
    }
}

/// Who signed.
#[derive(Clone, Copy, Debug)]
enum Signer {
    /// One of the keys.
    Known,
    /// Not the key that the token names.
    Forged,
    /// None of the keys, and none of them is named.
    Unknown(TokenFault, Form),
}

/// A signature whose key is looked for.
struct Sought<'a> {
    parts: &'a Parts<'a>,
    algorithm: Algorithm,
    kid: Option<&'a str>,
}

impl Sought<'_> {
    /// `kid` selects the key. A token without one, or with one that no key has, is tried with each key of
    /// its algorithm; in the second case only with those that have no `kid`.
    fn among(&self, keys: &[VerifyingKey]) -> Signer {
        let named = |key: &VerifyingKey| key.kid.as_deref() == self.kid;
        let known = self.kid.is_some() && keys.iter().any(named);
        let fits = |key: &&VerifyingKey| {
            let by_name = if known { named(key) } else { self.kid.is_none() || key.kid.is_none() };
            by_name && key.algorithm == self.algorithm
        };
        let mut fault = TokenFault::UnknownKey;
        for key in keys.iter().filter(fits) {
            if key.signed(self.parts.signed, self.parts.signature) {
                return Signer::Known;
            }
            fault = TokenFault::BadSignature;
        }
        match (known, fault, self.algorithm) {
            (true, TokenFault::BadSignature, _) => Signer::Forged,
            (_, fault, Algorithm::Hs256) => Signer::Unknown(fault, Form::Opaque),
            (_, fault, Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa) => {
                Signer::Unknown(fault, Form::Jwt)
            }
        }
    }
}

/// A compact serialisation (RFC 7515 section 3.1), not yet decoded.
struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// What the signature is over: header and payload with their dot.
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Parts<'a>, TokenFault> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        if payload.contains('.') {
            return Err(TokenFault::Malformed);
        }
        Ok(Parts { header, payload, signature, signed })
    }
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    crit: Option<&'a RawValue>,
}

/// The claims we read, each as JSON, so that a wrong type is a fault of its own. Others are ignored.
#[derive(Default, Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) sub: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) exp: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) nbf: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) aud: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) iss: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) channels: Option<&'a RawValue>,
}

/// Keeps `null` apart from an absent claim: an `exp` of `null` must not mean forever.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

/// Reads a JSON object. (The library would take a list for one, value by value.)
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, TokenFault> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(TokenFault::Malformed);
    }
    serde_json::from_slice(json).map_err(|_| TokenFault::Malformed)
}

fn string(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

/// Whether `aud`, a string or a list of strings (RFC 7519 section 4.1.3), names `audience`.
fn names(aud: &RawValue, audience: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Several(Vec<String>),
    }
    match serde_json::from_str(aud.get()) {
        Ok(Audience::One(one)) => one == audience,
        Ok(Audience::Several(several)) => several.iter().any(|one| one == audience),
        Err(_) => false,
    }
}

fn subject(sub: Option<&RawValue>) -> Result<UserName, TokenFault> {
    let name = string(sub.ok_or(TokenFault::NoSubject)?).ok_or(TokenFault::BadSubject)?;
    UserName::parse(&name).map_err(|_| TokenFault::BadSubject)
}

/// A `NumericDate` (RFC 7519 section 2: seconds, perhaps with a fraction) in milliseconds. One before 1970
/// becomes 0 and one beyond all calendars stays there: `as` saturates.
fn milliseconds(date: &RawValue) -> Result<u64, TokenFault> {
    let seconds: f64 = serde_json::from_str(date.get()).map_err(|_| TokenFault::BadTime)?;
    Ok((seconds * 1_000.0).round() as u64)
}

#[cfg(test)]
mod tests;
