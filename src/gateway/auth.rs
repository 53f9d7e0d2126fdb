//! What is configured under `[auth]` becomes keys, an auth service, and a census.

use super::config::Config;
use super::config::auth::{AuthConfig, IntrospectionConfig};
use super::config::key::{AuthKey, Secret, same_keys};
use crate::auth::census::Census;
use crate::auth::introspection::ClaimNames;
use crate::auth::key::KeyFault;
use crate::auth::known::Bounds;
use crate::auth::token::{Verifier, VerifierConfig};
use crate::job::{Outlook, Witness};
use crate::rate::Rate;
use crate::worker::auth::endpoint::{Endpoint, Login};
use crate::worker::auth::service::{Introspection, KeySetSource, Service};
use crate::worker::auth::{Answers, Trust};
use crate::worker::probe::target::Target;
use std::sync::Arc;

/// Whose tokens are believed; `None`: auth is off.
pub(super) fn trust(
    config: &Config,
    outlook: &Arc<Outlook>,
    witness: Option<Witness>,
) -> Result<Option<Trust>, String> {
    let auth = &config.auth;
    if !auth.is_on() {
        return Ok(None);
    }
    let (introspection, key_set) = endpoints(auth)?;
    let service = (introspection.is_some() || key_set.is_some()).then(|| Service {
        introspection: introspection.map(|endpoint| asking(&auth.introspection, endpoint)),
        key_set: key_set.map(|endpoint| {
            let (refresh, pause) = (auth.jwks.refresh, auth.jwks.pause);
            KeySetSource { endpoint, refresh, pause }
        }),
        source: config.server.source_address,
        timeout: auth.timeout,
        waiting: auth.waiting as usize,
        outlook: Arc::clone(outlook),
        witness,
    });
    let verifier = verifier(auth).map_err(|fault| key_fault(auth, &fault))?;
    Ok(Some(Trust { verifier, service }))
}

fn asking(config: &IntrospectionConfig, endpoint: Endpoint) -> Introspection {
    let names = ClaimNames::default();
    Introspection {
        endpoint,
        names: ClaimNames {
            user: config.user.clone().unwrap_or(names.user),
            channels: config.channels.clone().unwrap_or(names.channels),
        },
        bounds: Bounds {
            entries: config.cache_entries as usize,
            bytes: usize::try_from(config.cache_bytes).unwrap_or(usize::MAX),
            fresh: config.cache,
            refused: config.cache_refused,
        },
    }
}

/// Where tokens are asked about, and where the keys are.
fn endpoints(auth: &AuthConfig) -> Result<(Option<Endpoint>, Option<Endpoint>), String> {
    let IntrospectionConfig { url, client_id, client_secret, .. } = &auth.introspection;
    let text = |secret: &Secret| String::from_utf8_lossy(secret.bytes()).into_owned();
    let login = match (client_id, client_secret) {
        (Some(client), Some(secret)) => Login::Basic { client: client.clone(), secret: text(secret) },
        (None, Some(secret)) => Login::Bearer(text(secret)),
        (_, None) => Login::AsAddressed,
    };
    let introspection = url.as_ref().map(|url| Endpoint::parse(url.whole(), login)).transpose();
    let key_set =
        auth.jwks.url.as_ref().map(|url| Endpoint::parse(url.whole(), Login::AsAddressed)).transpose();
    let introspection = introspection.map_err(|fault| format!("auth.introspection_url: {fault}"))?;
    let key_set = key_set.map_err(|fault| format!("auth.jwks_url: {fault}"))?;
    Ok((introspection, key_set))
}

/// How the auth service is looked at.
pub(super) fn target(config: &Config) -> Result<Target, String> {
    let (introspection, key_set) = endpoints(&config.auth)?;
    Ok(Target::auth_service(introspection, key_set))
}

/// For the lines a person sees first.
pub(super) fn describe(config: &Config) -> String {
    let auth = &config.auth;
    if !auth.is_on() {
        return "off: everybody on this machine may read and write".into();
    }
    let url =
        |name: &str, url: &Option<super::config::url::Url>| url.as_ref().map(|url| format!("{name} {url}"));
    let keys = (!auth.keys.is_empty()).then(|| format!("{} key(s)", auth.keys.len()));
    let services = [url("keys of", &auth.jwks.url), url("asks", &auth.introspection.url)];
    let parts: Vec<String> = keys.into_iter().chain(services.into_iter().flatten()).collect();
    format!("on: {}", parts.join(", "))
}

/// In words that lead to the line where the key stands.
fn key_fault(auth: &AuthConfig, fault: &KeyFault) -> String {
    let culprit = match fault {
        KeyFault::Key { index, .. } => auth.keys.get(*index),
        KeyFault::NoKeys | KeyFault::TooManyKeys(_) => None,
    };
    match culprit {
        Some(key) => format!("{}: auth.keys: {fault}", key.origin),
        None => format!("auth.keys: {fault}"),
    }
}

fn verifier(auth: &AuthConfig) -> Result<Verifier, KeyFault> {
    Verifier::beside_a_service(VerifierConfig {
        keys: auth.keys.iter().map(AuthKey::verified).collect(),
        audience: auth.audience.clone(),
        issuer: auth.issuer.clone(),
        leeway: auth.leeway,
    })
}

pub(super) fn census(config: &Config) -> Census {
    let (per_user, per_address, rate) = bounds(config);
    Census::new(per_user, per_address, rate)
}

/// Connections of a user, those of an address, and how fast these may come.
pub(super) fn bounds(config: &Config) -> (u32, u32, Option<Rate>) {
    let limits = &config.limits;
    let rate = Rate::new(limits.handshakes_per_s, limits.handshakes_per_s.saturating_mul(10));
    (limits.connections_per_user, limits.connections_per_address, rate)
}

/// True exactly when tokens are judged by other rules, or when it is not known by which they were.
pub(super) fn differs(old: Option<&Config>, new: &Config) -> bool {
    let (Some(Config { auth: old, .. }), new) = (old, &new.auth) else { return true };
    let parts = |auth: &AuthConfig| {
        let AuthConfig { keys: _, audience, issuer, leeway, timeout, waiting, introspection, jwks } = auth;
        (audience.clone(), issuer.clone(), *leeway, *timeout, *waiting, introspection.clone(), jwks.clone())
    };
    !same_keys(old.keys.iter(), new.keys.iter()) || parts(old) != parts(new)
}

/// Whether what the auth service said still holds under other rules than `old`, if these are known.
pub(super) fn answers(old: Option<&Config>, new: &Config) -> Answers {
    let asks = |config: &Config| {
        let AuthConfig { audience, issuer, introspection, jwks, .. } = &config.auth;
        (audience.clone(), issuer.clone(), introspection.clone(), jwks.url.clone())
    };
    if old.map(asks) == Some(asks(new)) { Answers::Keep } else { Answers::Forget }
}

/// True exactly when the auth service is looked at in another place or by other questions.
pub(super) fn target_differs(old: &Config, new: &Config) -> bool {
    let target = |config: &Config| {
        let (introspection, jwks) = (&config.auth.introspection, &config.auth.jwks);
        let login = (introspection.client_id.clone(), introspection.client_secret.clone());
        (introspection.url.clone(), login, jwks.url.clone())
    };
    target(old) != target(new)
}
