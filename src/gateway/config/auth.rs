//! `[auth]` and `[[auth.keys]]`: the keys and services that tokens are checked with.
//!
//! A key that is read here has exactly one material of the right kind, which its algorithm can be used with, and no secret
//! gets into an error.

use super::error::ConfigFault;
use super::origin::ValueOrigin;
use super::raw::{RawValue, TableReader, one_of};
use super::secret_file;
use super::url::Url;
use super::value::{SECRET_BYTES_MAX, Secret};
use crate::auth::key::{self, Algorithm, KeyConfig, KeyMaterial, SECRET_BYTES_MIN};
use crate::auth::token::ExpiryRule;
use crate::auth::token_pattern::TokenPattern;
use std::path::PathBuf;
use std::time::Duration;

/// A PEM file of one public key is under 1 KiB.
const KEY_FILE_BYTES_MAX: usize = 64 << 10;
/// Settings that turn auth on, in addition to keys.
pub(super) const INTROSPECTION_URL: &str = "auth.introspection_url";
pub(super) const JWKS_URL: &str = "auth.jwks_url";

/// The fields of a key, for the reference.
pub const FIELDS: [(&str, &str); 6] = [
    (
        "algorithm",
        "`HS256`, `RS256`, `ES256` or `EdDSA`. Required, because a token must not choose its algorithm.",
    ),
    ("kid", "The name of the key. A token that names a key is checked with that key only."),
    ("secret", "HS256: the secret, 32 to 4096 bytes."),
    (
        "secret_file",
        "HS256: a file that holds the secret. A line break at its end and a byte order mark are not part of the secret.",
    ),
    ("public_key", "RS256, ES256, EdDSA: the public key as PEM."),
    ("public_key_file", "RS256, ES256, EdDSA: a PEM file that holds the public key."),
];

/// `[auth]`. Auth is on exactly when there is a key, an introspection URL or a key set URL.
#[derive(Clone, Debug)]
pub struct AuthSection {
    /// An HS256 key in addition to `keys`.
    pub secret: Option<Secret>,
    /// `[[auth.keys]]`; no two have the same `kid`.
    pub keys: Vec<AuthKey>,
    /// Must be contained in `aud`; `None`: not checked.
    pub audience: Option<String>,
    /// Must equal `iss`; `None`: not checked.
    pub issuer: Option<String>,
    /// Allowed clock difference when `exp` and `nbf` are checked.
    pub leeway: Duration,
    /// The `typ` of tokens that are signed; `None`: not checked.
    pub token_type: Option<String>,
    /// The rule for tokens without `exp`.
    pub expiry: ExpiryRule,
    /// The longest lifetime of a token; zero: as long as `exp` says.
    pub lifetime_max: Duration,
    /// Timeout of one call to the auth service.
    pub timeout: Duration,
    /// Connections that may wait for the auth service at once.
    pub waiting: u32,
    pub introspection: IntrospectionConfig,
    pub jwks: JwksConfig,
}

/// Token introspection (RFC 7662), for tokens that no key matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionConfig {
    /// `None`: tokens are checked with keys only.
    pub url: Option<Url>,
    pub client_id: Option<String>,
    /// Sent with `client_id` as HTTP Basic, alone as a bearer token.
    pub client_secret: Option<Secret>,
    /// The member that names the user; `None`: `sub`.
    pub user: Option<String>,
    /// The member that holds the user's rights; `None`: `channels`.
    pub channels: Option<String>,
    /// Positive results that are cached.
    pub cache_entries: u32,
    /// Approximate bytes of all positive results.
    pub cache_bytes: u64,
    /// How long a positive result is used without asking again.
    pub cache: Duration,
    /// How long a positive result is used after that while the service is down.
    pub cache_stale: Duration,
    /// How long a negative result is cached.
    pub cache_refused: Duration,
    /// Time between two checks of an open session's token; zero: it is not checked again.
    pub recheck: Duration,
    /// The form of the service's tokens; `None`: any.
    pub token_pattern: Option<TokenPattern>,
}

/// The key set that the issuer publishes (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksConfig {
    /// `None`: only configured keys are used.
    pub url: Option<Url>,
    /// Time between two fetches.
    pub refresh: Duration,
    /// Least time between two fetches that an unknown `kid` causes.
    pub pause: Duration,
}

impl Default for AuthSection {
    fn default() -> AuthSection {
        AuthSection {
            secret: None,
            keys: Vec::new(),
            audience: None,
            issuer: None,
            leeway: Duration::from_secs(60),
            token_type: None,
            expiry: ExpiryRule::Optional,
            lifetime_max: Duration::ZERO,
            timeout: Duration::from_secs(2),
            waiting: 1_024,
            introspection: IntrospectionConfig {
                url: None,
                client_id: None,
                client_secret: None,
                user: None,
                channels: None,
                cache_entries: 10_000,
                cache_bytes: 16 << 20,
                cache: Duration::from_secs(60),
                cache_stale: Duration::from_secs(900),
                cache_refused: Duration::from_secs(5),
                recheck: Duration::from_secs(300),
                token_pattern: None,
            },
            jwks: JwksConfig { url: None, refresh: Duration::from_secs(300), pause: Duration::from_secs(5) },
        }
    }
}

impl AuthSection {
    /// True exactly when clients must present a token.
    pub fn is_on(&self) -> bool {
        self.secret.is_some() || !self.keys.is_empty() || self.service().is_some()
    }

    /// The URL of the auth service, and the setting that holds it.
    pub fn service(&self) -> Option<(&'static str, &Url)> {
        let introspection = self.introspection.url.as_ref().map(|url| (INTROSPECTION_URL, url));
        introspection.or(self.jwks.url.as_ref().map(|url| (JWKS_URL, url)))
    }

    /// The keys as a verifier takes them: `[[auth.keys]]` in order, then `auth.secret`.
    pub fn key_configs(&self) -> Vec<KeyConfig> {
        let material = |secret: &Secret| KeyMaterial::Secret(secret.bytes().to_vec().into());
        let shared = self.secret.as_ref().map(material);
        let shared = shared.map(|material| KeyConfig { kid: None, algorithm: Algorithm::Hs256, material });
        self.keys.iter().map(|key| key.config.clone()).chain(shared).collect()
    }
}

/// One table of `[[auth.keys]]`.
#[derive(Clone, Debug)]
pub struct AuthKey {
    pub config: KeyConfig,
    /// The file that holds the key; `None`: its table does.
    pub file: Option<PathBuf>,
    pub origin: ValueOrigin,
}

/// Reads one table. `None` if it has a mistake, which is then reported.
pub(super) fn read_key(reader: &mut TableReader<'_>, earlier: &[AuthKey]) -> Option<AuthKey> {
    let algorithm = read_algorithm(reader);
    let kid = reader.text("kid");
    reader.unknown_fields(&FIELDS);
    let algorithm = algorithm?;
    let (material, file) = read_material(reader, algorithm)?;
    if let Some(kid) = &kid
        && earlier.iter().any(|key| key.config.kid.as_ref() == Some(kid))
    {
        reader.fault(reader.origin_of("kid"), "kid", ConfigFault::SameKid { kid: kid.clone() });
    }
    let origin = reader.origin.clone();
    (reader.problems == 0).then_some(AuthKey { config: KeyConfig { kid, algorithm, material }, file, origin })
}

fn read_algorithm(reader: &mut TableReader<'_>) -> Option<Algorithm> {
    let expected = one_of(&Algorithm::ALL.map(Algorithm::name));
    if reader.has("algorithm") {
        return reader.take("algorithm", &expected, |raw| Algorithm::parse(raw.text()?));
    }
    reader.fault(reader.origin.clone(), "algorithm", ConfigFault::Missing { expected });
    None
}

fn read_material(
    reader: &mut TableReader<'_>,
    algorithm: Algorithm,
) -> Option<(KeyMaterial, Option<PathBuf>)> {
    let fields = ["secret", "secret_file", "public_key", "public_key_file"];
    let found: Vec<&'static str> = fields.into_iter().filter(|field| reader.has(field)).collect();
    let symmetric = algorithm == Algorithm::Hs256;
    let field = match found.as_slice() {
        [field] if field.starts_with("secret") == symmetric => *field,
        _ => {
            let expected = match symmetric {
                true => "one of secret and secret_file, because the algorithm is HS256",
                false => "one of public_key and public_key_file, because the algorithm is not HS256",
            };
            reader.fault(reader.origin.clone(), "", ConfigFault::Material { expected, found });
            return None;
        }
    };
    let given = reader.text(field)?;
    let file = field.ends_with("_file").then(|| PathBuf::from(&given));
    let text = match &file {
        Some(path) => secret_file::read(path, KEY_FILE_BYTES_MAX).map_err(ConfigFault::unreadable(path)),
        None => Ok(given.into()),
    };
    let material = text.and_then(|text| if symmetric { secret(&text) } else { public(&text) });
    let material = material.and_then(|material| match key::check(algorithm, &material) {
        Ok(()) => Ok(material),
        Err(problem) => Err(ConfigFault::UnusableKey(problem)),
    });
    let origin = reader.origin_of(field);
    material.map_err(|fault| reader.fault(origin, field, fault)).ok().map(|material| (material, file))
}

fn secret(text: &str) -> Result<KeyMaterial, ConfigFault> {
    if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&text.len()) {
        return Ok(KeyMaterial::Secret(text.as_bytes().to_vec().into()));
    }
    let expected = format!("{SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes");
    Err(ConfigFault::NotAccepted { value: RawValue::Text(text.into()).hidden(), expected })
}

fn public(text: &str) -> Result<KeyMaterial, ConfigFault> {
    if text.contains("PRIVATE KEY-----") {
        return Err(ConfigFault::PrivateKey);
    }
    if text.contains("-----BEGIN ") && text.contains("PUBLIC KEY-----") {
        return Ok(KeyMaterial::PublicPem(text.into()));
    }
    let expected = "a public key in PEM, from -----BEGIN PUBLIC KEY----- to its end".into();
    Err(ConfigFault::NotAccepted { value: RawValue::Text(text.into()).hidden(), expected })
}
