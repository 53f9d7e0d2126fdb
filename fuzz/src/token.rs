//! A token, as a client sends it; and with a header and a payload that the target signs, so that the code after the
//! signature is reached.
//!
//! The input is a token, or a header, a line feed and a payload. Checked properties: nothing is accepted without a signature
//! of the key; an accepted token has the algorithm and the claims that an independent reader finds, and is refused once it
//! has expired or its signature is changed; stricter rules accept nothing more.

use super::reader::Members;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use seawall::auth::key::{Algorithm, KeyConfig, KeyMaterial};
use seawall::auth::token::{Claims, ExpiryRule, TokenFault, Verifier, VerifierConfig};
use std::sync::LazyLock;
use std::time::Duration;

const SECRET: &[u8; 32] = b"32 bytes that sign in the target";
/// The moment of every check, in Unix milliseconds.
const NOW: u64 = 1_700_000_000_000;
const LEEWAY: Duration = Duration::from_secs(30);

static LENIENT: LazyLock<Verifier> = LazyLock::new(|| verifier(VerifierConfig::default()));

static STRICT: LazyLock<Verifier> = LazyLock::new(|| {
    verifier(VerifierConfig {
        audience: Some("chat".into()),
        issuer: Some("https://id.example".into()),
        token_type: Some("at+jwt".into()),
        expiry: ExpiryRule::Required,
        lifetime_max: Some(Duration::from_secs(3_600)),
        ..VerifierConfig::default()
    })
});

fn verifier(config: VerifierConfig) -> Verifier {
    let key = KeyConfig {
        kid: None,
        algorithm: Algorithm::Hs256,
        material: KeyMaterial::Secret(SECRET.to_vec().into()),
    };
    Verifier::new(VerifierConfig { keys: vec![key], leeway: LEEWAY, ..config }).expect("a usable key")
}

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_token(text);
    if let Some((header, payload)) = text.split_once('\n') {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = signature(&signed);
        check_token(&format!("{signed}.{signature}"));
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{signed}.{first}{}", &signature[1..]);
        assert!(LENIENT.verify(&forged, NOW).is_err(), "accepted with another signature");
    }
}

fn signature(signed: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
}

fn check_token(token: &str) {
    let (lenient, strict) = (LENIENT.verify(token, NOW), STRICT.verify(token, NOW));
    match (&lenient, &strict) {
        (Ok(claims), strict) => {
            let body = check_accepted(token, claims);
            if let Ok(more) = strict {
                assert_eq!((&more.user, &more.permissions), (&claims.user, &claims.permissions));
                check_strict(&body, more);
            }
        }
        (Err(fault), strict) => {
            check_fault(*fault);
            assert!(strict.is_err(), "only the stricter rules accept it");
        }
    }
    if let Err(fault) = strict {
        check_fault(fault);
    }
}

fn check_fault(fault: TokenFault) {
    assert!(!fault.text().is_empty() && !fault.word().is_empty());
    assert!(TokenFault::ALL.get(fault.index()).is_some_and(|other| other.word() == fault.word()));
}

/// Reads the token independently, and returns its payload.
fn check_accepted(token: &str, claims: &Claims) -> Members {
    let (signed, made) = token.rsplit_once('.').expect("three parts");
    assert_eq!(made, signature(signed), "accepted without a signature of the key");
    let (header, payload) = signed.split_once('.').expect("three parts");
    let object = |part: &str| {
        let json = URL_SAFE_NO_PAD.decode(part).expect("Base64 was accepted");
        Members::read(&json).expect("a JSON object was accepted")
    };
    let (header, body) = (object(header), object(payload));
    assert_eq!(header.text("alg").as_deref(), Some("HS256"));
    assert!(header.get("crit").is_none(), "an unknown extension");
    assert_eq!(body.text("sub").as_deref(), Some(claims.user.as_str()));
    assert_eq!(body.get("exp").is_some(), claims.expires_unix_ms.is_some());
    if let Some(end) = claims.expires_unix_ms {
        assert!(NOW < end, "accepted after its end");
        assert!(LENIENT.verify(token, end - 1).is_ok(), "refused before its end");
        assert_eq!(LENIENT.verify(token, end), Err(TokenFault::Expired));
    }
    body
}

fn check_strict(body: &Members, claims: &Claims) {
    let is_chat = |json: &str| serde_json::from_str::<String>(json).is_ok_and(|name| name == "chat");
    let names = body.list("aud").unwrap_or_default();
    let is_meant = body.get("aud").is_some_and(is_chat) || names.iter().any(|name| is_chat(name.get()));
    assert!(is_meant, "meant for another audience");
    assert_eq!(body.text("iss").as_deref(), Some("https://id.example"));
    let end = claims.expires_unix_ms.expect("an end is required");
    assert!((NOW + 1..=NOW + 3_600_000).contains(&end), "lives longer than allowed");
}
