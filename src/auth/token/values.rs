//! The parts of a token as values.

use super::fault::TokenFault;
use crate::id::{TokenId, TokenStamp, UserName};
use crate::limits::INFO_BYTES_MAX;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// The bound on the claim `publishes_per_s`, as on the setting that it lifts.
const PUBLISHES_PER_S_MAX: u32 = 1_000_000;

pub(super) fn string(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

/// Returns whether `aud`, a string or a list of strings (RFC 7519 section 4.1.3), names `audience`.
pub(super) fn names(aud: &RawValue, audience: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Several(Vec<String>),
    }
    match serde_json::from_str(aud.get()) {
        Ok(Audience::One(one)) => one == audience,
        Ok(Audience::Several(several)) => several.iter().any(|one| one == audience),
        Err(_) => false,
    }
}

pub(in crate::auth) fn subject(sub: Option<&RawValue>) -> Result<UserName, TokenFault> {
    let name = string(sub.ok_or(TokenFault::NoSubject)?).ok_or(TokenFault::BadSubject)?;
    // `$` begins the names of authors that are not users.
    if name.starts_with('$') {
        return Err(TokenFault::BadSubject);
    }
    UserName::parse(&name).map_err(|_| TokenFault::BadSubject)
}

pub(super) fn rate(per_s: &RawValue) -> Result<u32, TokenFault> {
    per_s.get().parse().ok().filter(|per_s| *per_s <= PUBLISHES_PER_S_MAX).ok_or(TokenFault::BadRate)
}

/// Distinguishes `null` from an absent claim: an `exp` of `null` must not mean forever.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// The claim `info`. One that is longer is not an error: tokens may have had such a claim for another purpose.
pub(super) fn info(json: &RawValue) -> Option<Arc<str>> {
    (json.get().len() <= INFO_BYTES_MAX && json.get() != "null").then(|| Arc::from(json.get()))
}

/// Converts a `NumericDate` (RFC 7519 section 2: seconds, possibly with a fraction) to milliseconds. A date before
/// 1970 becomes 0 and one beyond the range becomes the maximum, because `as` saturates.
pub(super) fn milliseconds(date: &RawValue) -> Result<u64, TokenFault> {
    let seconds: f64 = serde_json::from_str(date.get()).map_err(|_| TokenFault::BadTime)?;
    Ok((seconds * 1_000.0).round() as u64)
}

pub(super) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(in crate::auth) fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

/// Reads a JSON object. The library would accept a list as an object, value by value.
pub(in crate::auth) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, TokenFault> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(TokenFault::Malformed);
    }
    serde_json::from_slice(json).map_err(|_| TokenFault::Malformed)
}

/// The facts by which a token can be revoked. An `iat` or `jti` of another type counts as none.
pub(in crate::auth) fn stamp(iat: Option<&RawValue>, jti: Option<&RawValue>) -> TokenStamp {
    let issued_ms = iat.and_then(|date| milliseconds(date).ok()).unwrap_or(0);
    TokenStamp {
        issued_s: u32::try_from(issued_ms / 1_000).unwrap_or(u32::MAX),
        jti: jti.and_then(string).map_or(TokenId::NONE, |jti| TokenId::of(&jti)),
    }
}
