//! Tokens as an application's backend makes them, and the keys for a gateway's configuration.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// An HS256 secret of the minimum length.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The `iss` of all tokens.
pub const ISSUER: &str = "https://id.test";

/// The claims of a user with all rights on all channels, for an hour.
pub fn claims(user: &str) -> Value {
    json!({
        "iss": ISSUER,
        "sub": user,
        "exp": unix_s() + 3600,
        "channels": [{"pattern": "*", "rights": ["subscribe", "publish"]}],
    })
}

/// A token signed with [`SECRET`].
pub fn token(claims: &Value) -> String {
    signed(claims, Algorithm::HS256, None, &EncodingKey::from_secret(SECRET.as_bytes()))
}

pub fn token_of(user: &str) -> String {
    token(&claims(user))
}

pub fn signed(claims: &Value, algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(String::from);
    encode(&header, claims, key).expect("claims can be signed")
}

/// A private key of the tests, and its public half for the configuration.
pub fn asymmetric(algorithm: Algorithm) -> (EncodingKey, &'static str) {
    let pair = match algorithm {
        Algorithm::RS256 => (
            EncodingKey::from_rsa_pem(include_bytes!("../../keys/test_only_rsa_one.private.pem")),
            include_str!("../../keys/test_only_rsa_one.public.pem"),
        ),
        Algorithm::ES256 => (
            EncodingKey::from_ec_pem(include_bytes!("../../keys/test_only_p256.private.pem")),
            include_str!("../../keys/test_only_p256.public.pem"),
        ),
        Algorithm::EdDSA => (
            EncodingKey::from_ed_pem(include_bytes!("../../keys/test_only_ed25519.private.pem")),
            include_str!("../../keys/test_only_ed25519.public.pem"),
        ),
        other => panic!("no key for {other:?}"),
    };
    (pair.0.expect("a valid key"), pair.1)
}
