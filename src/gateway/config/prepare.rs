//! The last step of reading a configuration: addresses, keys and files become what the threads use.
//!
//! No part of it needs a network, so `check-config`, `doctor`, a start and a reload accept the same configurations.

use super::auth::{AuthSection, INTROSPECTION_URL, IntrospectionConfig, JWKS_URL};
use super::dependency::{DependencyConfig, ImpliedDependency};
use super::error::{ConfigFault, ConfigWarning, ProblemList};
use super::sections::Config;
use super::url::Url;
use super::value::Secret;
use crate::auth::key::{Algorithm, KeyConfig, KeyFault, TRIES_MAX};
use crate::auth::token::{Verifier, VerifierConfig};
use crate::auth::trust::{TrustEdition, TrustMark, TrustRules};
use crate::net::auth_endpoint::{Endpoint, Login};
use crate::net::target::{DependencyKind, Target, TargetError};
use std::sync::Arc;

/// The dependencies whose URLs are settings. A URL that cannot be used is reported.
pub(super) fn implied_dependencies(config: &Config, report: &mut ProblemList) -> Vec<ImpliedDependency> {
    let mut implied = Vec::new();
    let urls = [
        ("store", "store.url", DependencyKind::Postgres, config.store.postgres()),
        ("bus", "bus.url", DependencyKind::Redis, config.bus.url.as_ref()),
    ];
    for (name, setting, kind, url) in urls {
        let Some(url) = url else { continue };
        let origin = config.origins.of(setting).clone();
        match parse(kind, url) {
            Ok(target) => implied.push(ImpliedDependency {
                name,
                setting,
                url: url.clone(),
                parsed: Some(target),
                origin,
            }),
            Err(fault) => {
                report.refuse(setting);
                report.add(origin, setting, ConfigFault::Address(fault));
            }
        }
    }
    implied.extend(config.auth.service().map(|(setting, url)| ImpliedDependency {
        name: "auth",
        setting,
        url: url.clone(),
        parsed: None,
        origin: config.origins.of(setting).clone(),
    }));
    implied
}

/// Parses an address and reads the files that it names.
fn parse(kind: DependencyKind, url: &Url) -> Result<Target, TargetError> {
    let target = Target::parse(kind, url.whole())?;
    target.check_files().map(|()| target)
}

/// Builds the keys and the endpoints of the auth service once, to report what they reject.
pub(super) fn check_auth(config: &Config, report: &mut ProblemList) {
    let auth = &config.auth;
    let key_set = key_set_endpoint(auth).map(drop).map_err(|fault| (JWKS_URL, fault));
    let introspection = introspection_endpoint(auth).map(drop).map_err(|fault| (INTROSPECTION_URL, fault));
    for (setting, fault) in [introspection, key_set].into_iter().filter_map(Result::err) {
        report.add(config.origins.of(setting).clone(), setting, ConfigFault::Address(fault));
    }
    if !auth.is_on() || !report.accepted(&["auth.keys", "auth.secret"]) {
        return;
    }
    let Err(fault) = verifier(auth) else { return };
    let (origin, setting) = match &fault {
        KeyFault::Key { index, .. } => match auth.keys.get(*index) {
            Some(key) => (key.origin.clone(), "auth.keys"),
            None => (config.origins.of("auth.secret").clone(), "auth.secret"),
        },
        KeyFault::NoKeys | KeyFault::TooManyKeys(_) => {
            let last = auth.keys.last().map(|key| key.origin.clone());
            (last.unwrap_or_default(), "auth.keys")
        }
    };
    report.add(origin, setting, ConfigFault::Keys(fault));
}

/// The verifier of the configured keys.
pub(in crate::gateway) fn verifier(auth: &AuthSection) -> Result<Verifier, KeyFault> {
    Verifier::with_auth_service(verifier_config(auth))
}

/// The same for the tokens of clients, of which these claims are kept.
pub(in crate::gateway) fn client_verifier(
    auth: &AuthSection,
    forwarded: Arc<[Arc<str>]>,
) -> Result<Verifier, KeyFault> {
    Verifier::with_auth_service(VerifierConfig { forwarded, ..verifier_config(auth) })
}

/// The verifier of the tokens of backends, for another audience.
pub(in crate::gateway) fn backend_verifier(auth: &AuthSection, audience: &str) -> Result<Verifier, KeyFault> {
    let config = VerifierConfig { audience: Some(audience.to_owned()), ..verifier_config(auth) };
    Verifier::with_auth_service(config)
}

fn verifier_config(auth: &AuthSection) -> VerifierConfig {
    VerifierConfig {
        keys: auth.key_configs(),
        audience: auth.audience.clone(),
        issuer: auth.issuer.clone(),
        leeway: auth.leeway,
        token_type: auth.token_type.clone(),
        expiry: auth.expiry,
        lifetime_max: (!auth.lifetime_max.is_zero()).then_some(auth.lifetime_max),
        key_set: key_set_mark(auth),
        service: address_mark(auth.introspection.url.as_ref()),
        forwarded: Arc::default(),
    }
}

/// The sources of rights that are trusted.
pub(in crate::gateway) fn trust_rules(auth: &AuthSection, edition: TrustEdition) -> TrustRules {
    TrustRules {
        edition,
        keys: auth.key_configs().iter().map(KeyConfig::mark).collect(),
        key_set: key_set_mark(auth),
        service: address_mark(auth.introspection.url.as_ref()),
        issuer: auth.issuer.as_deref().map(TrustMark::of),
    }
}

/// The address of the key set, if one is fetched.
pub(in crate::gateway) fn key_set_mark(auth: &AuthSection) -> Option<TrustMark> {
    address_mark(auth.jwks.url.as_ref())
}

fn address_mark(url: Option<&Url>) -> Option<TrustMark> {
    url.map(|url| TrustMark::of(url.whole()))
}

/// The endpoint of introspection, if one is configured.
pub(in crate::gateway) fn introspection_endpoint(
    auth: &AuthSection,
) -> Result<Option<Endpoint>, TargetError> {
    let IntrospectionConfig { url, client_id, client_secret, .. } = &auth.introspection;
    let text = |secret: &Secret| String::from_utf8_lossy(secret.bytes()).into_owned();
    let login = match (client_id, client_secret) {
        (Some(client), Some(secret)) => Login::Basic { client: client.clone(), secret: text(secret) },
        (None, Some(secret)) => Login::Bearer(text(secret)),
        (_, None) => Login::AsAddressed,
    };
    url.as_ref().map(|url| Endpoint::parse(url.whole(), login)).transpose()
}

/// The endpoint of the key set, if one is configured.
pub(in crate::gateway) fn key_set_endpoint(auth: &AuthSection) -> Result<Option<Endpoint>, TargetError> {
    auth.jwks.url.as_ref().map(|url| Endpoint::parse(url.whole(), Login::AsAddressed)).transpose()
}

/// Reports a data folder that is something else.
pub(super) fn check_folder(config: &Config, report: &mut ProblemList) {
    let path = &config.store.data;
    if report.accepted(&["store.data"]) && path.metadata().is_ok_and(|found| !found.is_dir()) {
        let fault = ConfigFault::NotAFolder { path: path.clone() };
        report.add(config.origins.of("store.data").clone(), "store.data", fault);
    }
}

/// Values that are accepted, but probably not meant.
pub(super) fn warnings(dependencies: &[DependencyConfig], config: &Config) -> Vec<ConfigWarning> {
    auth_warnings(config).into_iter().chain(unused_parameters(dependencies, config)).collect()
}

fn auth_warnings(config: &Config) -> Vec<ConfigWarning> {
    let auth = &config.auth;
    let keys = auth.key_configs();
    let is_public = |key: &KeyConfig| key.algorithm != Algorithm::Hs256;
    let is_shared = auth.service().is_some() || keys.iter().any(is_public);
    let without_audience = (is_shared && auth.audience.is_none()).then_some((
        "auth.audience",
        "not set, so a token that the issuer made for another app opens a session here: set it",
    ));
    let unnamed =
        |algorithm| keys.iter().filter(|key| key.algorithm == algorithm && key.kid.is_none()).count();
    let too_many = Algorithm::ALL.into_iter().any(|algorithm| unnamed(algorithm) > TRIES_MAX).then_some((
        "auth.keys",
        "more than 4 keys of one algorithm have no kid, and a token is tried with 4 at most: give each key a kid",
    ));
    let warning = |(setting, text): (&'static str, &str)| ConfigWarning {
        origin: config.origins.of(setting).clone(),
        key: setting.into(),
        text: text.into(),
    };
    without_audience.into_iter().chain(too_many).map(warning).collect()
}

/// The parameters of addresses that have no effect.
fn unused_parameters(dependencies: &[DependencyConfig], config: &Config) -> Vec<ConfigWarning> {
    let warning = |each: &DependencyConfig, parameter: &str| {
        let key = match &*each.definition.name {
            "store" => "store.url",
            "bus" => "bus.url",
            _ => "dependency.url",
        };
        let origin = match key {
            "dependency.url" => each.origin.clone(),
            setting => config.origins.of(setting).clone(),
        };
        let text = format!("the parameter `{parameter}` has no effect here: leave it out");
        ConfigWarning { origin, key: key.into(), text }
    };
    let parameters =
        |each: &DependencyConfig| each.parsed.clone().into_iter().flat_map(|it| it.unused().to_vec());
    dependencies
        .iter()
        .flat_map(|each| parameters(each).map(|parameter| warning(each, parameter)).collect::<Vec<_>>())
        .collect()
}
