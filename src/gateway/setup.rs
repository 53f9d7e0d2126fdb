//! The setup that reactors share, built at the start and at each reload.

use super::config::sections::TlsSection;
use super::config::{Config, ProxyProtocol};
use crate::engine::{self, Addresses, Echo, Hosts, LinkTokens, ProxyHeader};
use crate::job::Outlook;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::reactor::{Clock, Port, ShellSetup};
use crate::session::{AuthMode, Policy};
use std::sync::Arc;

/// The parts of a setup that a reload does not change.
pub(super) struct Fixed<'a> {
    pub(super) reactors: usize,
    pub(super) clock: Clock,
    pub(super) outlook: &'a Arc<Outlook>,
    pub(super) vitals: &'a Arc<Vitals>,
    pub(super) metrics: &'a Arc<Metrics>,
}

/// Builds the setup, with `tls` if the listener is encrypted.
pub(super) fn setup(
    config: &Config,
    fixed: &Fixed<'_>,
    policy: Policy,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> ShellSetup {
    let limits = &config.limits;
    let server = &config.server;
    let counts = limits.connections_per_address > 0 || limits.handshakes_per_s > 0;
    let engine = engine::Setup {
        hosts: match policy.auth {
            AuthMode::Required => Hosts::Any,
            AuthMode::Off => Hosts::LoopbackOr(server.hosts.clone()),
        },
        policy,
        origins: server.origins.clone(),
        trusted_proxies: server.trusted_proxies.clone(),
        proxy_header: match server.proxy_protocol {
            ProxyProtocol::Off => ProxyHeader::Off,
            ProxyProtocol::Required => ProxyHeader::Required,
        },
        echo: if server.echo { Echo::On } else { Echo::Off },
        hsts: tls.as_ref().and_then(|_| hsts(&config.tls)),
        link_tokens: if server.link_tokens { LinkTokens::Accepted } else { LinkTokens::Ignored },
        addresses: if counts { Addresses::Counted } else { Addresses::Uncounted },
        reactors: fixed.reactors,
        outlook: Arc::clone(fixed.outlook),
        vitals: Arc::clone(fixed.vitals),
        metrics: Arc::clone(fixed.metrics),
    };
    ShellSetup { engine: Arc::new(engine), port: port(config), clock: fixed.clock, tls }
}

/// The rule for browsers that they come back over TLS.
fn hsts(tls: &TlsSection) -> Option<Arc<str>> {
    let max_age_s = tls.hsts_max_age_s;
    (max_age_s > 0).then(|| Arc::from(format!("max-age={max_age_s}")))
}

/// The port is shared if a successor may listen at the same address.
pub(super) fn port(config: &Config) -> Port {
    if config.server.takeover { Port::Shared } else { Port::Own }
}
