//! Checks a token (a JWT, RFC 7519) against the configured keys, at a `now` that is passed in.

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// None was sent.
    Missing,
    /// It is no JWT of a form we read.
    Malformed,
}

impl TokenFault {
    /// For people, and for the close reason: at most 80 bytes.
    pub const fn text(self) -> &'static str {
        match self {
            TokenFault::Missing => "send a token in connect, in Authorization or as a subprotocol",
            TokenFault::Malformed => "the token is not a JWT",
        }
    }
}
