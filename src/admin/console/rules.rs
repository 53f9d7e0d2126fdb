//! The checks on every request that a browser could have sent for another site. No socket.

use crate::admin::refusal::AdminRefusal;
use crate::wire::origin::{HostRule, Scheme, admits_origin};
use crate::wire::request::Head;
use std::net::{IpAddr, SocketAddr};

/// The hosts of the admin listener.
#[derive(Clone, Debug, Default)]
pub struct PageRules {
    /// If the listener is on loopback, where a rebound name could reach it: its own address, the host of `admin.url` and
    /// `admin.hosts`. `None`: every host.
    hosts: Option<Vec<String>>,
}

impl PageRules {
    /// The rules of a listener at this address, with `admin.hosts` and `admin.url`.
    pub fn new(address: SocketAddr, hosts: &[String], url: Option<&str>) -> PageRules {
        if !address.ip().to_canonical().is_loopback() {
            return PageRules::default();
        }
        let own = match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let named = url.and_then(|url| url.split_once("://")).map(|(_, rest)| rest);
        let named = named.and_then(|rest| rest.split('/').next()).map(str::to_owned);
        PageRules { hosts: Some(hosts.iter().cloned().chain([own]).chain(named).collect()) }
    }

    /// Checks `Host`, against names that were rebound to this address.
    pub fn check_host(&self, head: &Head<'_>) -> Result<(), AdminRefusal> {
        let rule = self.hosts.as_deref().map_or(HostRule::Any, HostRule::LoopbackOr);
        if rule.admits(head.host) { Ok(()) } else { Err(AdminRefusal::host_forbidden()) }
    }

    /// Checks `Host`, and that the request comes from a page of this listener or from no page at all.
    pub fn check(&self, head: &Head<'_>) -> Result<(), AdminRefusal> {
        self.check_host(head)?;
        let is_foreign = |origin| !admits_origin(origin, head.host, &[], Scheme::Either);
        let mut sites = head.values("sec-fetch-site");
        if head.values("origin").any(is_foreign)
            || sites.any(|site| !matches!(site, b"same-origin" | b"none"))
        {
            return Err(AdminRefusal::origin_forbidden());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::wire::request::{HeadLimits, Parsed, parse};

    fn verdict(address: &str, host: &str, lines: &str) -> Option<u16> {
        let url = Some("https://gw-1.example:8443/seawall");
        let rules = PageRules::new(address.parse().expect("an address"), &["ops.example".into()], url);
        let text = format!("GET /console/live HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
        let Parsed::Complete(head) = parse(text.as_bytes(), HeadLimits::from(&Limits::default())) else {
            panic!("a head: {text}")
        };
        rules.check(&head).err().map(|refusal| refusal.status)
    }

    #[test]
    fn loopback_answers_to_its_own_names_and_pages_only() {
        let loopback = |host, lines| verdict("127.0.0.1:8081", host, lines);
        for host in ["localhost:9000", "127.0.0.1:8081", "[::1]:8081", "ops.example", "gw-1.example"] {
            assert_eq!(loopback(host, ""), None, "{host}");
        }
        assert_eq!(loopback("evil.example:8081", ""), Some(403));
        assert_eq!(verdict("127.0.0.2:8081", "127.0.0.2:8081", ""), None);
        assert_eq!(loopback("127.0.0.2:8081", ""), Some(403), "another address");
        assert_eq!(verdict("[::ffff:127.0.0.1]:8081", "[::ffff:127.0.0.1]:8081", ""), None);
        assert_eq!(verdict("192.0.2.7:8081", "any.example", ""), None);
        let own = "Origin: http://localhost:8081\r\nSec-Fetch-Site: same-origin\r\n";
        assert_eq!(loopback("localhost:8081", own), None);
        for wrong in [
            "Origin: http://localhost:8080\r\n",
            "Origin: null\r\n",
            "Sec-Fetch-Site: same-site\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
        ] {
            assert_eq!(loopback("localhost:8081", wrong), Some(403), "{wrong}");
        }
        assert_eq!(loopback("localhost:8081", "Sec-Fetch-Site: none\r\n"), None);
    }
}
