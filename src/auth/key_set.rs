//! A key set (JWKS, RFC 7517 section 5) published by an issuer.
//!
//! Anyone who can fetch the document can read all of it. So a symmetric key in it is not a secret, and a private key
//! no longer is; neither is used. Keys of other algorithms and for other uses are skipped, as the RFC requires. A
//! document without any usable key is rejected.

use super::key::{Algorithm, ED25519_KEY_BYTES, P256_POINT_BYTES, RSA_BITS_MAX, RSA_BITS_MIN, VerifyingKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::fmt;

/// The bound on usable keys in a set. An issuer has a handful, and a token without `kid` is tried with each key of
/// its algorithm.
pub const SET_KEYS_MAX: usize = 32;

/// The public keys of an issuer. The default set is empty and verifies nothing.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    /// Skipped entries: other algorithms, other uses, or invalid.
    pub passed_over: usize,
    /// Skipped entries that are symmetric or private keys, which must never be published.
    pub exposed: usize,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.keys.len())
    }
}

/// The reason why a document is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetFault {
    /// The document is not a JSON object with a list `keys`.
    Shape,
    /// None of the keys can be used.
    NoUsableKey,
    /// More than [`SET_KEYS_MAX`] keys can be used.
    TooManyKeys,
}

impl KeySetFault {
    /// The text for the operator.
    pub const fn text(self) -> &'static str {
        match self {
            KeySetFault::Shape => "the document is not a JSON object with a list of keys",
            KeySetFault::NoUsableKey => "the document has no public key for RS256, ES256 or EdDSA",
            KeySetFault::TooManyKeys => "the document has more than 32 usable keys",
        }
    }
}

impl KeySet {
    pub fn parse(document: &[u8]) -> Result<KeySet, KeySetFault> {
        #[derive(Deserialize)]
        struct Document<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        if !document.trim_ascii_start().starts_with(b"{") {
            return Err(KeySetFault::Shape);
        }
        let document: Document<'_> = serde_json::from_slice(document).map_err(|_| KeySetFault::Shape)?;
        let mut set = KeySet::default();
        for entry in document.keys {
            match read(entry.get()) {
                Ok(key) => set.keys.push(key),
                Err(unused) => {
                    set.passed_over += 1;
                    set.exposed += usize::from(unused == Unused::Exposed);
                }
            }
        }
        match set.keys.len() {
            0 => Err(KeySetFault::NoUsableKey),
            1..=SET_KEYS_MAX => Ok(set),
            _ => Err(KeySetFault::TooManyKeys),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }
}

/// The reason why an entry is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unused {
    Exposed,
    Other,
}

fn read(entry: &str) -> Result<VerifyingKey, Unused> {
    #[derive(Deserialize)]
    struct Material {
        k: Option<IgnoredAny>,
        d: Option<IgnoredAny>,
    }
    let material: Material = serde_json::from_str(entry).map_err(|_| Unused::Other)?;
    if material.k.is_some() || material.d.is_some() {
        return Err(Unused::Exposed);
    }
    let jwk: Jwk = serde_json::from_str(entry).map_err(|_| Unused::Other)?;
    let common = &jwk.common;
    let for_signatures = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|of| of.contains(&KeyOperations::Verify));
    if !for_signatures {
        return Err(Unused::Other);
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::Rs256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::Es256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDsa, KeyAlgorithm::EdDSA)
        }
        _ => return Err(Unused::Other),
    };
    if common.key_algorithm.is_some_and(|of| of != named) || !in_bounds(&jwk) {
        return Err(Unused::Other);
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| Unused::Other)?;
    Ok(VerifyingKey { kid: jwk.common.key_id, algorithm, key, mark: None })
}

/// Checks the bounds that apply to configured keys as well.
fn in_bounds(jwk: &Jwk) -> bool {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            let modulus = bytes(&key.n);
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let modulus = modulus.get(zeros..).unwrap_or_default();
            let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
            (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits)
        }
        AlgorithmParameters::EllipticCurve(key) => {
            let coordinate = (P256_POINT_BYTES - 1) / 2;
            bytes(&key.x).len() == coordinate && bytes(&key.y).len() == coordinate
        }
        AlgorithmParameters::OctetKeyPair(key) => bytes(&key.x).len() == ED25519_KEY_BYTES,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
