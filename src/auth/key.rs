//! The keys tokens are signed with, as an operator configures them.
//!
//! A key is bound to one algorithm here, and a token is only ever checked with a key of the algorithm it
//! names. That closes the oldest trap of JWTs: a public key, which everybody has, used as an HMAC secret.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use std::fmt;

/// Keys at once: a few issuers, and an old and a new key while they are exchanged. A token without `kid`
/// is tried with each key of its algorithm, so this also bounds what such a token costs.
pub const KEYS_MAX: usize = 8;
/// Bytes of an HS256 secret, at least (RFC 7518 section 3.2: as many as the hash has).
pub const SECRET_BYTES_MIN: usize = 32;
/// Bits of an RSA modulus, at least (RFC 7518 section 3.3).
pub const RSA_BITS_MIN: usize = 2_048;
/// Bits of an RSA modulus, at most: checking a signature takes longer with each.
pub const RSA_BITS_MAX: usize = 8_192;
/// Bytes of an uncompressed P-256 point (SEC 1 section 2.3.3), and its first byte.
pub(super) const P256_POINT_BYTES: usize = 65;
const UNCOMPRESSED: u8 = 4;
pub(super) const ED25519_KEY_BYTES: usize = 32;

/// How a token is signed (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: issuer and gateway share a secret.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 4] = [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

    /// Its name in a token's header and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of exactly this name. (`none` is not one.)
    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(super) const fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// What a signature is checked with. Its `Debug` form shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// The secret of HS256, as bytes.
    Secret(Vec<u8>),
    /// A public key in PEM: `PUBLIC KEY` (what openssl writes), or `RSA PUBLIC KEY` for RS256.
    PublicPem(String),
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyMaterial::Secret(secret) => write!(f, "Secret({} bytes)", secret.len()),
            KeyMaterial::PublicPem(pem) => write!(f, "PublicPem({} bytes)", pem.len()),
        }
    }
}

/// One configured key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConfig {
    /// Which tokens it is for. `None`: those without `kid`, and those whose `kid` no key has.
    pub kid: Option<String>,
    /// The one algorithm it is used with.
    pub algorithm: Algorithm,
    /// The key itself.
    pub material: KeyMaterial,
}

/// What is wrong with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    /// The algorithm wants a secret and was given a PEM, or the other way round.
    WrongMaterial,
    /// A secret shorter than [`SECRET_BYTES_MIN`].
    SecretTooShort,
    /// A secret that is a PEM file: if it is a public key, everybody could sign with it.
    SecretIsPem,
    /// A private key where the public one belongs.
    Private,
    /// No PEM of a public key of this algorithm.
    NotThisAlgorithm,
    /// An RSA modulus below [`RSA_BITS_MIN`] or above [`RSA_BITS_MAX`].
    RsaBits,
    /// An earlier key has the same `kid`.
    SameKid,
}

impl KeyProblem {
    /// For the operator: the bound, and what to do.
    pub const fn text(self) -> &'static str {
        match self {
            KeyProblem::WrongMaterial => {
                "HS256 takes a secret; RS256, ES256 and EdDSA take a public key in PEM"
            }
            KeyProblem::SecretTooShort => {
                "the secret has fewer than 32 bytes; make one with `openssl rand -hex 32`"
            }
            KeyProblem::SecretIsPem => {
                "the secret is a PEM file; if it is a public key, set its algorithm to RS256, ES256 or EdDSA"
            }
            KeyProblem::Private => {
                "this is a private key; give the public one (`openssl pkey -in KEY -pubout`)"
            }
            KeyProblem::NotThisAlgorithm => {
                "no public key of this algorithm in PEM (`-----BEGIN PUBLIC KEY-----`; ES256 wants curve P-256)"
            }
            KeyProblem::RsaBits => "an RSA key must have 2048 to 8192 bits",
            KeyProblem::SameKid => "an earlier key has the same kid; give each its own",
        }
    }
}

/// Why a set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// There is none, so no token could be accepted.
    NoKeys,
    /// More than [`KEYS_MAX`].
    TooManyKeys(usize),
    /// One of them is wrong.
    Key {
        /// Which, counted from 0.
        index: usize,
        /// Its `kid`, if it has one.
        kid: Option<String>,
        /// What is wrong with it.
        problem: KeyProblem,
    },
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFault::NoKeys => f.write_str("no key is configured, so no token could be accepted"),
            KeyFault::TooManyKeys(count) => {
                write!(f, "{count} keys are configured, at most {KEYS_MAX} may be")
            }
            KeyFault::Key { index, kid: Some(kid), problem } => {
                write!(f, "key {} (kid {kid:?}): {}", index + 1, problem.text())
            }
            KeyFault::Key { index, kid: None, problem } => write!(f, "key {}: {}", index + 1, problem.text()),
        }
    }
}

impl std::error::Error for KeyFault {}

/// A key that is ready for use.
pub(super) struct VerifyingKey {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl VerifyingKey {
    /// Whether `signature`, in base64url, is this key's over `message`.
    pub(super) fn signed(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, self.algorithm.library())
            .unwrap_or(false)
    }
}

/// Whether a key can be used with this algorithm.
///
/// # Errors
///
/// What is wrong with it.
pub fn check(algorithm: Algorithm, material: &KeyMaterial) -> Result<(), KeyProblem> {
    read(algorithm, material).map(drop)
}

/// Checks and prepares all keys.
pub(super) fn prepare(configs: Vec<KeyConfig>) -> Result<Vec<VerifyingKey>, KeyFault> {
    if configs.len() > KEYS_MAX {
        return Err(KeyFault::TooManyKeys(configs.len()));
    }
    let mut keys: Vec<VerifyingKey> = Vec::with_capacity(configs.len());
    for (index, KeyConfig { kid, algorithm, material }) in configs.into_iter().enumerate() {
        let repeated = kid.is_some() && keys.iter().any(|earlier| earlier.kid == kid);
        let key = if repeated { Err(KeyProblem::SameKid) } else { read(algorithm, &material) };
        match key {
            Ok(key) => keys.push(VerifyingKey { kid, algorithm, key }),
            Err(problem) => return Err(KeyFault::Key { index, kid, problem }),
        }
    }
    Ok(keys)
}

fn read(algorithm: Algorithm, material: &KeyMaterial) -> Result<DecodingKey, KeyProblem> {
    match (algorithm, material) {
        (Algorithm::Hs256, KeyMaterial::Secret(secret)) => read_secret(secret),
        (Algorithm::Rs256, KeyMaterial::PublicPem(pem)) => read_rsa(public(pem)?),
        (Algorithm::Es256, KeyMaterial::PublicPem(pem)) => read_p256(public(pem)?),
        (Algorithm::EdDsa, KeyMaterial::PublicPem(pem)) => read_ed25519(public(pem)?),
        (Algorithm::Hs256, KeyMaterial::PublicPem(_))
        | (Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa, KeyMaterial::Secret(_)) => {
            Err(KeyProblem::WrongMaterial)
        }
    }
}

/// The library reads private keys and certificates as well and takes from them what it finds first.
fn public(pem: &str) -> Result<&[u8], KeyProblem> {
    if pem.contains("PRIVATE KEY-----") {
        Err(KeyProblem::Private)
    } else if pem.contains("-----BEGIN CERTIFICATE") {
        Err(KeyProblem::NotThisAlgorithm)
    } else {
        Ok(pem.as_bytes())
    }
}

fn read_secret(secret: &[u8]) -> Result<DecodingKey, KeyProblem> {
    if secret.trim_ascii_start().starts_with(b"-----BEGIN ") {
        Err(KeyProblem::SecretIsPem)
    } else if secret.len() < SECRET_BYTES_MIN {
        Err(KeyProblem::SecretTooShort)
    } else {
        Ok(DecodingKey::from_secret(secret))
    }
}

fn read_rsa(pem: &[u8]) -> Result<DecodingKey, KeyProblem> {
    let key = DecodingKey::from_rsa_pem(pem).map_err(|_| KeyProblem::NotThisAlgorithm)?;
    let der = key.try_get_as_bytes().map_err(|_| KeyProblem::NotThisAlgorithm)?;
    let (modulus, _) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der)
        .map_err(|_| KeyProblem::NotThisAlgorithm)?;
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) { Ok(key) } else { Err(KeyProblem::RsaBits) }
}

fn read_p256(pem: &[u8]) -> Result<DecodingKey, KeyProblem> {
    let key = DecodingKey::from_ec_pem(pem).map_err(|_| KeyProblem::NotThisAlgorithm)?;
    match key.try_get_as_bytes() {
        Ok(point) if point.len() == P256_POINT_BYTES && point.first() == Some(&UNCOMPRESSED) => Ok(key),
        Ok(_) | Err(_) => Err(KeyProblem::NotThisAlgorithm),
    }
}

fn read_ed25519(pem: &[u8]) -> Result<DecodingKey, KeyProblem> {
    let key = DecodingKey::from_ed_pem(pem).map_err(|_| KeyProblem::NotThisAlgorithm)?;
    match key.try_get_as_bytes() {
        Ok(bytes) if bytes.len() == ED25519_KEY_BYTES => Ok(key),
        Ok(_) | Err(_) => Err(KeyProblem::NotThisAlgorithm),
    }
}
