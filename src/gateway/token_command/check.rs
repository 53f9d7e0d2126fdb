//! A token explained: its claims, the key that verifies it, the rights that it grants, and the gateway's verdict.

use crate::auth::key::KeyConfig;
use crate::auth::key_set::KeySet;
use crate::auth::permission::Right;
use crate::auth::token::{Judged, TokenFault, Verifier, VerifierConfig};
use crate::gateway::config::auth::AuthSection;
use crate::gateway::config::prepare::verifier;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::fmt::Write as _;

/// The explanation, and whether the gateway would accept the token.
pub(super) struct TokenReport {
    pub(super) text: String,
    pub(super) accepted: bool,
}

/// Explains `token`. Claims are shown even if no key verifies them; the verdict is the gateway's own.
pub(super) fn report(token: &str, auth: &AuthSection, now_unix_ms: u64) -> TokenReport {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
    };
    let (header, claims) = (part(token, 0), part(token, 1));
    for (name, value) in [("alg", &header), ("kid", &header), ("typ", &header)] {
        if let Some(value) = value.as_ref().and_then(|object| object.get(name)) {
            line(name, &shown(value));
        }
    }
    for name in ["sub", "iss", "aud", "nbf", "exp"] {
        if let Some(value) = claims.as_ref().and_then(|object| object.get(name)) {
            line(name, &format!("{}{}", shown(value), when(name, value, now_unix_ms)));
        }
    }
    let key = auth.key_configs().into_iter().enumerate().find(|(_, key)| signed(token, key, now_unix_ms));
    line("key", &key.map_or_else(|| "no configured key".into(), |(place, key)| describe(place, &key)));
    for (pattern, rights) in grants(claims.as_ref()) {
        line("channel", &format!("{pattern}: {rights}"));
    }
    let judged = verifier(auth).map(|verifier| verifier.judge(token, &KeySet::default(), now_unix_ms));
    let (verdict, accepted) = match judged {
        Ok(Judged::Settled(Ok(_))) => ("accepted".to_owned(), true),
        Ok(Judged::Settled(Err(fault @ TokenFault::NotYetValid { .. }))) => {
            (format!("refused with 4425: {}", fault.text()), false)
        }
        Ok(Judged::Settled(Err(fault))) => (format!("refused with 4501: {}", fault.text()), false),
        Ok(Judged::Open { .. }) if auth.service().is_some() => (
            "undecided: no configured key judges it, so the gateway asks the auth service, which this command does not".into(),
            false,
        ),
        Ok(Judged::Open { fault, .. }) => (format!("refused with 4501: {}", fault.text()), false),
        Err(fault) => (format!("undecided: {fault}"), false),
    };
    line("verdict", &verdict);
    TokenReport { text, accepted }
}

/// The header (0) or the payload (1) of a JWT, if it is a JSON object.
fn part(token: &str, place: usize) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(place)?).ok()?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

/// A value on one line, without control characters.
fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// The distance of a time claim from now.
fn when(name: &str, value: &Value, now_unix_ms: u64) -> String {
    let (true, Some(at)) = (matches!(name, "exp" | "nbf"), value.as_f64()) else { return String::new() };
    let distance = at - now_unix_ms as f64 / 1_000.0;
    let ahead = if distance >= 0.0 { "in" } else { "ago:" };
    format!(" ({ahead} {} s)", distance.abs().round())
}

/// True exactly when this key made the signature.
fn signed(token: &str, key: &KeyConfig, now_unix_ms: u64) -> bool {
    let alone = VerifierConfig { keys: vec![key.clone()], ..VerifierConfig::default() };
    let judged = Verifier::new(alone).map(|verifier| verifier.judge(token, &KeySet::default(), now_unix_ms));
    match judged {
        Ok(Judged::Settled(Err(fault))) => !matches!(
            fault,
            TokenFault::BadSignature
                | TokenFault::Missing
                | TokenFault::TooLong
                | TokenFault::UnknownExtension
        ),
        Ok(Judged::Settled(Ok(_))) => true,
        Ok(Judged::Open { .. }) | Err(_) => false,
    }
}

fn describe(place: usize, key: &KeyConfig) -> String {
    let kid = key.kid.as_ref().map(|kid| format!(", kid {kid}")).unwrap_or_default();
    format!("{} of the configuration, {}{kid}", place + 1, key.algorithm.name())
}

/// Each pattern with its rights; a right that the gateway ignores is marked.
fn grants(claims: Option<&Value>) -> Vec<(String, String)> {
    let entries = claims.and_then(|claims| claims.get("channels")).and_then(Value::as_array);
    let right = |name: &Value| {
        let name = shown(name);
        if Right::parse(&name).is_some() { name } else { format!("{name} (unknown, ignored)") }
    };
    let entry = |entry: &Value| {
        let pattern = entry.get("pattern").map_or_else(|| "(no pattern)".into(), shown);
        let rights: Vec<String> =
            entry.get("rights").and_then(Value::as_array).into_iter().flatten().map(right).collect();
        (pattern, if rights.is_empty() { "no rights".into() } else { rights.join(", ") })
    };
    entries.map_or_else(
        || vec![("(no claim channels)".into(), "every channel is forbidden".into())],
        |entries| entries.iter().map(entry).collect(),
    )
}
