//! The part of each client in a scenario, and the tokens of the users.

use super::client::Kind;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

/// The secret of the gateways' tokens.
pub const SECRET: &str = "ledger-secret-0123456789abcdef0123456789";
/// The life of a token: longer than any run.
const LIFE_S: u64 = 86_400;

/// The part of a client in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    pub kind: Kind,
    /// The number of its user, whom it presents with a token and shows on the roster of its channel. `None`: auth is off.
    pub user: Option<u32>,
    /// True if it watches the roster of its channel.
    pub watches: bool,
}

impl From<Kind> for Role {
    fn from(kind: Kind) -> Role {
        Role { kind, user: None, watches: false }
    }
}

/// The name of a user.
pub fn user_name(user: u32) -> String {
    format!("u{user}")
}

/// The number of the user with this name.
pub fn user_number(name: &str) -> Option<u32> {
    name.strip_prefix('u')?.parse().ok()
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a token names the time at which it was made")]
pub fn unix_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// A token of this user, made now, with all rights that clients use.
pub fn token(user: u32, now_s: u64) -> String {
    let claims = json!({
        "sub": user_name(user), "iat": now_s, "exp": now_s + LIFE_S,
        "channels": [{ "pattern": "*", "rights": ["subscribe", "publish", "create", "present", "presence"] }],
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    // Claims of texts and numbers are always encoded.
    encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_round_trip_and_tokens_have_three_parts() {
        assert_eq!(user_number(&user_name(77)), Some(77));
        assert_eq!(user_number("anonymous"), None);
        assert_eq!(token(1, unix_s()).split('.').count(), 3);
    }
}
