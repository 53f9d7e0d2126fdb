//! Tokens, for modes whose members are different users.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

/// The life of a token: longer than any run.
const LIFE_S: u64 = 86_400;

/// A token of the user with this number, with all rights that modes use.
pub(crate) fn token(secret: &str, user: usize) -> String {
    let now_s = unix_s();
    let claims = json!({
        "sub": format!("u{user}"), "iat": now_s, "exp": now_s + LIFE_S,
        "channels": [{ "pattern": "*", "rights": ["subscribe", "publish", "create", "present", "presence"] }],
    });
    // Claims of texts and numbers are always encoded.
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes()))
        .unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "a token names the time at which it was made")]
fn unix_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
