//! The answer of an auth service to a token introspection (RFC 7662 section 2.2).

use super::token::{Claims, RawClaims, TokenFault, Verifier};
use serde_json::value::RawValue;
use std::collections::HashMap;

/// The members of an answer that name the user and the permissions. All others have their registered names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// The member used instead of `sub`.
    pub user: String,
    /// The member used instead of `channels`.
    pub channels: String,
}

impl Default for ClaimNames {
    fn default() -> ClaimNames {
        ClaimNames { user: "sub".into(), channels: "channels".into() }
    }
}

/// The reason why a body is unusable. The fault is in the service, not in the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The body is not a JSON object.
    NotJson,
    /// `active` is missing or neither `true` nor `false`.
    NoActive,
    /// `exp` or `nbf` is not a number.
    BadTime,
}

impl NoAnswer {
    /// The text for the operator.
    pub const fn text(self) -> &'static str {
        match self {
            NoAnswer::NotJson => "the answer is not a JSON object",
            NoAnswer::NoActive => "the answer has no field active with the value true or false",
            NoAnswer::BadTime => "exp or nbf in the answer is not a number",
        }
    }
}

fn members(body: &[u8]) -> Result<HashMap<String, &RawValue>, NoAnswer> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(NoAnswer::NotJson);
    }
    serde_json::from_slice(body).map_err(|_| NoAnswer::NotJson)
}

fn active(members: &HashMap<String, &RawValue>) -> Result<bool, NoAnswer> {
    match members.get("active").map(|json| json.get()) {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) | None => Err(NoAnswer::NoActive),
    }
}

/// Returns whether the service says that a token is active, ignoring all other members.
pub fn is_active(body: &[u8]) -> Result<bool, NoAnswer> {
    active(&members(body)?)
}

/// Reads the answer about a token at `now_unix_ms`. An active token must also be meant for this gateway and valid
/// now, by the same rules as a signed one.
pub fn read(
    body: &[u8],
    names: &ClaimNames,
    verifier: &Verifier,
    now_unix_ms: u64,
) -> Result<Result<Claims, TokenFault>, NoAnswer> {
    let members = members(body)?;
    if !active(&members)? {
        return Ok(Err(TokenFault::Inactive));
    }
    let member = |name: &str| members.get(name).copied();
    let body = RawClaims {
        sub: member(&names.user),
        exp: member("exp"),
        nbf: member("nbf"),
        iat: member("iat"),
        jti: member("jti"),
        typ: member("typ"),
        token_type: member("token_type"),
        aud: member("aud"),
        iss: member("iss"),
        channels: member(&names.channels),
        publishes_per_s: member("publishes_per_s"),
        // The service is not asked about backends.
        api: None,
        info: member("info"),
    };
    let find = |name: &str| members.get(name).map(|json| json.get());
    match verifier.introspected(&body, find, now_unix_ms) {
        Err(TokenFault::BadTime) => Err(NoAnswer::BadTime),
        outcome => Ok(outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::permission::Right;
    use crate::auth::token::VerifierConfig;
    use crate::id::ChannelName;
    use proptest::prelude::*;

    fn verifier() -> Verifier {
        let (audience, issuer) = (Some("chat".into()), None);
        let config = VerifierConfig { keys: Vec::new(), audience, issuer, ..VerifierConfig::default() };
        Verifier::with_auth_service(config).expect("a service needs no keys")
    }

    fn read_as(body: &str, names: &ClaimNames) -> Result<Result<Claims, TokenFault>, NoAnswer> {
        read(body.as_bytes(), names, &verifier(), 1_000_000)
    }

    fn answer(body: &str) -> Result<Result<Claims, TokenFault>, NoAnswer> {
        read_as(body, &ClaimNames::default())
    }

    #[test]
    fn active_token_grants_what_its_claims_list() {
        let body = r#"{"active":true,"sub":"ann","exp":2000,"aud":["chat"],
            "channels":[{"pattern":"room.*","rights":["subscribe"]}],"scope":"x"}"#;
        let claims = answer(body).expect("an answer").expect("active");
        assert_eq!((claims.user.as_str(), claims.expires_unix_ms), ("ann", Some(2_000_000)));
        let room = ChannelName::parse("room.1").expect("a name");
        assert!(claims.permissions.allow(Right::Subscribe, &room));
        assert!(!claims.permissions.allow(Right::Publish, &room));
    }

    #[test]
    fn configured_members_hold_user_and_channels() {
        let names = ClaimNames { user: "username".into(), channels: "chat".into() };
        let body = r#"{"active":true,"sub":"1f2e","username":"ann","aud":"chat","chat":[{"pattern":"*","rights":["publish"]}]}"#;
        let claims = read_as(body, &names).expect("an answer").expect("active");
        assert_eq!(claims.user.as_str(), "ann");
        assert!(claims.permissions.allow(Right::Publish, &ChannelName::parse("x").expect("a name")));
    }

    #[test]
    fn members_that_routes_forward_are_kept_byte_for_byte() {
        let forwarded = ["tenant", "plan"].map(std::sync::Arc::from).into();
        let config = VerifierConfig { forwarded, ..VerifierConfig::default() };
        let verifier = Verifier::with_auth_service(config).expect("a service needs no keys");
        let body = br#"{"active":true,"sub":"ann","plan":{"seats": 1e2},"tenant":"t9","scope":"x"}"#;
        let claims = read(body, &ClaimNames::default(), &verifier, 0).expect("an answer").expect("active");
        assert_eq!(claims.forwarded.as_deref(), Some(r#"{"tenant":"t9","plan":{"seats": 1e2}}"#));
    }

    #[test]
    fn token_of_another_kind_is_refused_if_the_answer_names_its_kind() {
        let token_type = Some("at+jwt".into());
        let config = VerifierConfig { keys: Vec::new(), token_type, ..VerifierConfig::default() };
        let verifier = Verifier::with_auth_service(config).expect("a service needs no keys");
        for (members, is_accepted) in [
            ("", true),
            (r#","typ":"at+JWT""#, true),
            (r#","typ":"application/at+jwt","token_type":"DPoP""#, true),
            (r#","token_type":"Bearer""#, true),
            (r#","token_type":"at+jwt""#, true),
            (r#","typ":"Refresh","token_type":"Bearer""#, false),
            (r#","typ":7"#, false),
            (r#","token_type":"refresh_token""#, false),
        ] {
            let body = format!(r#"{{"active":true,"sub":"ann"{members}}}"#);
            let answer = read(body.as_bytes(), &ClaimNames::default(), &verifier, 0).expect("an answer");
            let expected = if is_accepted { None } else { Some(TokenFault::WrongType) };
            assert_eq!(answer.err(), expected, "{body}");
        }
    }

    #[test]
    fn faults_of_the_token_and_of_the_service_are_distinguished() {
        for (body, fault) in [
            (r#"{"active":false}"#, TokenFault::Inactive),
            (r#"{"active":false,"exp":"soon"}"#, TokenFault::Inactive),
            (r#"{"active":true,"sub":"ann","aud":"chat","exp":1000}"#, TokenFault::Expired),
            (
                r#"{"active":true,"sub":"ann","aud":"chat","nbf":1001}"#,
                TokenFault::NotYetValid { wait_ms: 1_000 },
            ),
            (r#"{"active":true,"sub":"ann","aud":"other"}"#, TokenFault::WrongAudience),
            (r#"{"active":true,"aud":"chat"}"#, TokenFault::NoSubject),
            (r#"{"active":true,"aud":"chat","sub":"ann","channels":{}}"#, TokenFault::BadChannels),
        ] {
            assert_eq!(answer(body), Ok(Err(fault)), "{body}");
        }
        for (body, fault) in [
            ("", NoAnswer::NotJson),
            ("<html>", NoAnswer::NotJson),
            ("[true]", NoAnswer::NotJson),
            (r#"{"active":true"#, NoAnswer::NotJson),
            ("{}", NoAnswer::NoActive),
            (r#"{"active":"true","sub":"ann"}"#, NoAnswer::NoActive),
            (r#"{"active":1}"#, NoAnswer::NoActive),
            (r#"{"active":null}"#, NoAnswer::NoActive),
            (r#"{"active":true,"sub":"ann","aud":"chat","exp":"soon"}"#, NoAnswer::BadTime),
        ] {
            assert_eq!(answer(body), Err(fault), "{body}");
        }
    }

    proptest! {
        #[test]
        fn only_active_true_admits_a_token(body in prop::collection::vec(any::<u8>(), 0..80), active in "true |TRUE|\"true\"|1|null|\\{\\}|false") {
            let verifier = verifier();
            let names = ClaimNames::default();
            prop_assert!(!matches!(read(&body, &names, &verifier, 0), Ok(Ok(_))));
            let close = format!("{{\"active\":{active},\"sub\":\"ann\",\"aud\":\"chat\"}}");
            let granted = matches!(read(close.as_bytes(), &names, &verifier, 0), Ok(Ok(_)));
            prop_assert_eq!(granted, active.trim_end() == "true");
        }
    }
}
