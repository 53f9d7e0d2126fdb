//! Secrets that would cross a network unencrypted, or go to a server whose certificate is not checked.

use super::auth::{INTROSPECTION_URL, JWKS_URL};
use super::error::{ConfigFault, ConfigWarning, ProblemList};
use super::prepare::{introspection_endpoint, key_set_endpoint};
use super::sections::Config;
use crate::net::auth_endpoint::Endpoint;
use crate::net::target::Target;

/// Setting that declares every network on the way as trusted.
const SILENCED_BY: &str = "server.insecure_ok";

/// Refuses what would let a network forge keys or read a secret that is made for the gateway alone.
pub(super) fn check(config: &Config, report: &mut ProblemList) {
    if config.server.insecure_ok || !report.accepted(&[SILENCED_BY]) {
        return;
    }
    let has_secret = config.auth.introspection.client_secret.is_some();
    let exposed = [
        (JWKS_URL, key_set_endpoint(&config.auth).ok().flatten()),
        (INTROSPECTION_URL, introspection_endpoint(&config.auth).ok().flatten().filter(|_| has_secret)),
    ];
    for (setting, endpoint) in exposed {
        if endpoint.as_ref().is_some_and(Endpoint::is_exposed) && report.accepted(&[setting]) {
            report.add(config.origins.of(setting).clone(), setting, ConfigFault::Unencrypted);
        }
    }
}

/// The settings that are accepted, but that an operator should know of.
pub(super) fn warnings(config: &Config) -> Vec<ConfigWarning> {
    if config.server.insecure_ok {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let mut warn = |key: &str, text: String| {
        let origin = config.origins.of(key).clone();
        let text = format!("{text}, or set {SILENCED_BY} if every network on the way is trusted");
        warnings.push(ConfigWarning { origin, key: key.into(), text });
    };
    let server = &config.server;
    let is_loopback = server.listen.ip().to_canonical().is_loopback();
    if config.auth.is_on()
        && !is_loopback
        && config.tls.certificate.is_none()
        && server.trusted_proxies.is_empty()
    {
        let text = "tokens and messages cross the network unencrypted: set tls.certificate and tls.key, or name the \
                    proxy that ends TLS in server.trusted_proxies";
        warn("server.listen", text.into());
    }
    if !config.api.tls && config.api.listen.is_some_and(|listen| !listen.ip().to_canonical().is_loopback()) {
        let text = "keys and messages cross the network unencrypted: set api.tls, with tls.certificate and tls.key, or listen on \
                    loopback and end TLS in front of it";
        warn("api.listen", text.into());
    }
    for dependency in &config.dependencies {
        if !dependency.parsed.as_ref().is_some_and(Target::is_exposed) {
            continue;
        }
        let (key, remedy) = match &*dependency.definition.name {
            "store" => ("store.url", "add sslmode=verify-full"),
            "bus" => ("bus.url", "use rediss://, rediss+sentinel:// or rediss+cluster://"),
            _ => ("dependency.url", "use TLS and check the certificate"),
        };
        let name = &dependency.definition.name;
        warn(key, format!("the network can read and change what is exchanged with {name}: {remedy}"));
    }
    if introspection_endpoint(&config.auth).ok().flatten().is_some_and(|endpoint| endpoint.is_exposed()) {
        warn(INTROSPECTION_URL, "tokens cross the network unencrypted: use https".into());
    }
    warnings
}
