//! The proof that a request carries, and what it may do with it.

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

/// The proof that a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAccess {
    /// The admin token.
    Token,
    /// A session of the console. `mark` is the beginning of its digest, for the log.
    Session { scope: Scope, mark: String },
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
