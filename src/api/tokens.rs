//! Tokens of backends: verified on the thread of the request, once for each token.

use crate::auth::api_key::ApiKey;
use crate::auth::backend_token::{BackendFault, verify_backend};
use crate::auth::backend_tokens::{BackendTokens, TokenMemory};
use crate::auth::known::TokenHash;
use crate::auth::token::{TokenFault, Verifier};
use crate::auth::trust::TrustMark;
use crate::clock::{Moment, Now};
use crate::job::issuer_keys::{FetchedKeys, IssuerKeys};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The verifier of `api.audience`, and what it found.
#[derive(Debug)]
pub struct TokenCheck {
    verifier: Verifier,
    key_set: Option<BackendKeySet>,
    memory: Mutex<BackendTokens>,
}

/// The key set that verifies tokens of backends, in addition to the configured keys.
#[derive(Clone, Debug)]
pub struct BackendKeySet {
    /// Its address.
    pub mark: TrustMark,
    pub keys: Arc<IssuerKeys>,
}

/// The reason why a token is not accepted.
pub(super) enum BackendRefusal {
    Bad(BackendFault),
    /// Too many bad tokens came from this address; this one was not looked at.
    Wait(Duration),
    /// Its key may be in a newer key set, which is there after this time.
    NewerKeys(Duration),
}

impl TokenCheck {
    /// `salt` for the hashes of tokens, which are all that is kept of them.
    pub fn new(verifier: Verifier, key_set: Option<BackendKeySet>, salt: [u8; 16]) -> TokenCheck {
        TokenCheck { verifier, key_set, memory: Mutex::new(BackendTokens::new(salt)) }
    }

    /// The key that the token makes.
    pub(super) fn check(&self, token: &[u8], from: IpAddr, now: Now) -> Result<Arc<ApiKey>, BackendRefusal> {
        let malformed = || BackendRefusal::Bad(BackendFault::Token(TokenFault::Malformed));
        let token = std::str::from_utf8(token).map_err(|_| malformed())?;
        let FetchedKeys { set, began } =
            self.key_set.as_ref().map(|BackendKeySet { mark, keys }| keys.of(*mark)).unwrap_or_default();
        let found = self.memory.lock().look(token, began, from, now);
        let hash = match found {
            TokenMemory::Good(key) => return Ok(key),
            TokenMemory::Bad(fault) => return Err(BackendRefusal::Bad(fault)),
            TokenMemory::Wait(wait) => return Err(BackendRefusal::Wait(wait)),
            TokenMemory::Unknown(hash) => hash,
        };
        // Without the lock, because it takes as long as dozens of other requests.
        let outcome = verify_backend(&self.verifier, &set, token, now.unix_ms);
        if let Err(BackendFault::NoKeyYet(_)) = outcome
            && let Some(wait) = self.wait_for_keys(hash, began, from, now.at)
        {
            return Err(BackendRefusal::NewerKeys(wait));
        }
        self.memory.lock().learn(hash, began, from, outcome, now).map_err(BackendRefusal::Bad)
    }

    /// Has newer keys fetched for a token whose key is not at hand; `None` if they were fetched since it came first.
    fn wait_for_keys(
        &self,
        hash: TokenHash,
        began: Option<Moment>,
        from: IpAddr,
        now: Moment,
    ) -> Option<Duration> {
        let BackendKeySet { mark, keys } = self.key_set.as_ref()?;
        let first = self.memory.lock().without_key(hash, from, now);
        let is_newer = began.is_some_and(|began| began > first);
        (!is_newer).then(|| keys.request(*mark, now))
    }
}
