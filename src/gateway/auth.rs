//! Builds the verifier, the auth service and the connection census from `[auth]`.

use super::config::Config;
use super::config::auth::{AuthSection, IntrospectionConfig};
use super::config::prepare::{
    client_verifier, introspection_endpoint, key_set_endpoint, key_set_mark, trust_rules,
};
use super::config::relay_check::routes;
use super::config::url::Url;
use super::presence;
use crate::auth::census::Census;
use crate::auth::introspection::ClaimNames;
use crate::auth::key::Algorithm;
use crate::auth::known::CacheBounds;
use crate::auth::trust::TrustEdition;
use crate::id::InstanceName;
use crate::introspect::service::{AuthService, Introspection, KeySetSource, RecheckMode};
use crate::introspect::{EarlierAnswers, TokenTrust};
use crate::job::issuer_keys::IssuerKeys;
use crate::job::known_token::KnownToken;
use crate::job::{EvidenceSender, Outlook};
use crate::net::auth_endpoint::Endpoint;
use crate::net::target::Target;
use crate::rate::Rate;
use crate::session::{AuthMode, Policy, StreamPolicy, StreamsMode};
use std::sync::Arc;

/// The links between the threads of the auth service and the watch.
pub(super) struct AuthLinks {
    pub(super) outlook: Arc<Outlook>,
    /// Where results of calls are reported.
    pub(super) evidence: Option<EvidenceSender>,
    pub(super) known_token: Arc<KnownToken>,
    pub(super) issuer_keys: Arc<IssuerKeys>,
}

/// The keys and the service that tokens are checked with; `None` if auth is off.
pub(super) fn trust(
    config: &Config,
    links: AuthLinks,
    edition: TrustEdition,
) -> Result<Option<TokenTrust>, String> {
    let AuthLinks { outlook, evidence, known_token, issuer_keys } = links;
    let auth = &config.auth;
    if !auth.is_on() {
        return Ok(None);
    }
    let (introspection, key_set) = endpoints(auth)?;
    let service = (introspection.is_some() || key_set.is_some()).then(|| AuthService {
        introspection: introspection.map(|endpoint| introspection_of(&auth.introspection, endpoint)),
        key_set: key_set.zip(key_set_mark(auth)).map(|(endpoint, mark)| {
            let (refresh, pause) = (auth.jwks.refresh, auth.jwks.pause);
            KeySetSource { endpoint, mark, refresh, pause }
        }),
        source: config.server.source_address,
        timeout: auth.timeout,
        waiting: auth.waiting as usize,
        outlook,
        evidence,
        known_token,
    });
    let verifier =
        client_verifier(auth, routes(config).claims()).map_err(|fault| format!("auth.keys: {fault}"))?;
    Ok(Some(TokenTrust { verifier, service, issuer_keys, edition }))
}

/// The rules for all sessions.
pub(super) fn policy(
    config: &Config,
    auth: AuthMode,
    instance: InstanceName,
    edition: TrustEdition,
) -> Policy {
    let rules = config.auth.is_on().then(|| trust_rules(&config.auth, edition));
    let IntrospectionConfig { url, recheck, .. } = &config.auth.introspection;
    let recheck = (url.is_some() && !recheck.is_zero()).then_some(*recheck);
    Policy::new(&config.limits, auth, instance)
        .with_trust(rules, recheck)
        .with_presence(presence::policy(config))
        .with_streams(stream_policy(config))
        .with_reports(config.clients.reports)
}

fn stream_policy(config: &Config) -> StreamPolicy {
    let mode = if config.streams.enabled { StreamsMode::On } else { StreamsMode::Off };
    StreamPolicy { mode, life: config.streams.life }
}

fn introspection_of(config: &IntrospectionConfig, endpoint: Endpoint) -> Introspection {
    let names = ClaimNames::default();
    Introspection {
        endpoint,
        names: ClaimNames {
            user: config.user.clone().unwrap_or(names.user),
            channels: config.channels.clone().unwrap_or(names.channels),
        },
        bounds: CacheBounds {
            entries: config.cache_entries as usize,
            bytes: usize::try_from(config.cache_bytes).unwrap_or(usize::MAX),
            fresh: config.cache,
            stale: config.cache_stale,
            refused: config.cache_refused,
        },
        pattern: config.token_pattern.clone(),
        recheck: if config.recheck.is_zero() { RecheckMode::Off } else { RecheckMode::On },
    }
}

/// The endpoints of introspection and of the key set.
fn endpoints(auth: &AuthSection) -> Result<(Option<Endpoint>, Option<Endpoint>), String> {
    let introspection =
        introspection_endpoint(auth).map_err(|fault| format!("auth.introspection_url: {fault}"))?;
    let key_set = key_set_endpoint(auth).map_err(|fault| format!("auth.jwks_url: {fault}"))?;
    Ok((introspection, key_set))
}

/// The probe target of the auth service.
pub(super) fn target(config: &Config) -> Result<Target, String> {
    let (introspection, key_set) = endpoints(&config.auth)?;
    Ok(Target::auth_service(introspection, key_set))
}

/// For the start banner.
pub(super) fn describe(config: &Config) -> String {
    let auth = &config.auth;
    if !auth.is_on() {
        return "off: anyone on this machine can read and write".into();
    }
    let url = |name: &str, url: &Option<Url>| url.as_ref().map(|url| format!("{name} {url}"));
    let keys = match auth.key_configs().len() {
        0 => None,
        1 => Some("1 key".to_owned()),
        count => Some(format!("{count} keys")),
    };
    let services = [url("keys from", &auth.jwks.url), url("introspection at", &auth.introspection.url)];
    let parts: Vec<String> = keys.into_iter().chain(services.into_iter().flatten()).collect();
    format!("on: {}", parts.join(", "))
}

/// The command that prints a token for a first try; `None` if only an auth service has the keys.
pub(super) fn first_command(config: &Config) -> Option<String> {
    let keys = config.auth.key_configs();
    let secrets = keys.iter().filter(|key| key.algorithm == Algorithm::Hs256).collect::<Vec<_>>();
    let key = match (secrets.as_slice(), keys.is_empty()) {
        ([], true) => return None,
        ([], false) => " --key PRIVATE_KEY.pem".to_owned(),
        ([_], _) => String::new(),
        ([first, ..], _) => first.kid.as_ref().map(|kid| format!(" --kid {kid}")).unwrap_or_default(),
    };
    let file = config.origins.file().map(|file| format!(" --config {}", file.display())).unwrap_or_default();
    Some(format!("seawall token{file}{key} --sub ann --channel 'lobby=subscribe,publish'"))
}

pub(super) fn census(config: &Config) -> Census {
    let (per_user, per_address, rate) = bounds(config);
    Census::new(per_user, per_address, rate)
}

/// The bounds on connections of a user and of an address, and on the rate of an address.
pub(super) fn bounds(config: &Config) -> (u32, u32, Option<Rate>) {
    let limits = &config.limits;
    let rate = Rate::new(limits.handshakes_per_s, limits.handshakes_per_s.saturating_mul(10));
    (limits.connections_per_user, limits.connections_per_address, rate)
}

/// True exactly when tokens are checked by other rules than before, or the old rules are unknown.
pub(super) fn differs(old: Option<&Config>, new: &Config) -> bool {
    let Some(old) = old else { return true };
    let parts = |auth: &AuthSection| {
        let AuthSection {
            secret: _,
            keys: _,
            audience,
            issuer,
            leeway,
            token_type,
            expiry,
            lifetime_max,
            timeout,
            waiting,
            introspection,
            jwks,
        } = auth;
        let claims = (audience.clone(), issuer.clone(), *leeway, token_type.clone(), *expiry, *lifetime_max);
        (claims, *timeout, *waiting, introspection.clone(), jwks.clone())
    };
    old.auth.key_configs() != new.auth.key_configs()
        || parts(&old.auth) != parts(&new.auth)
        || routes(old).claims() != routes(new).claims()
}

/// Keeps the cached answers of the auth service only if the rules that they depend on are unchanged.
pub(super) fn answers(old: Option<&Config>, new: &Config) -> EarlierAnswers {
    let asks = |config: &Config| {
        let AuthSection { audience, issuer, expiry, lifetime_max, introspection, jwks, .. } = &config.auth;
        let checked = (audience.clone(), issuer.clone(), *expiry, *lifetime_max);
        (checked, introspection.clone(), jwks.url.clone(), routes(config).claims())
    };
    if old.map(asks) == Some(asks(new)) { EarlierAnswers::Keep } else { EarlierAnswers::Forget }
}

/// True exactly when the auth service is probed at another URL or with other credentials.
pub(super) fn target_differs(old: &Config, new: &Config) -> bool {
    let target = |config: &Config| {
        let (introspection, jwks) = (&config.auth.introspection, &config.auth.jwks);
        let login = (introspection.client_id.clone(), introspection.client_secret.clone());
        (introspection.url.clone(), login, jwks.url.clone())
    };
    target(old) != target(new)
}
