//! The checks on every request that a browser could have sent for another site. No socket.

use crate::admin::refusal::AdminRefusal;
use crate::wire::origin::{HostRule, Scheme, admits_origin};
use crate::wire::request::Head;
use std::net::SocketAddr;

/// The hosts of the admin listener.
#[derive(Clone, Debug, Default)]
pub struct PageRules {
    /// `admin.hosts` if the listener is on loopback, where a rebound name could reach it; `None`: every host.
    hosts: Option<Vec<String>>,
}

impl PageRules {
    /// The rules of a listener at this address.
    pub fn new(address: SocketAddr, hosts: &[String]) -> PageRules {
        let is_loopback = address.ip().to_canonical().is_loopback();
        PageRules { hosts: is_loopback.then(|| hosts.to_vec()) }
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
        let rules = PageRules::new(address.parse().expect("an address"), &["ops.example".into()]);
        let text = format!("GET /console/live HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
        let Parsed::Complete(head) = parse(text.as_bytes(), HeadLimits::from(&Limits::default())) else {
            panic!("a head: {text}")
        };
        rules.check(&head).err().map(|refusal| refusal.status)
    }

    #[test]
    fn loopback_answers_to_its_own_names_and_pages_only() {
        let loopback = |host, lines| verdict("127.0.0.1:8081", host, lines);
        for host in ["localhost:9000", "127.0.0.1:8081", "[::1]:8081", "ops.example"] {
            assert_eq!(loopback(host, ""), None, "{host}");
        }
        assert_eq!(loopback("evil.example:8081", ""), Some(403));
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
