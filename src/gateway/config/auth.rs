//! `[auth]`: whose tokens are believed.

use super::Draft;
use super::error::Fault;
use super::key::{AuthKey, Secret};
use super::url::Url;
use std::time::Duration;

/// See the module. Auth is on exactly when there is a key, an address to introspect at, or one of a key set.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// All keys, the shorthand `auth.secret` included.
    pub keys: Vec<AuthKey>,
    /// What `aud` must contain; `None`: not checked.
    pub audience: Option<String>,
    /// What `iss` must be; `None`: not checked.
    pub issuer: Option<String>,
    /// How far clocks may differ when `exp` and `nbf` are checked.
    pub leeway: Duration,
    /// Of one call to the auth service.
    pub timeout: Duration,
    /// Connections that may wait for it at once.
    pub waiting: u32,
    /// Asking about tokens that no key knows.
    pub introspection: IntrospectionConfig,
    /// Keys that the issuer publishes.
    pub jwks: JwksConfig,
}

/// Asking an auth service about a token (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionConfig {
    /// Where; `None`: nobody is asked.
    pub url: Option<Url>,
    /// Who asks.
    pub client_id: Option<String>,
    /// How that is shown: with `client_id` as Basic, alone as a bearer token.
    pub client_secret: Option<Secret>,
    /// The member that names the user; `None`: `sub`.
    pub user: Option<String>,
    /// The member that says what the user may do; `None`: `channels`.
    pub channels: Option<String>,
    /// Good answers that are kept.
    pub cache_entries: u32,
    /// Bytes of all good answers, about.
    pub cache_bytes: u64,
    /// How long a good one is used without asking again.
    pub cache: Duration,
    /// How long a bad one is.
    pub cache_refused: Duration,
}

/// Keys that the issuer publishes (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksConfig {
    /// Where; `None`: only configured keys are used.
    pub url: Option<Url>,
    /// Between two fetches.
    pub refresh: Duration,
    /// At least this long between two fetches because of a `kid` that no key has.
    pub pause: Duration,
}

impl Default for AuthConfig {
    fn default() -> AuthConfig {
        AuthConfig {
            keys: Vec::new(),
            audience: None,
            issuer: None,
            leeway: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            waiting: 1_024,
            introspection: IntrospectionConfig {
                url: None,
                client_id: None,
                client_secret: None,
                user: None,
                channels: None,
                cache_entries: 10_000,
                cache_bytes: 16 << 20,
                cache: Duration::from_secs(60),
                cache_refused: Duration::from_secs(5),
            },
            jwks: JwksConfig { url: None, refresh: Duration::from_secs(300), pause: Duration::from_secs(5) },
        }
    }
}

impl AuthConfig {
    /// True exactly when clients must show a token.
    pub fn is_on(&self) -> bool {
        !self.keys.is_empty() || self.service().is_some()
    }

    /// Where the auth service is, and the setting that says so.
    pub fn service(&self) -> Option<(&'static str, &Url)> {
        let introspection = self.introspection.url.as_ref().map(|url| (INTROSPECTION_URL, url));
        introspection.or(self.jwks.url.as_ref().map(|url| (JWKS_URL, url)))
    }
}

/// The settings that turn auth on, beside the keys.
pub(super) const INTROSPECTION_URL: &str = "auth.introspection_url";
/// See [`INTROSPECTION_URL`].
pub(super) const JWKS_URL: &str = "auth.jwks_url";

/// Reports what is set and cannot have an effect, or contradicts another.
pub(super) fn check(draft: &mut Draft) {
    let refused = |name: &str| draft.refused.contains(name);
    let mut faults = Vec::new();
    let auth = &draft.config.auth;
    let IntrospectionConfig { url, client_id, client_secret, user, channels, .. } = &auth.introspection;
    if url.is_none() && !refused(INTROSPECTION_URL) {
        let given = [
            ("auth.client_id", client_id.is_some()),
            ("auth.client_secret", client_secret.is_some()),
            ("auth.introspection_user", user.is_some()),
            ("auth.introspection_channels", channels.is_some()),
        ];
        let given = given.into_iter().filter(|(_, given)| *given);
        faults.extend(given.map(|(name, _)| (name, Fault::NeedsSetting { setting: INTROSPECTION_URL })));
    } else if client_id.is_some() && client_secret.is_none() && !refused("auth.client_secret") {
        faults.push(("auth.client_id", Fault::NeedsSetting { setting: "auth.client_secret" }));
    }
    let (refresh, pause) = ("auth.jwks_refresh_ms", "auth.jwks_pause_ms");
    if auth.jwks.refresh < auth.jwks.pause && !refused(refresh) && !refused(pause) {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let fault = Fault::Below {
            value: milliseconds(auth.jwks.refresh),
            other: pause,
            other_value: milliseconds(auth.jwks.pause),
            other_origin: draft.config.origins.of(pause).clone(),
            reason: "since an unknown key may bring a fetch forward and never puts one off",
        };
        faults.push((refresh, fault));
    }
    for (name, fault) in faults {
        let origin = draft.config.origins.of(name).clone();
        draft.report(origin, name, fault);
    }
}
