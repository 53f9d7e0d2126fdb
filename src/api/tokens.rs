//! Tokens of backends: verified on the thread of the request, once for each token.

use crate::auth::api_key::ApiKey;
use crate::auth::backend_token::{BackendFault, verify_backend};
use crate::auth::backend_tokens::{BackendTokens, TokenMemory};
use crate::auth::token::{TokenFault, Verifier};
use crate::clock::Now;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The verifier of `api.audience`, and what it found.
#[derive(Debug)]
pub struct TokenCheck {
    verifier: Verifier,
    memory: Mutex<BackendTokens>,
}

/// The reason why a token is not accepted.
pub(super) enum BackendRefusal {
    Bad(BackendFault),
    /// Too many bad tokens came from this address; this one was not looked at.
    Wait(Duration),
}

impl TokenCheck {
    /// `salt` for the hashes of tokens, which are all that is kept of them.
    pub fn new(verifier: Verifier, salt: [u8; 16]) -> TokenCheck {
        TokenCheck { verifier, memory: Mutex::new(BackendTokens::new(salt)) }
    }

    /// The key that the token makes.
    pub(super) fn check(&self, token: &[u8], from: IpAddr, now: Now) -> Result<Arc<ApiKey>, BackendRefusal> {
        let malformed = || BackendRefusal::Bad(BackendFault::Token(TokenFault::Malformed));
        let token = std::str::from_utf8(token).map_err(|_| malformed())?;
        let found = self.memory.lock().look(token, from, now);
        let hash = match found {
            TokenMemory::Good(key) => return Ok(key),
            TokenMemory::Bad(fault) => return Err(BackendRefusal::Bad(fault)),
            TokenMemory::Wait(wait) => return Err(BackendRefusal::Wait(wait)),
            TokenMemory::Unknown(hash) => hash,
        };
        // Without the lock, because it takes as long as dozens of other requests.
        let outcome = verify_backend(&self.verifier, token, now.unix_ms);
        self.memory.lock().learn(hash, from, outcome, now).map_err(BackendRefusal::Bad)
    }
}
