//! The source of a session's rights, and which sources are trusted at present.
//!
//! A session must not outlive the trust in its token. It therefore keeps a mark of the key or service that vouched for the
//! token and of its issuer. A reload compares them with what is trusted from then on. The token itself is not kept.

use sha2::{Digest, Sha256};
use std::num::NonZeroU64;

/// Identifies a key, an issuer or an address without holding it: a part of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustMark(NonZeroU64);

impl TrustMark {
    /// The mark of nothing: for a source that vouches for no token.
    pub(super) const NONE: TrustMark = TrustMark(NonZeroU64::MIN);

    /// The mark of an issuer or of the address of a service.
    pub fn of(text: &str) -> TrustMark {
        TrustMark::of_parts(&[text.as_bytes()])
    }

    /// The mark of several parts together.
    pub(super) fn of_parts(parts: &[&[u8]]) -> TrustMark {
        let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize();
        let mark = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        TrustMark(NonZeroU64::new(mark).unwrap_or(NonZeroU64::MIN))
    }
}

/// The party that vouched for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A configured key.
    Key(TrustMark),
    /// The key set with this address.
    KeySet(TrustMark),
    /// The introspection service with this address.
    Service(TrustMark),
}

/// The origin of a session's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenOrigin {
    pub source: TokenSource,
    /// The token's `iss`, if it has one.
    pub issuer: Option<TrustMark>,
}

/// Counts the changes of what is trusted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrustEdition(pub u32);

/// The sources that are trusted at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRules {
    pub edition: TrustEdition,
    /// The configured keys.
    pub keys: Vec<TrustMark>,
    pub key_set: Option<TrustMark>,
    pub service: Option<TrustMark>,
    /// `auth.issuer`; `None`: any.
    pub issuer: Option<TrustMark>,
}

impl TrustRules {
    /// True exactly when a session with this origin may go on.
    pub fn allow(&self, origin: &TokenOrigin) -> bool {
        let has_source = match origin.source {
            TokenSource::Key(mark) => self.keys.contains(&mark),
            TokenSource::KeySet(mark) => self.key_set == Some(mark),
            TokenSource::Service(mark) => self.service == Some(mark),
        };
        has_source && (self.issuer.is_none() || self.issuer == origin.issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::key::{Algorithm, KeyConfig, KeyMaterial};

    fn key(kid: Option<&str>, secret: &str) -> KeyConfig {
        let material = KeyMaterial::Secret(Vec::from(secret).into());
        KeyConfig { kid: kid.map(String::from), algorithm: Algorithm::Hs256, material }
    }

    #[test]
    fn session_may_go_on_while_its_source_and_issuer_are_trusted() {
        let rules = TrustRules {
            edition: TrustEdition(1),
            keys: vec![key(Some("new name"), "a").mark()],
            key_set: Some(TrustMark::of("https://id.example/keys")),
            service: None,
            issuer: Some(TrustMark::of("https://id.example")),
        };
        let of = |source, issuer: Option<&str>| TokenOrigin { source, issuer: issuer.map(TrustMark::of) };
        let (ours, other) = (Some("https://id.example"), Some("https://other.example"));
        let kept = TokenSource::Key(key(None, "a").mark());
        for (origin, expected) in [
            (of(kept, ours), true),
            (of(kept, other), false),
            (of(kept, None), false),
            (of(TokenSource::Key(key(None, "b").mark()), ours), false),
            (of(TokenSource::KeySet(TrustMark::of("https://id.example/keys")), ours), true),
            (of(TokenSource::KeySet(TrustMark::of("https://id.example/other")), ours), false),
            (of(TokenSource::Service(TrustMark::of("https://id.example/keys")), ours), false),
        ] {
            assert_eq!(rules.allow(&origin), expected, "{origin:?}");
        }
        let any = TrustRules { issuer: None, ..rules };
        assert!(any.allow(&of(kept, None)) && any.allow(&of(kept, other)));
    }
}
