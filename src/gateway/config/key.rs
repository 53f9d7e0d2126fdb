//! `[[auth.keys]]`: the keys whose tokens are believed.
//!
//! A key is read here and understood in `auth::key`: this file sees to it that exactly one material of the right kind
//! is there, that a file can be read, that what it holds can be used, and that no secret gets into a message.

use super::Draft;
use super::error::Fault;
use super::file::{self, Lines};
use super::nearest::nearest;
use super::parse::Raw;
use super::place::one_of;
use super::source::{self, Origin};
use crate::auth;
use crate::auth::key::{Algorithm, KeyConfig};
use crate::worker::admin::is_bearer;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// RFC 7518 section 3.2: an HS256 key has at least the hash's 256 bits.
pub(super) const SECRET_BYTES_MIN: usize = 32;
/// No scheme makes longer ones; a larger file is the wrong file.
pub(super) const SECRET_BYTES_MAX: usize = 4_096;
/// A PEM file of one public key is under 1 KiB.
const KEY_FILE_BYTES_MAX: usize = 64 << 10;

/// The keys of one table, and what each means.
pub const FIELDS: [(&str, &str); 6] = [
    ("algorithm", "`HS256`, `RS256`, `ES256` or `EdDSA`. Required: a token cannot choose it."),
    ("kid", "Name of the key. A token that names one is checked with that key only."),
    ("secret", "HS256: the secret itself, 32 bytes or more."),
    ("secret_file", "HS256: a file that holds it; a line break at its end is not part of it."),
    ("public_key", "RS256, ES256, EdDSA: the public key as PEM."),
    ("public_key_file", "RS256, ES256, EdDSA: a PEM file that holds it."),
];

/// A key.
#[derive(Clone, Debug)]
pub struct AuthKey {
    /// Its name, if it has one; no two keys have the same.
    pub kid: Option<String>,
    /// The one algorithm it is used with.
    pub algorithm: AuthAlgorithm,
    /// The key itself. A secret exactly when the algorithm is HS256.
    pub material: KeyMaterial,
    /// How it was given.
    pub source: KeySource,
    /// Where it was given.
    pub origin: Origin,
}

/// Signature algorithms (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthAlgorithm {
    /// HMAC with SHA-256: who checks can also sign.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// What signatures are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// Shared with who signs.
    Secret(Secret),
    /// A public key, PEM.
    PublicPem(String),
}

/// How a key was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// As `auth.secret`.
    Shorthand,
    /// In its table.
    Inline,
    /// In a file of its own.
    File(PathBuf),
}

/// True exactly when both are the same keys in the same order, on whatever lines of a file.
pub fn same_keys<'a>(
    one: impl Iterator<Item = &'a AuthKey>,
    other: impl Iterator<Item = &'a AuthKey>,
) -> bool {
    let parts = |key: &'a AuthKey| (&key.kid, key.algorithm, &key.material);
    one.map(parts).eq(other.map(parts))
}

/// Bytes that no log, message or listing shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// One that is not too long.
    pub(super) fn read(text: &str) -> Option<Secret> {
        (text.len() <= SECRET_BYTES_MAX).then(|| Secret(text.as_bytes().to_vec()))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A bearer token (RFC 6750 section 2.1); `None` when it is too short, too long, or of other characters.
    pub(super) fn bearer(text: &str) -> Option<Secret> {
        is_bearer(text.as_bytes()).then(|| Secret(text.as_bytes().to_vec()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl AuthAlgorithm {
    const ALL: [AuthAlgorithm; 4] =
        [AuthAlgorithm::Hs256, AuthAlgorithm::Rs256, AuthAlgorithm::Es256, AuthAlgorithm::EdDsa];

    /// Its name in a token's header (`alg`).
    pub const fn name(self) -> &'static str {
        match self {
            AuthAlgorithm::Hs256 => "HS256",
            AuthAlgorithm::Rs256 => "RS256",
            AuthAlgorithm::Es256 => "ES256",
            AuthAlgorithm::EdDsa => "EdDSA",
        }
    }

    fn expected() -> String {
        one_of(&AuthAlgorithm::ALL.map(AuthAlgorithm::name))
    }

    /// The same to who checks signatures.
    const fn verified(self) -> Algorithm {
        match self {
            AuthAlgorithm::Hs256 => Algorithm::Hs256,
            AuthAlgorithm::Rs256 => Algorithm::Rs256,
            AuthAlgorithm::Es256 => Algorithm::Es256,
            AuthAlgorithm::EdDsa => Algorithm::EdDsa,
        }
    }

    /// Which material it takes.
    fn takes(self) -> &'static str {
        match self {
            AuthAlgorithm::Hs256 => "one of secret and secret_file, since the algorithm is HS256",
            AuthAlgorithm::Rs256 | AuthAlgorithm::Es256 | AuthAlgorithm::EdDsa => {
                "one of public_key and public_key_file, since the algorithm is not HS256"
            }
        }
    }
}

impl KeyMaterial {
    fn verified(&self) -> auth::key::KeyMaterial {
        match self {
            KeyMaterial::Secret(secret) => auth::key::KeyMaterial::Secret(secret.bytes().to_vec()),
            KeyMaterial::PublicPem(pem) => auth::key::KeyMaterial::PublicPem(pem.clone()),
        }
    }
}

impl AuthKey {
    /// As who checks signatures takes it.
    pub fn verified(&self) -> KeyConfig {
        KeyConfig {
            kid: self.kid.clone(),
            algorithm: self.algorithm.verified(),
            material: self.material.verified(),
        }
    }

    /// The key that `auth.secret` is short for; `None` when the secret is too short or too long.
    pub(super) fn shared(secret: &str, origin: &Origin) -> Option<AuthKey> {
        let fits = (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len());
        fits.then(|| AuthKey {
            kid: None,
            algorithm: AuthAlgorithm::Hs256,
            material: KeyMaterial::Secret(Secret(secret.as_bytes().to_vec())),
            source: KeySource::Shorthand,
            origin: origin.clone(),
        })
    }
}

/// Reads one `[[auth.keys]]` table.
pub(super) fn read(draft: &mut Draft, table: &DeTable<'_>, lines: &Lines<'_>, start: usize) {
    let mut reading = Reading { draft, lines, origin: lines.origin(start), problems: 0 };
    let algorithm = reading.algorithm(table);
    let kid = reading.text(table, "kid");
    reading.unknown_fields(table);
    let Some(algorithm) = algorithm else { return };
    let Some((material, source)) = reading.material(table, algorithm) else { return };
    let Reading { draft, origin, problems, .. } = reading;
    if let Some((kid, origin)) = &kid
        && draft.config.auth.keys.iter().any(|key| key.kid.as_ref() == Some(kid))
    {
        draft.report(origin.clone(), "auth.keys.kid", Fault::SameKid { kid: kid.clone() });
    } else if problems == 0 {
        let kid = kid.map(|(kid, _)| kid);
        draft.config.auth.keys.push(AuthKey { kid, algorithm, material, source, origin });
    }
}

/// One table while it is read.
struct Reading<'a> {
    draft: &'a mut Draft,
    lines: &'a Lines<'a>,
    /// The table's own line.
    origin: Origin,
    problems: usize,
}

impl Reading<'_> {
    /// `field` is empty when the fault is the table's as a whole.
    fn report(&mut self, origin: Origin, field: &str, fault: Fault) {
        self.problems += 1;
        self.draft.refused.insert("auth.keys");
        let key = if field.is_empty() { "auth.keys".to_owned() } else { format!("auth.keys.{field}") };
        self.draft.report(origin, key, fault);
    }

    fn unknown_fields(&mut self, table: &DeTable<'_>) {
        for (name, _) in table {
            let text: &str = name.get_ref();
            if FIELDS.iter().all(|(field, _)| *field != text) {
                let nearest = nearest(text, FIELDS.iter().map(|(field, _)| *field)).map(str::to_owned);
                let origin = self.lines.origin(name.span().start);
                self.report(origin, text, Fault::Unknown { nearest });
            }
        }
    }

    /// A text field, and where it stands.
    fn text(&mut self, table: &DeTable<'_>, field: &'static str) -> Option<(String, Origin)> {
        let value = table.get(field)?;
        let origin = self.lines.origin(value.span().start);
        let raw = file::raw(value.get_ref());
        match raw.text() {
            Some(text) if !text.is_empty() => Some((text.to_owned(), origin)),
            _ => {
                let value = if field == "secret" { raw.hidden() } else { raw.shown() };
                self.report(origin, field, Fault::NotAccepted { value, expected: "text, not empty".into() });
                None
            }
        }
    }

    fn algorithm(&mut self, table: &DeTable<'_>) -> Option<AuthAlgorithm> {
        if !table.contains_key("algorithm") {
            let fault = Fault::Missing { expected: AuthAlgorithm::expected() };
            self.report(self.origin.clone(), "algorithm", fault);
            return None;
        }
        let (name, origin) = self.text(table, "algorithm")?;
        let known = AuthAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        if known.is_none() {
            let value = Raw::Text(name).shown();
            self.report(
                origin,
                "algorithm",
                Fault::NotAccepted { value, expected: AuthAlgorithm::expected() },
            );
        }
        known
    }

    fn material(
        &mut self,
        table: &DeTable<'_>,
        algorithm: AuthAlgorithm,
    ) -> Option<(KeyMaterial, KeySource)> {
        let fields = ["secret", "secret_file", "public_key", "public_key_file"];
        let found: Vec<&'static str> =
            fields.into_iter().filter(|field| table.contains_key(*field)).collect();
        let symmetric = algorithm == AuthAlgorithm::Hs256;
        let field = match found.as_slice() {
            [field] if field.starts_with("secret") == symmetric => *field,
            _ => {
                self.report(self.origin.clone(), "", Fault::Material { expected: algorithm.takes(), found });
                return None;
            }
        };
        let (given, origin) = self.text(table, field)?;
        let (text, source) = if field.ends_with("_file") {
            (self.file(Path::new(&given), &origin, field)?, KeySource::File(given.into()))
        } else {
            (given, KeySource::Inline)
        };
        let material = if symmetric { secret(text) } else { public(text) };
        let material = material.and_then(|material| usable(algorithm, material));
        material.map_err(|fault| self.report(origin, field, fault)).ok().map(|material| (material, source))
    }

    /// The content of a file, less the line break that editors and `echo` put at its end.
    fn file(&mut self, path: &Path, origin: &Origin, field: &'static str) -> Option<String> {
        match source::read_text(path, KEY_FILE_BYTES_MAX) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.report(origin.clone(), field, Fault::Unreadable { path: path.to_owned(), error });
                None
            }
        }
    }
}

fn secret(text: String) -> Result<KeyMaterial, Fault> {
    if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&text.len()) {
        return Ok(KeyMaterial::Secret(Secret(text.into_bytes())));
    }
    let expected = format!("{SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes");
    Err(Fault::NotAccepted { value: Raw::Text(text).hidden(), expected })
}

fn public(text: String) -> Result<KeyMaterial, Fault> {
    if text.contains("PRIVATE KEY-----") {
        return Err(Fault::PrivateKey);
    }
    if text.contains("-----BEGIN ") && text.contains("PUBLIC KEY-----") {
        return Ok(KeyMaterial::PublicPem(text));
    }
    let expected = "a public key in PEM, from -----BEGIN PUBLIC KEY----- to its end".into();
    Err(Fault::NotAccepted { value: Raw::Text(text).hidden(), expected })
}

fn usable(algorithm: AuthAlgorithm, material: KeyMaterial) -> Result<KeyMaterial, Fault> {
    match auth::key::check(algorithm.verified(), &material.verified()) {
        Ok(()) => Ok(material),
        Err(problem) => Err(Fault::UnusableKey(problem)),
    }
}
