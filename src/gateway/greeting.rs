//! The announcement that the gateway serves: a banner for people on stdout, and a line of the log.

use super::backing;
use super::capacity::ProcessBounds;
use super::config::Config;
use super::config::certificate::date;
use super::{auth, drain, output};
use crate::log::Format;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A started gateway as an operator should know it.
pub(super) struct Greeting<'a> {
    pub(super) config: &'a Config,
    pub(super) address: SocketAddr,
    pub(super) reactors: usize,
    pub(super) bounds: &'a ProcessBounds,
    pub(super) others: &'a OtherListeners,
}

/// The listeners that are not for clients.
pub(super) struct OtherListeners {
    /// The description of the admin listener.
    pub(super) admin: String,
    /// The address of the server API.
    pub(super) api: Option<String>,
}

impl Greeting<'_> {
    /// Logs `serving`. With a log for people, prints the banner as well; with a log for machines, stdout stays empty.
    pub(super) fn announce(&self, epoch: Option<String>) {
        match self.config.log.format {
            Format::Text => output::inform(&self.banner()),
            Format::Json => {}
        }
        tracing::info!(
            address = %self.address,
            reactors = self.reactors,
            epoch,
            version = env!("CARGO_PKG_VERSION"),
            store = backing::describe(self.config).as_str(),
            bus = self.config.bus.url.as_ref().map(ToString::to_string),
            connections = self.bounds.connections,
            descriptors = self.bounds.descriptors,
            auth = auth::describe(self.config).as_str(),
            tls_expires = self.tls_expiry(),
            admin = self.others.admin.as_str(),
            api = self.others.api.as_deref(),
            "serving"
        );
    }

    /// Programs read its first line, too.
    fn banner(&self) -> String {
        let Greeting { config, address, reactors, bounds, others } = self;
        let plural = if *reactors == 1 { "" } else { "s" };
        let (ws, http) = match &config.tls.identity {
            Some(_) => ("wss", "https"),
            None => ("ws", "http"),
        };
        let mut text = format!("listening on {ws}://{address}/ws\n");
        let link = linked(*address);
        let mut line = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<21}{value}");
        };
        line("chat in a browser", &format!("{http}://{link}/ (open it in two tabs)"));
        line("store", &backing::describe(config));
        if let Some(url) = &config.bus.url {
            line("bus", &format!("{url} (Redis)"));
        }
        let (connections, descriptors) = (bounds.connections, bounds.descriptors);
        line(
            "capacity",
            &format!(
                "{connections} connections ({descriptors} descriptors, raised to the hard limit), {reactors} reactor{plural}"
            ),
        );
        line("auth", &auth::describe(config));
        if let Some(command) = auth::first_command(config) {
            line("a first token", &command);
        }
        if let Some(expiry) = self.tls_expiry() {
            line("TLS", &format!("1.3 and 1.2; the certificate expires on {expiry}"));
        }
        if config.server.echo {
            line("echo", &format!("{ws}://{address}/echo"));
        }
        line("health, metrics", &format!("{http}://{link}/health  {http}://{link}/metrics"));
        line("admin", &others.admin);
        if let Some(api) = &others.api {
            line("server API", api);
        }
        line("stop", &drain::describe(config));
        text
    }

    fn tls_expiry(&self) -> Option<String> {
        self.config.tls.identity.as_ref().map(|identity| date(identity.validity.not_after).to_string())
    }
}

/// The address that a person on this machine can open: all addresses include loopback.
fn linked(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_of_all_addresses_is_that_of_this_machine() {
        for (address, link) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            assert_eq!(linked(address).to_string(), link);
        }
    }
}
