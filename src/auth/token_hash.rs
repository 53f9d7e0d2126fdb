//! A name for a token that reveals nothing of it.

use sha2::{Digest, Sha256};

/// A hash that identifies a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The SHA-256 of salt and token. The salt belongs to this process, so a hash is meaningless elsewhere.
    pub fn of(token: &str, salt: &[u8; 16]) -> TokenHash {
        TokenHash(Sha256::new().chain_update(salt).chain_update(token).finalize().into())
    }
}

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash")
    }
}
