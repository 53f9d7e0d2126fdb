//! A signed token, with the issuer and the audience that the configuration demands.

use super::arguments::{TokenArguments, TokenRefusal};
use crate::auth::key::{Algorithm, KeyConfig, KeyMaterial};
use crate::auth::permission::{Permissions, Right};
use crate::auth::token::{Verifier, VerifierConfig};
use crate::gateway::config::auth::AuthSection;
use crate::gateway::output;
use crate::id::UserName;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use std::path::Path;

/// Ten years: a longer time is a mistake, because a token cannot be taken back.
const TTL_S_MAX: u64 = 3_650 * 86_400;

/// A key to sign with.
struct SigningKey {
    algorithm: Algorithm,
    kid: Option<String>,
    key: EncodingKey,
}

/// Makes the token and a line break.
pub(super) fn token(
    arguments: &TokenArguments,
    user: &str,
    auth: &AuthSection,
    now_s: u64,
) -> Result<String, TokenRefusal> {
    let wrong = TokenRefusal::Wrong;
    if UserName::parse(user).is_err() || user.starts_with('$') {
        let rule = "must be 1 to 128 bytes without control characters, and must not begin with '$'";
        return Err(wrong(format!("--sub {user:?} {rule}")));
    }
    let ttl = seconds(&arguments.ttl).map_err(wrong)?;
    let channels: Vec<Value> =
        arguments.channel.iter().map(|text| grant(text)).collect::<Result<_, _>>().map_err(wrong)?;
    let signer = signing_key(arguments, auth)?;
    let mut claims = json!({"sub": user, "iat": now_s, "exp": now_s + ttl, "channels": channels});
    if let Some(object) = claims.as_object_mut() {
        object.extend(auth.issuer.clone().map(|issuer| ("iss".into(), issuer.into())));
        object.extend(auth.audience.clone().map(|audience| ("aud".into(), audience.into())));
    }
    if channels.is_empty() {
        output::warn("without --channel the token grants no channel");
    }
    let mut header = Header::new(signer.algorithm.library());
    header.kid = signer.kid;
    if let Some(kind) = &auth.token_type {
        header.typ = Some(kind.clone());
    }
    let token = jsonwebtoken::encode(&header, &claims, &signer.key)
        .map_err(|error| TokenRefusal::Failed(format!("cannot sign the token: {error}")))?;
    if arguments.key.is_some() && !is_accepted(&token, auth, now_s) {
        output::warn("no configured key accepts this token; only a key set (auth.jwks_url) could");
    }
    Ok(format!("{token}\n"))
}

/// `room.*=subscribe,publish` as an entry of the claim.
fn grant(text: &str) -> Result<Value, String> {
    let (pattern, rights) = text.split_once('=').ok_or_else(|| {
        format!("--channel {text:?} must be PATTERN=RIGHTS, like 'room.*=subscribe,publish'")
    })?;
    let rights: Vec<&str> = rights.split(',').map(str::trim).collect();
    if let Some(unknown) = rights.iter().find(|name| Right::parse(name).is_none()) {
        let known = Right::ALL.map(Right::name).join(", ");
        return Err(format!("--channel {text:?}: the right {unknown:?} is unknown; rights are {known}"));
    }
    let entry = json!({"pattern": pattern, "rights": rights});
    Permissions::from_claim(&json!([entry]).to_string()).map_err(|_| {
        format!(
            "--channel {text:?}: a pattern is a channel name of at most 128 bytes, or its beginning and one *"
        )
    })?;
    Ok(entry)
}

/// `90s`, `15m`, `1h` or `7d` in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let read = units
        .into_iter()
        .find_map(|(unit, seconds)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(seconds));
    read.filter(|seconds| (1..=TTL_S_MAX).contains(seconds))
        .ok_or_else(|| format!("--ttl {text:?} must be a time like 90s, 15m, 1h or 7d, at most 3650d"))
}

fn signing_key(arguments: &TokenArguments, auth: &AuthSection) -> Result<SigningKey, TokenRefusal> {
    match &arguments.key {
        Some(file) => private_key(file, arguments.kid.as_deref(), auth),
        None => shared_secret(arguments.kid.as_deref(), auth),
    }
}

fn shared_secret(kid: Option<&str>, auth: &AuthSection) -> Result<SigningKey, TokenRefusal> {
    let mut secrets = auth.key_configs().into_iter().filter_map(|key| match key.material {
        KeyMaterial::Secret(secret) if kid.is_none() || key.kid.as_deref() == kid => Some((key.kid, secret)),
        KeyMaterial::Secret(_) | KeyMaterial::PublicPem(_) => None,
    });
    let wrong = |text: &str| Err(TokenRefusal::Wrong(text.into()));
    match (secrets.next(), secrets.next()) {
        (Some((kid, secret)), None) => {
            Ok(SigningKey { algorithm: Algorithm::Hs256, kid, key: EncodingKey::from_secret(&secret) })
        }
        (Some(_), Some(_)) => wrong("several HS256 secrets are configured: choose one with --kid"),
        (None, _) if kid.is_some() => wrong("no configured HS256 secret has this --kid"),
        (None, _) => wrong(
            "no HS256 secret is configured: sign with the issuer's private key (--key FILE), or let the issuer make the token",
        ),
    }
}

/// Reads a private key. Without `--kid` the token names the configured key of this pair, if there is one.
fn private_key(file: &Path, kid: Option<&str>, auth: &AuthSection) -> Result<SigningKey, TokenRefusal> {
    let pem = std::fs::read(file)
        .map_err(|error| TokenRefusal::Wrong(format!("--key: cannot read {}: {error}", file.display())))?;
    type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;
    let kinds: [(Algorithm, Read); 3] = [
        (Algorithm::EdDsa, EncodingKey::from_ed_pem),
        (Algorithm::Es256, EncodingKey::from_ec_pem),
        (Algorithm::Rs256, EncodingKey::from_rsa_pem),
    ];
    let found = kinds.into_iter().find_map(|(algorithm, read)| {
        let key = read(&pem).ok()?;
        // The library reads some keys of another curve and fails only when it signs.
        jsonwebtoken::crypto::sign(b"", &key, algorithm.library()).ok().map(|_| (algorithm, key))
    });
    let (algorithm, key) = found.ok_or_else(|| {
        TokenRefusal::Wrong(format!(
            "--key: {} holds no private key in PEM for RS256, ES256 (P-256) or EdDSA (Ed25519)",
            file.display()
        ))
    })?;
    let kid = kid.map(str::to_owned).or_else(|| {
        let pair = auth.key_configs().into_iter().filter(|each| each.algorithm == algorithm);
        pair.into_iter().find(|each| is_pair(&key, each)).and_then(|each| each.kid)
    });
    Ok(SigningKey { algorithm, kid, key })
}

/// True exactly when the configured key verifies what `key` signs.
fn is_pair(key: &EncodingKey, configured: &KeyConfig) -> bool {
    let header = Header::new(configured.algorithm.library());
    let config = VerifierConfig {
        keys: vec![KeyConfig { kid: None, ..configured.clone() }],
        ..VerifierConfig::default()
    };
    let token = jsonwebtoken::encode(&header, &json!({"sub": "pair"}), key);
    Verifier::new(config).is_ok_and(|verifier| token.is_ok_and(|token| verifier.verify(&token, 0).is_ok()))
}

fn is_accepted(token: &str, auth: &AuthSection, now_s: u64) -> bool {
    let verifier = crate::gateway::config::prepare::verifier(auth);
    verifier.is_ok_and(|verifier| verifier.verify(token, now_s * 1_000).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_a_unit_or_over_its_bound_is_refused() {
        assert_eq!(["90s", "15m", "1h", "7d"].map(seconds), [Ok(90), Ok(900), Ok(3_600), Ok(604_800)]);
        for wrong in ["", "1", "0s", "1w", "-1h", "3651d", "h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn unknown_right_and_bad_pattern_are_named() {
        assert!(grant("room.*=subscribe,publish").is_ok());
        for (wrong, words) in [
            ("room.*", "PATTERN=RIGHTS"),
            (
                "room.*=subscribe,write",
                "the right \"write\" is unknown; rights are subscribe, publish, moderate",
            ),
            ("a*b=publish", "a pattern is a channel name"),
        ] {
            let error = grant(wrong).expect_err(wrong);
            assert!(error.contains(words), "{error}");
        }
    }
}
