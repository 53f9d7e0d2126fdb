//! The canary from the configuration: its pass, its period, and the way to the listener.

use super::config::{Config, ProxyProtocol};
use crate::auth::canary_pass::{CanaryPass, PASS_BYTES};
use crate::canary::{self, CanaryParts, ListenerWires, ProxyWire, RunningCanary, TlsWire};
use crate::engine::Setup;
use crate::id::ChannelName;
use crate::reactor::Clock;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The period if clients of other machines can connect, and if they cannot.
const PERIOD: Duration = Duration::from_secs(10);
const LOOPBACK_PERIOD: Duration = Duration::from_secs(60);

/// The pass of the canary; `None` if there is none.
pub(super) fn pass(config: &Config) -> Result<Option<Arc<CanaryPass>>, String> {
    let address = reached(config.server.listen.ip());
    let server = &config.server;
    let is_trusted = || server.trusted_proxies.iter().any(|network| network.contains(&address));
    if !config.slo.enabled || period(config).is_zero() {
        return Ok(None);
    }
    if server.proxy_protocol == ProxyProtocol::Required && !is_trusted() {
        tracing::warn!(
            %address,
            hint = "add the address to server.trusted_proxies, or set slo.canary_ms to 0",
            "canary off: its address may send no PROXY header"
        );
        return Ok(None);
    }
    let mut secret = [0; PASS_BYTES];
    getrandom::fill(&mut secret).map_err(|error| format!("the system gives no randomness: {error}"))?;
    let channel = ChannelName::of_canary(&name(config));
    Ok(Some(Arc::new(CanaryPass::new(&secret, address, channel))))
}

/// Starts the thread if the setup has a pass for it.
pub(super) fn start(
    config: &Config,
    setup: &Setup,
    address: SocketAddr,
    clock: Clock,
) -> io::Result<Option<RunningCanary>> {
    let Some(pass) = &setup.policy.canary else { return Ok(None) };
    setup.metrics.slo.expect_canary(period(config));
    let parts = CanaryParts {
        pass: Arc::clone(pass),
        address: SocketAddr::new(reached(address.ip()), address.port()),
        wires: ListenerWires {
            tls: if config.tls.identity.is_some() { TlsWire::Tls } else { TlsWire::Plain },
            proxy: match config.server.proxy_protocol {
                ProxyProtocol::Off => ProxyWire::None,
                ProxyProtocol::Required => ProxyWire::Header,
            },
        },
        period: period(config),
        metrics: Arc::clone(&setup.metrics),
        vitals: Arc::clone(&setup.vitals),
    };
    canary::start(parts, move || clock.read()).map(Some)
}

fn period(config: &Config) -> Duration {
    let usual = if config.server.listen.ip().is_loopback() { LOOPBACK_PERIOD } else { PERIOD };
    config.slo.canary.unwrap_or(usual)
}

/// The address at which this process reaches a listener, and from which it then comes.
fn reached(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    }
}

/// The name of the canary, which is the same after a restart.
fn name(config: &Config) -> String {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = config.server.instance.clone().unwrap_or_else(host);
    if name.is_empty() { "local".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_looks_often_only_if_clients_of_other_machines_can_connect() {
        let mut config = Config::default();
        let mut with = |listen: &str, canary| {
            config.server.listen = listen.parse().expect("an address");
            config.slo.canary = canary;
            (period(&config), reached(config.server.listen.ip()).to_string())
        };
        assert_eq!(with("127.0.0.1:80", None), (LOOPBACK_PERIOD, "127.0.0.1".into()));
        assert_eq!(with("0.0.0.0:80", None), (PERIOD, "127.0.0.1".into()));
        assert_eq!(with("[::]:80", None), (PERIOD, "::1".into()));
        let second = Duration::from_secs(1);
        assert_eq!(with("192.0.2.7:80", Some(second)), (second, "192.0.2.7".into()));
    }

    #[test]
    fn there_is_a_pass_unless_the_canary_is_off_or_cannot_connect() {
        let mut config = Config::default();
        assert!(pass(&config).expect("randomness").is_some());
        config.server.proxy_protocol = ProxyProtocol::Required;
        assert!(pass(&config).expect("randomness").is_none(), "its address is not trusted");
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        assert!(pass(&config).expect("randomness").is_some());
        config.slo.canary = Some(Duration::ZERO);
        assert!(pass(&config).expect("randomness").is_none());
    }
}
