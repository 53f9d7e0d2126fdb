//! The configured keys that verify tokens.
//!
//! Each key is bound to one algorithm, and a token is only checked with keys of the algorithm it names. This prevents
//! the oldest attack on JWTs: using a public key, which anyone has, as an HMAC secret.

use super::trust::TrustMark;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use std::fmt;
use zeroize::Zeroizing;

/// The bound on keys: enough for a few issuers, and for an old and a new key during a rotation.
pub const KEYS_MAX: usize = 8;
/// The most keys that a token is tried with if it names none of them. Each costs an attacker nothing and the gateway a
/// signature check.
pub const TRIES_MAX: usize = 4;
/// The minimum length of an HS256 secret (RFC 7518 section 3.2: the length of the hash).
pub const SECRET_BYTES_MIN: usize = 32;
/// The minimum number of bits of an RSA modulus (RFC 7518 section 3.3).
pub const RSA_BITS_MIN: usize = 2_048;
/// The maximum number of bits of an RSA modulus, because a larger one makes verification slower.
pub const RSA_BITS_MAX: usize = 8_192;
/// The length of an uncompressed P-256 point (SEC 1 section 2.3.3), and its first byte.
pub(super) const P256_POINT_BYTES: usize = 65;
/// The longest `kid` that is shown, in characters.
pub(super) const KID_CHARACTERS_MAX: usize = 64;
const UNCOMPRESSED: u8 = 4;
pub(super) const ED25519_KEY_BYTES: usize = 32;

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256. The issuer and the gateway share a secret.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Algorithm; 4] = [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

    /// The name in a token's header and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// Parses the exact name of an algorithm. `none` is not one.
    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(crate) const fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// The material of a key. Its `Debug` form shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// The bytes of an HS256 secret.
    Secret(Zeroizing<Vec<u8>>),
    /// A public key in PEM: `PUBLIC KEY` (as written by openssl), or `RSA PUBLIC KEY` for RS256.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConfig {
    /// The `kid` of the tokens that this key verifies. `None`: tokens without `kid`, and tokens whose `kid` no key
    /// has.
    pub kid: Option<String>,
    /// The only algorithm that the key is used with.
    pub algorithm: Algorithm,
    pub material: KeyMaterial,
}

impl KeyConfig {
    /// Identifies the key by its algorithm and material. The `kid` may change.
    pub fn mark(&self) -> TrustMark {
        let material = match &self.material {
            KeyMaterial::Secret(secret) => secret.as_slice(),
            KeyMaterial::PublicPem(pem) => pem.as_bytes(),
        };
        TrustMark::of_parts(&[self.algorithm.name().as_bytes(), b" ", material])
    }
}

/// The reason why a key is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    /// The algorithm requires a secret but the key is a PEM, or the other way round.
    WrongMaterial,
    /// The secret is shorter than [`SECRET_BYTES_MIN`].
    SecretTooShort,
    /// The secret is a PEM file. If that is a public key, anyone could sign with it.
    SecretIsPem,
    /// The key is private; a public key is required.
    Private,
    /// The text is no PEM of a public key of this algorithm.
    NotThisAlgorithm,
    /// The RSA modulus is smaller than [`RSA_BITS_MIN`] or larger than [`RSA_BITS_MAX`].
    RsaBits,
    /// An earlier key has the same `kid`.
    SameKid,
}

impl KeyProblem {
    /// The text for the operator: the bound, and what to do.
    pub const fn text(self) -> &'static str {
        match self {
            KeyProblem::WrongMaterial => {
                "HS256 requires a secret; RS256, ES256 and EdDSA require a public key in PEM"
            }
            KeyProblem::SecretTooShort => {
                "the secret has fewer than 32 bytes; make one with `openssl rand -hex 32`"
            }
            KeyProblem::SecretIsPem => {
                "the secret is a PEM file; if it is a public key, set its algorithm to RS256, ES256 or EdDSA"
            }
            KeyProblem::Private => {
                "this is a private key; use the public key (`openssl pkey -in KEY -pubout`)"
            }
            KeyProblem::NotThisAlgorithm => {
                "not a public key of this algorithm in PEM (`-----BEGIN PUBLIC KEY-----`; ES256 requires the curve P-256)"
            }
            KeyProblem::RsaBits => "an RSA key must have 2048 to 8192 bits",
            KeyProblem::SameKid => "an earlier key has the same kid; use a different kid for each key",
        }
    }
}

/// The reason why a set of keys is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// There are no keys, so no token could be accepted.
    NoKeys,
    /// There are more than [`KEYS_MAX`] keys.
    TooManyKeys(usize),
    /// A key is rejected.
    Key {
        /// The index of the key, from 0.
        index: usize,
        /// The `kid` of the key, if it has one.
        kid: Option<String>,
        problem: KeyProblem,
    },
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFault::NoKeys => f.write_str("no key is configured, so no token could be accepted"),
            KeyFault::TooManyKeys(count) => {
                write!(f, "{count} keys are configured; the maximum is {KEYS_MAX}")
            }
            KeyFault::Key { index, kid: Some(kid), problem } => {
                write!(f, "key {} (kid {kid:?}): {}", index + 1, problem.text())
            }
            KeyFault::Key { index, kid: None, problem } => write!(f, "key {}: {}", index + 1, problem.text()),
        }
    }
}

impl std::error::Error for KeyFault {}

/// A key that is ready to verify signatures.
pub(super) struct VerifyingKey {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// `None`: the key is one of a key set.
    pub(super) mark: Option<TrustMark>,
}

/// The difference between two lists of keys: a `kid` each, separated by commas, and `-` for a key without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChanges {
    pub added: String,
    /// A key that was replaced under its `kid` is in both lists.
    pub removed: String,
}

impl KeyChanges {
    /// `None` if both have the same keys.
    pub(super) fn between(before: &[VerifyingKey], now: &[VerifyingKey]) -> Option<KeyChanges> {
        let only = |of: &[VerifyingKey], other: &[VerifyingKey]| {
            let missing = of.iter().filter(|key| !other.iter().any(|other| other.is_same(key)));
            missing.map(VerifyingKey::shown).collect::<Vec<String>>().join(",")
        };
        let changes = KeyChanges { added: only(now, before), removed: only(before, now) };
        (!changes.added.is_empty() || !changes.removed.is_empty()).then_some(changes)
    }
}

impl VerifyingKey {
    fn is_same(&self, other: &VerifyingKey) -> bool {
        let bytes = |key: &VerifyingKey| key.key.try_get_as_bytes().map(<[u8]>::to_vec).ok();
        (&self.kid, self.algorithm, self.mark) == (&other.kid, other.algorithm, other.mark)
            && bytes(self) == bytes(other)
    }

    fn shown(&self) -> String {
        self.kid.as_ref().map_or_else(|| "-".into(), |kid| kid.chars().take(KID_CHARACTERS_MAX).collect())
    }

    /// Returns whether `signature`, in base64url, was made with this key over `message`.
    pub(super) fn signed(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, self.algorithm.library())
            .unwrap_or(false)
    }
}

/// Checks that a key can be used with this algorithm.
///
/// # Errors
///
/// The reason why it cannot.
pub fn check(algorithm: Algorithm, material: &KeyMaterial) -> Result<(), KeyProblem> {
    read(algorithm, material).map(drop)
}

/// Checks and prepares all keys.
pub(super) fn prepare(configs: Vec<KeyConfig>) -> Result<Vec<VerifyingKey>, KeyFault> {
    if configs.len() > KEYS_MAX {
        return Err(KeyFault::TooManyKeys(configs.len()));
    }
    let mut keys: Vec<VerifyingKey> = Vec::with_capacity(configs.len());
    for (index, config) in configs.into_iter().enumerate() {
        let mark = Some(config.mark());
        let KeyConfig { kid, algorithm, material } = config;
        let repeated = kid.is_some() && keys.iter().any(|earlier| earlier.kid == kid);
        let key = if repeated { Err(KeyProblem::SameKid) } else { read(algorithm, &material) };
        match key {
            Ok(key) => keys.push(VerifyingKey { kid, algorithm, key, mark }),
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

/// The library also accepts private keys and certificates, and uses the first thing that it finds in them.
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
