//! The answer of an auth service to a token introspection.
//!
//! Checked properties: only `"active": true` admits a token; its user is the configured member; both readers of the answer
//! agree on whether there is one.

use super::reader::Members;
use seawall::auth::introspection::{self, ClaimNames, NoAnswer};
use seawall::auth::token::{TokenFault, Verifier, VerifierConfig};
use std::sync::LazyLock;

const NOW: u64 = 1_700_000_000_000;

static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::with_auth_service(VerifierConfig::default()).expect("no keys of its own"));

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let others = ClaimNames { user: "username".into(), channels: "chat".into() };
    for names in [ClaimNames::default(), others] {
        check_with(bytes, &names);
    }
}

fn check_with(bytes: &[u8], names: &ClaimNames) {
    let active = introspection::is_active(bytes);
    match introspection::read(bytes, names, &VERIFIER, NOW) {
        Ok(Ok(claims)) => {
            let body = Members::read(bytes).expect("a JSON object was read");
            assert_eq!(body.get("active"), Some("true"));
            assert_eq!(body.text(&names.user).as_deref(), Some(claims.user.as_str()));
            assert!(claims.expires_unix_ms.is_none_or(|end| NOW < end), "accepted after its end");
            assert_eq!(active, Ok(true));
        }
        Ok(Err(fault)) => {
            assert!(!fault.text().is_empty());
            assert_eq!(active, Ok(fault != TokenFault::Inactive));
        }
        Err(NoAnswer::BadTime) => assert_eq!(active, Ok(true)),
        Err(fault @ (NoAnswer::NotJson | NoAnswer::NoActive)) => assert_eq!(active, Err(fault)),
    }
}
