//! The reasons for rejecting a token, with a word for metrics and a sentence for people. Neither contains any part of
//! the token.

use crate::auth::permission::ClaimFault;

/// The reason why a token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// No token was sent.
    Missing,
    /// The token is longer than [`TOKEN_BYTES_MAX`](super::TOKEN_BYTES_MAX).
    TooLong,
    /// The token is not a JWT of a supported form.
    Malformed,
    /// `crit` requires an extension (RFC 7515 section 4.1.11); none is supported.
    UnknownExtension,
    /// `alg` is none of [`Algorithm`](super::Algorithm).
    UnknownAlgorithm,
    /// No configured key has the token's `kid` and algorithm.
    UnknownKey,
    /// The signature was not made by a matching key.
    BadSignature,
    /// `exp` has passed.
    Expired,
    /// `nbf` is in the future.
    NotYetValid {
        /// The time until the token is valid, in milliseconds.
        wait_ms: u32,
    },
    /// `exp` or `nbf` is not a number.
    BadTime,
    /// `aud` neither equals nor contains the configured audience.
    WrongAudience,
    /// `iss` is not the configured issuer.
    WrongIssuer,
    NoSubject,
    /// `sub` is not a user name.
    BadSubject,
    /// `channels` has the wrong shape.
    BadChannels,
    TooManyPatterns,
    PatternTooLong,
    /// A pattern in `channels` has an unknown form.
    BadPattern,
    /// The auth service says that the token is not, or no longer, active (RFC 7662 section 2.2).
    Inactive,
    /// The token does not have the form of the service's tokens, so the service was not asked.
    OtherForm,
    /// `typ` is not the configured type.
    WrongType,
    /// There is no `exp`, and one is required.
    NoExpiry,
    /// `publishes_per_s` is no rate.
    BadRate,
    /// The token was revoked by an order.
    Revoked,
}

impl TokenFault {
    /// All faults, each at its [`TokenFault::index`].
    pub const ALL: [TokenFault; 24] = [
        TokenFault::Missing,
        TokenFault::TooLong,
        TokenFault::Malformed,
        TokenFault::UnknownExtension,
        TokenFault::UnknownAlgorithm,
        TokenFault::UnknownKey,
        TokenFault::BadSignature,
        TokenFault::Expired,
        TokenFault::NotYetValid { wait_ms: 0 },
        TokenFault::BadTime,
        TokenFault::WrongAudience,
        TokenFault::WrongIssuer,
        TokenFault::NoSubject,
        TokenFault::BadSubject,
        TokenFault::BadChannels,
        TokenFault::TooManyPatterns,
        TokenFault::PatternTooLong,
        TokenFault::BadPattern,
        TokenFault::Inactive,
        TokenFault::OtherForm,
        TokenFault::WrongType,
        TokenFault::NoExpiry,
        TokenFault::BadRate,
        TokenFault::Revoked,
    ];

    /// The index in [`TokenFault::ALL`].
    pub fn index(self) -> usize {
        TokenFault::ALL.iter().position(|fault| fault.word() == self.word()).unwrap_or_default()
    }

    /// The value of the label in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            TokenFault::Missing => "missing",
            TokenFault::TooLong => "too_long",
            TokenFault::Malformed => "malformed",
            TokenFault::UnknownExtension => "unknown_extension",
            TokenFault::UnknownAlgorithm => "unknown_algorithm",
            TokenFault::UnknownKey => "unknown_key",
            TokenFault::BadSignature => "bad_signature",
            TokenFault::Expired => "expired",
            TokenFault::NotYetValid { .. } => "not_yet_valid",
            TokenFault::BadTime => "bad_time",
            TokenFault::WrongAudience => "wrong_audience",
            TokenFault::WrongIssuer => "wrong_issuer",
            TokenFault::NoSubject => "no_subject",
            TokenFault::BadSubject => "bad_subject",
            TokenFault::BadChannels => "bad_channels",
            TokenFault::TooManyPatterns => "too_many_patterns",
            TokenFault::PatternTooLong => "pattern_too_long",
            TokenFault::BadPattern => "bad_pattern",
            TokenFault::Inactive => "inactive",
            TokenFault::OtherForm => "other_form",
            TokenFault::WrongType => "wrong_type",
            TokenFault::NoExpiry => "no_expiry",
            TokenFault::BadRate => "bad_rate",
            TokenFault::Revoked => "revoked",
        }
    }

    /// The text for people and for the close reason, at most 80 bytes.
    pub const fn text(self) -> &'static str {
        match self {
            TokenFault::Missing => "send a token in connect, in Authorization or as a subprotocol",
            TokenFault::TooLong => "the token has more than 8192 bytes; grant fewer channels",
            TokenFault::Malformed => "the token is not a JWT",
            TokenFault::UnknownExtension => "the token's crit requires an extension; none is supported",
            TokenFault::UnknownAlgorithm => "the token's alg is not HS256, RS256, ES256 or EdDSA",
            TokenFault::UnknownKey => "no configured key has the token's kid and alg",
            TokenFault::BadSignature => "the token's signature does not match its key",
            TokenFault::Expired => "the token has expired; get a new one",
            TokenFault::NotYetValid { .. } => "the token is not valid yet; see nbf, and both clocks",
            TokenFault::BadTime => "exp and nbf in the token must be seconds since 1970, as numbers",
            TokenFault::WrongAudience => "the token's aud does not name this gateway",
            TokenFault::WrongIssuer => "the token's iss is not trusted here",
            TokenFault::NoSubject => "the token has no sub, so it names no user",
            TokenFault::BadSubject => {
                "sub must be 1 to 128 bytes, no control characters, no '$' at its beginning"
            }
            TokenFault::BadChannels => "channels in the token must be a list of {pattern, rights}",
            TokenFault::TooManyPatterns => "channels in the token has more than 256 patterns; use prefixes",
            TokenFault::PatternTooLong => "a pattern in the token's channels has more than 128 bytes",
            TokenFault::BadPattern => "a channel pattern is a channel name, or its beginning and one *",
            TokenFault::Inactive => "the auth service says that the token is not active; get a new one",
            TokenFault::OtherForm => "the token does not have the form of auth.token_pattern",
            TokenFault::WrongType => "the token is of another kind than auth.type; send an access token",
            TokenFault::NoExpiry => "the token has no exp, which auth.expiry requires",
            TokenFault::BadRate => "publishes_per_s in the token must be a whole number up to 1000000",
            TokenFault::Revoked => "the token was revoked; get a new one",
        }
    }
}

impl From<ClaimFault> for TokenFault {
    fn from(fault: ClaimFault) -> TokenFault {
        match fault {
            ClaimFault::Shape => TokenFault::BadChannels,
            ClaimFault::TooMany => TokenFault::TooManyPatterns,
            ClaimFault::PatternTooLong => TokenFault::PatternTooLong,
            ClaimFault::Pattern => TokenFault::BadPattern,
        }
    }
}
