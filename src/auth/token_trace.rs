//! The parts of a refused token that may be logged.

use super::token::{Judged, Parts, RawClaims, TokenFault, decode, object, subject};
use crate::auth::key::KID_CHARACTERS_MAX;
use crate::id::UserName;
use serde::Deserialize;
use std::borrow::Cow;

/// The names in a token that is not accepted, or not yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenTrace {
    /// The beginning of the header's `kid`. Anybody can write it.
    pub kid: Option<String>,
    /// `sub`, if a trusted key made the signature.
    pub user: Option<UserName>,
}

impl TokenTrace {
    /// Reads the names of a token; an accepted token has none here, because its user is known.
    pub fn of(token: &str, judged: &Judged) -> TokenTrace {
        let is_signed = match judged {
            Judged::Settled(Ok(_)) => return TokenTrace::default(),
            Judged::Settled(Err(fault)) => fault.is_of_claims(),
            Judged::Open { .. } => false,
        };
        let Ok(parts) = Parts::of(token) else { return TokenTrace::default() };
        let user = if is_signed { read_subject(&parts) } else { None };
        TokenTrace { kid: read_kid(&parts), user }
    }
}

fn read_kid(parts: &Parts<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct KeyName<'a> {
        #[serde(borrow)]
        kid: Cow<'a, str>,
    }
    let header = decode(parts.header).ok()?;
    let KeyName { kid } = object(&header).ok()?;
    Some(kid.chars().take(KID_CHARACTERS_MAX).collect())
}

fn read_subject(parts: &Parts<'_>) -> Option<UserName> {
    let payload = decode(parts.payload).ok()?;
    let claims: RawClaims<'_> = object(&payload).ok()?;
    subject(claims.sub).ok()
}

impl TokenFault {
    /// True exactly when the fault is one of claims that were read after the signature was verified.
    const fn is_of_claims(self) -> bool {
        match self {
            TokenFault::Expired
            | TokenFault::NotYetValid { .. }
            | TokenFault::BadTime
            | TokenFault::WrongAudience
            | TokenFault::WrongIssuer
            | TokenFault::NoSubject
            | TokenFault::BadSubject
            | TokenFault::BadChannels
            | TokenFault::TooManyPatterns
            | TokenFault::PatternTooLong
            | TokenFault::BadPattern
            | TokenFault::WrongType
            | TokenFault::NoExpiry
            | TokenFault::BadRate
            | TokenFault::Revoked => true,
            TokenFault::Missing
            | TokenFault::TooLong
            | TokenFault::Malformed
            | TokenFault::UnknownExtension
            | TokenFault::UnknownAlgorithm
            | TokenFault::UnknownKey
            | TokenFault::BadSignature
            | TokenFault::Inactive
            | TokenFault::OtherForm => false,
        }
    }
}
