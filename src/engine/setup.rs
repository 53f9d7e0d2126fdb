//! The settings that a reactor's decisions depend on. A reload replaces them as a whole.

use crate::job::Outlook;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::session::Policy;
use crate::wire::origin::HostRule;
use std::sync::Arc;

/// Settings and shared readings, the same for every reactor of a process.
pub struct Setup {
    /// Applies to every session.
    pub policy: Policy,
    /// `server.origins`
    pub origins: Vec<String>,
    /// The hosts that the chat answers to.
    pub hosts: Hosts,
    /// `server.trusted_proxies`
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// `server.proxy_protocol`
    pub proxy_header: ProxyHeader,
    /// `server.echo`
    pub echo: Echo,
    /// `server.link_tokens`
    pub link_tokens: LinkTokens,
    /// The value of `Strict-Transport-Security`; `None` without TLS or `tls.hsts_max_age_s`.
    pub hsts: Option<Arc<str>>,
    /// Counted if `limits.connections_per_address` or `limits.handshakes_per_s` is set.
    pub addresses: Addresses,
    /// The number of reactors: each has this share of the process's bounds.
    pub reactors: usize,
    /// Read for health reports and capacity; each reactor writes its own connection count and drain progress.
    pub vitals: Arc<Vitals>,
    /// Read for `/health/dependencies`.
    pub outlook: Arc<Outlook>,
    /// Read for `/metrics`.
    pub metrics: Arc<Metrics>,
}

/// The hosts that the chat answers to.
#[derive(Clone, Debug)]
pub enum Hosts {
    /// All: tokens keep strangers out.
    Any,
    /// Loopback names and these.
    LoopbackOr(Vec<String>),
}

impl Hosts {
    pub(super) fn rule(&self) -> HostRule<'_> {
        match self {
            Hosts::Any => HostRule::Any,
            Hosts::LoopbackOr(names) => HostRule::LoopbackOr(names),
        }
    }
}

/// The PROXY v2 header in front of each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Connections begin without it.
    Off,
    /// Every connection must begin with it, and must come from a trusted proxy.
    Required,
}

/// The WebSocket echo at `/echo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Not served.
    Off,
    /// Served.
    On,
}

/// Tokens in links to the page (`/#token=…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkTokens {
    /// The page ignores them.
    Ignored,
    /// The page signs in with them, after asking if it has another token.
    Accepted,
}

/// The count of connections per address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// No bound needs it.
    Uncounted,
    /// Kept by the auth worker.
    Counted,
}
