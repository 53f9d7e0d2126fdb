//! The signature of a token (RFC 7515), and the key that made it.

use super::fault::TokenFault;
use super::values::{decode, object, present};
use crate::auth::key::{Algorithm, TRIES_MAX, VerifyingKey};
use crate::auth::key_set::KeySet;
use crate::auth::trust::TrustMark;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The form of a token that no available key can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenForm {
    /// A JWT whose key may be in a newer key set.
    Jwt,
    /// A token that only its issuer can read.
    Opaque,
}

/// The signer of a token.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signer {
    /// This configured key, or a key of the key set.
    Known(Option<TrustMark>),
    /// Not the key that the token names.
    Forged,
    /// No key of the set; the token names none of them.
    Unknown(TokenFault, TokenForm),
}

/// Finds the signer of a token among the configured keys and those of a key set.
pub(super) fn signer(
    parts: &Parts<'_>,
    configured: &[VerifyingKey],
    fetched: &KeySet,
) -> Result<Signer, TokenFault> {
    let header = decode(parts.header)?;
    let header: Header<'_> = object(&header)?;
    if header.crit.is_some() {
        return Err(TokenFault::UnknownExtension);
    }
    let algorithm = Algorithm::parse(&header.alg).ok_or(TokenFault::UnknownAlgorithm)?;
    let search = KeySearch { parts, algorithm, kid: header.kid.as_deref() };
    let mut tries = TRIES_MAX;
    let own = search.run(configured, &mut tries);
    let (Signer::Unknown(fault, _), false) = (own, fetched.is_empty()) else { return Ok(own) };
    match (search.run(fetched.keys(), &mut tries), fault) {
        (Signer::Unknown(_, form), TokenFault::BadSignature) => {
            Ok(Signer::Unknown(TokenFault::BadSignature, form))
        }
        (signer, _) => Ok(signer),
    }
}

/// A search for the key of a signature.
struct KeySearch<'a> {
    parts: &'a Parts<'a>,
    algorithm: Algorithm,
    kid: Option<&'a str>,
}

impl KeySearch<'_> {
    /// Searches the keys. `kid` selects one. A token without `kid` is tried with the keys of its algorithm, first those
    /// without `kid`, and a token with an unknown `kid` only with keys that have no `kid`. Each attempt takes one of `tries`.
    fn run(&self, keys: &[VerifyingKey], tries: &mut usize) -> Signer {
        let named = |key: &VerifyingKey| key.kid.as_deref() == self.kid;
        let known = self.kid.is_some() && keys.iter().any(named);
        let fits = |key: &&VerifyingKey| {
            let by_name = if known { named(key) } else { self.kid.is_none() || key.kid.is_none() };
            by_name && key.algorithm == self.algorithm
        };
        let fitting =
            |has_kid: bool| keys.iter().filter(fits).filter(move |key| key.kid.is_some() == has_kid);
        let mut fault = TokenFault::UnknownKey;
        for key in fitting(false).chain(fitting(true)) {
            let Some(left) = tries.checked_sub(1) else { break };
            *tries = left;
            if key.signed(self.parts.signed, self.parts.signature) {
                return Signer::Known(key.mark);
            }
            fault = TokenFault::BadSignature;
        }
        match (known, fault, self.algorithm) {
            (true, TokenFault::BadSignature, _) => Signer::Forged,
            (_, fault, Algorithm::Hs256) => Signer::Unknown(fault, TokenForm::Opaque),
            (_, fault, Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa) => {
                Signer::Unknown(fault, TokenForm::Jwt)
            }
        }
    }
}

/// A compact serialisation (RFC 7515 section 3.1), not yet decoded.
pub(in crate::auth) struct Parts<'a> {
    pub(in crate::auth) header: &'a str,
    pub(in crate::auth) payload: &'a str,
    signature: &'a str,
    /// The signed text: header and payload with the dot between them.
    signed: &'a str,
}

impl<'a> Parts<'a> {
    pub(in crate::auth) fn of(token: &'a str) -> Result<Parts<'a>, TokenFault> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        if payload.contains('.') {
            return Err(TokenFault::Malformed);
        }
        Ok(Parts { header, payload, signature, signed })
    }
}

#[derive(Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) typ: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    crit: Option<&'a RawValue>,
}
