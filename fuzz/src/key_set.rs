//! A key set (JWKS), from the address that an operator configured.
//!
//! Checked properties: each entry of the list is used or skipped, and the counts agree; a private or symmetric key is
//! counted as exposed and never used; no key of any set accepts a made-up signature.

use super::reader::Members;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use seawall::auth::key_set::{KeySet, KeySetFault, SET_KEYS_MAX};
use seawall::auth::token::{Judged, Verifier, VerifierConfig};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::LazyLock;

const NOW: u64 = 1_700_000_000_000;

static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::with_auth_service(VerifierConfig::default()).expect("no keys of its own"));

/// One token for each algorithm, with and without the name of a key.
static FORGED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let token = |(algorithm, bytes): (&str, usize), kid: Option<&str>| {
        let header = match kid {
            Some(kid) => json!({"alg": algorithm, "kid": kid}),
            None => json!({"alg": algorithm}),
        };
        let signature = URL_SAFE_NO_PAD.encode(vec![0x5a; bytes]);
        format!("{}.{}.{signature}", part(header), part(json!({"sub": "ann"})))
    };
    let algorithms = [("RS256", 256), ("ES256", 64), ("EdDSA", 64), ("HS256", 32)];
    algorithms.into_iter().flat_map(|each| [token(each, None), token(each, Some("a"))]).collect()
});

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let entries = entries(bytes);
    match KeySet::parse(bytes) {
        Ok(set) => {
            let entries = entries.expect("a list of keys was read");
            assert!((1..=SET_KEYS_MAX).contains(&set.len()), "{} keys", set.len());
            assert_eq!(set.len() + set.passed_over, entries.len());
            let public = entries.iter().filter(|entry| !is_secret(entry)).count();
            assert!(set.len() <= public, "a secret key is used");
            assert!(set.exposed <= set.passed_over);
            for token in FORGED.iter() {
                let judged = VERIFIER.judge(token, &set, NOW);
                assert!(!matches!(judged, Judged::Settled(Ok(_))), "{token} was accepted");
            }
        }
        Err(fault @ (KeySetFault::Shape | KeySetFault::NoUsableKey | KeySetFault::TooManyKeys)) => {
            assert!(!fault.text().is_empty());
        }
    }
}

/// The list of keys, as an independent reader finds it.
fn entries(bytes: &[u8]) -> Option<Vec<Box<RawValue>>> {
    Members::read(bytes)?.list("keys")
}

fn is_secret(entry: &RawValue) -> bool {
    let members = Members::read(entry.get().as_bytes());
    members.is_some_and(|entry| {
        ["k", "d"].iter().any(|name| entry.get(name).is_some_and(|value| value != "null"))
    })
}
