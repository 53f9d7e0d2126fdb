//! The proof that a request carries, and what it may do with it.

use std::fmt;

/// The rights of a session of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Requests that change nothing.
    Read,
    /// Everything that the admin token may, except making links.
    Operate,
}

impl Scope {
    /// The word in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Operate => "operate",
        }
    }
}

/// The SHA-256 of the key of a session. Its text is the first 6 digits, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId(pub [u8; 32]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(3).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The proof that a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAccess {
    /// The admin token.
    Token,
    /// A session of the console.
    Session { scope: Scope, id: SessionId },
    /// None: the request is answered without data, or brings the code of a link in its body.
    Open,
}

impl AdminAccess {
    /// The rights of a request with this proof.
    pub fn scope(&self) -> Scope {
        match self {
            AdminAccess::Token => Scope::Operate,
            AdminAccess::Session { scope, .. } => *scope,
            AdminAccess::Open => Scope::Read,
        }
    }
}
