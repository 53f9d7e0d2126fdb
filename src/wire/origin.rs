//! The site that a request is for, and the site whose page sent it.
//!
//! A browser reports both truthfully, so they keep pages of other sites out. `Origin` names the page. The name in
//! `Host` reveals DNS rebinding, in which an attacker's name resolves to loopback. Other programs can send anything;
//! tokens protect against them.

use std::fmt;
use std::net::Ipv6Addr;

/// `name[:port]` of a `Host` field or a URI's authority (RFC 3986 section 3.2), without user information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// A DNS name, an IPv4 address, or an IPv6 address in brackets.
    pub name: &'a str,
    /// The port, if one is written.
    pub port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Parses a host; `None` if it is invalid or ambiguous.
    ///
    /// A name has only letters, digits and `-._~`. RFC 3986 allows more, but DNS does not, and an encoded name could
    /// equal another one without looking the same.
    pub fn parse(text: &'a [u8]) -> Option<Host<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        let (name, port) = if text.starts_with('[') {
            let (name, rest) = text.split_at(text.find(']')? + 1);
            name.get(1..name.len() - 1)?.parse::<Ipv6Addr>().ok()?;
            (name, if rest.is_empty() { "" } else { rest.strip_prefix(':')? })
        } else {
            let (name, port) = text.split_once(':').unwrap_or((text, ""));
            let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
            if name.is_empty() || !name.bytes().all(valid) {
                return None;
            }
            (name, port)
        };
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // `name:` is valid and means no port (RFC 3986 section 3.2.3).
        let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        Some(Host { name, port })
    }

    fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// The hosts for which the routes that expose chat answer.
#[derive(Clone, Copy, Debug)]
pub enum HostRule<'a> {
    /// Every host, because tokens control access.
    Any,
    /// `localhost`, `127.0.0.1`, `[::1]` and `server.hosts`: for loopback without auth, where DNS rebinding would let
    /// any web page read the chat.
    LoopbackOr(&'a [String]),
}

impl HostRule<'_> {
    /// True exactly when a request for this host may be served; one without a host only under `Any`.
    pub fn admits(&self, host: Option<Host<'_>>) -> bool {
        match (self, host) {
            (HostRule::Any, _) => true,
            (HostRule::LoopbackOr(_), None) => false,
            (HostRule::LoopbackOr(configured), Some(host)) => {
                ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host.is_named(name))
                    || configured.iter().any(|entry| {
                        Host::parse(entry.as_bytes()).is_some_and(|allowed| host.is_named(allowed.name))
                    })
            }
        }
    }
}

/// The scheme with which clients reach this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain connections arrive here, and TLS may have ended at a proxy before.
    Either,
    /// TLS ends here.
    Https,
}

/// The longest origin that is repeated to a client or in the log.
const SHOWN_BYTES_MAX: usize = 100;

/// The origin as text if it is a scheme, a host and perhaps a port, and not too long to be repeated.
pub fn shown_origin(origin: &[u8]) -> Option<&str> {
    let parsed = PageOrigin::parse(origin)?;
    let is_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let is_shown =
        origin.len() <= SHOWN_BYTES_MAX && !parsed.scheme.is_empty() && parsed.scheme.bytes().all(is_scheme);
    std::str::from_utf8(origin).ok().filter(|_| is_shown)
}

/// An entry of `server.origins`.
enum OriginRule<'a> {
    /// `*`: pages of every site.
    Any,
    Exact(PageOrigin<'a>),
    /// `http://localhost:*`: one host on every port.
    AnyPort {
        scheme: &'a str,
        host: Host<'a>,
    },
    /// `https://*.example.com`: every host below a domain, at any depth, and not the domain itself.
    Below {
        scheme: &'a str,
        domain: Host<'a>,
    },
}

impl<'a> OriginRule<'a> {
    /// Reads an entry; `None` if it is none of the forms.
    fn parse(entry: &'a str) -> Option<OriginRule<'a>> {
        if entry == "*" {
            return Some(OriginRule::Any);
        }
        let entry = entry.strip_suffix('/').unwrap_or(entry);
        let (scheme, rest) = entry.split_once("://")?;
        if let Some(host) = rest.strip_suffix(":*") {
            let host = Host::parse(host.as_bytes()).filter(|host| host.port.is_none())?;
            return Some(OriginRule::AnyPort { scheme, host });
        }
        if let Some(domain) = rest.strip_prefix("*.") {
            return Some(OriginRule::Below { scheme, domain: Host::parse(domain.as_bytes())? });
        }
        PageOrigin::parse(entry.as_bytes()).map(OriginRule::Exact)
    }

    fn admits(&self, origin: &PageOrigin<'_>) -> bool {
        match self {
            OriginRule::Any => true,
            OriginRule::Exact(allowed) => origin.equals(allowed),
            OriginRule::AnyPort { scheme, host } => {
                origin.scheme.eq_ignore_ascii_case(scheme) && origin.host.is_named(host.name)
            }
            OriginRule::Below { scheme, domain } => {
                let at = origin.host.name.len().checked_sub(domain.name.len());
                let parts = at.and_then(|at| origin.host.name.split_at_checked(at));
                let port = |port: Option<u16>| port.or(origin.default_port());
                origin.scheme.eq_ignore_ascii_case(scheme)
                    && parts.is_some_and(|(below, name)| {
                        below.len() > 1 && below.ends_with('.') && domain.is_named(name)
                    })
                    && port(origin.host.port) == port(domain.port)
            }
        }
    }
}

/// A page's origin (RFC 6454 section 7): scheme, host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PageOrigin<'a> {
    scheme: &'a str,
    host: Host<'a>,
}

impl<'a> PageOrigin<'a> {
    fn parse(text: &'a [u8]) -> Option<PageOrigin<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        let (scheme, rest) = text.split_once("://")?;
        Some(PageOrigin { scheme, host: Host::parse(rest.as_bytes())? })
    }

    fn default_port(&self) -> Option<u16> {
        if self.scheme.eq_ignore_ascii_case("http") {
            Some(80)
        } else if self.scheme.eq_ignore_ascii_case("https") {
            Some(443)
        } else {
            None
        }
    }

    /// True exactly when `host` served a page of this origin. If TLS may end before this gateway, the scheme is not
    /// compared. If it ends here, a page that was served in plain is foreign, because anyone on the path could have
    /// written it. A `Host` without a port means the default port of the page's scheme.
    fn is_own(&self, host: &Host<'_>, scheme: Scheme) -> bool {
        if scheme == Scheme::Https && !self.scheme.eq_ignore_ascii_case("https") {
            return false;
        }
        let Some(default) = self.default_port() else { return false };
        self.host.is_named(host.name) && self.host.port.unwrap_or(default) == host.port.unwrap_or(default)
    }

    fn equals(&self, other: &PageOrigin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.is_named(other.host.name)
            && self.host.port.or(self.default_port()) == other.host.port.or(other.default_port())
    }
}

/// True exactly when a page of this `Origin` may open a connection: the host's own page, or one of `server.origins`.
/// `null` never may, because every sandboxed frame of every site has it.
pub fn admits_origin(origin: &[u8], host: Option<Host<'_>>, configured: &[String], scheme: Scheme) -> bool {
    let Some(origin) = PageOrigin::parse(origin) else { return false };
    host.is_some_and(|host| origin.is_own(&host, scheme))
        || configured.iter().any(|entry| OriginRule::parse(entry).is_some_and(|rule| rule.admits(&origin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_a_name_with_an_optional_port() {
        let host = |text: &'static str| Host::parse(text.as_bytes()).map(|h| (h.name, h.port));
        assert_eq!(host("chat.example"), Some(("chat.example", None)));
        assert_eq!(host("chat.example:8080"), Some(("chat.example", Some(8080))));
        assert_eq!(host("chat.example:"), Some(("chat.example", None)));
        assert_eq!(host("127.0.0.1:0080"), Some(("127.0.0.1", Some(80))));
        assert_eq!(host("[::1]"), Some(("[::1]", None)));
        assert_eq!(host("[2001:db8::1]:443"), Some(("[2001:db8::1]", Some(443))));
        let wrong = [
            "",
            ":80",
            "a b",
            "a,b",
            "a@b",
            "user:pw@b",
            "a/b",
            "a:b",
            "a:65536",
            "a:+1",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[]",
            "[a]",
            "[127.0.0.1]",
            "a%2eb",
            "é",
            "a\\b",
            "http://a",
            "[::1%25lo]",
        ];
        for text in wrong {
            assert_eq!(Host::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Host::parse(b"\xff"), None);
    }

    #[test]
    fn loopback_without_auth_admits_only_its_own_names() {
        let hosts = ["chat.local".to_string(), "box:8080".to_string()];
        let rule = HostRule::LoopbackOr(&hosts);
        for text in
            ["localhost", "LocalHost:8080", "127.0.0.1:1", "[::1]:8080", "chat.local", "CHAT.local:9", "box"]
        {
            assert!(rule.admits(Host::parse(text.as_bytes())), "{text}");
        }
        for text in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "localhost.", "10.0.0.1"] {
            assert!(!rule.admits(Host::parse(text.as_bytes())), "{text}");
        }
        assert!(!rule.admits(None));
        assert!(HostRule::Any.admits(None) && HostRule::Any.admits(Host::parse(b"evil.example")));
    }

    #[test]
    fn origin_is_own_by_name_and_port_under_either_scheme() {
        let table = [
            ("http://chat.example", "chat.example", true),
            ("https://chat.example", "chat.example", true),
            ("https://CHAT.example", "chat.EXAMPLE", true),
            ("https://chat.example", "chat.example:443", true),
            ("https://chat.example:443", "chat.example", true),
            ("http://chat.example", "chat.example:80", true),
            ("http://localhost:8080", "localhost:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("https://chat.example", "chat.example:80", false),
            ("http://chat.example:443", "chat.example", false),
            ("http://localhost:3000", "localhost:8080", false),
            ("http://localhost:8080", "localhost", false),
            ("http://localhost:8080", "127.0.0.1:8080", false),
            ("https://evil.example", "chat.example", false),
            ("https://chat.example.evil.example", "chat.example", false),
            ("capacitor://localhost", "localhost", false),
            ("null", "localhost", false),
            ("", "localhost", false),
            ("localhost", "localhost", false),
            ("http://localhost/", "localhost", false),
            ("http://localhost http://evil.example", "localhost", false),
            ("http://evil@localhost", "localhost", false),
        ];
        for (origin, host, own) in table {
            let host = Host::parse(host.as_bytes());
            assert!(host.is_some());
            assert_eq!(
                admits_origin(origin.as_bytes(), host, &[], Scheme::Either),
                own,
                "{origin} at {host:?}"
            );
        }
        assert!(!admits_origin(b"http://localhost", None, &[], Scheme::Either));
    }

    #[test]
    fn where_tls_ends_here_only_a_page_that_came_by_tls_is_own() {
        let table = [
            ("https://chat.example", "chat.example", true),
            ("HTTPS://chat.example", "chat.example:443", true),
            ("https://localhost:8443", "localhost:8443", true),
            ("http://chat.example", "chat.example", false),
            ("http://localhost:8443", "localhost:8443", false),
            ("https://chat.example", "chat.example:8443", false),
        ];
        for (origin, host, own) in table {
            let host = Host::parse(host.as_bytes());
            assert_eq!(
                admits_origin(origin.as_bytes(), host, &[], Scheme::Https),
                own,
                "{origin} at {host:?}"
            );
        }
        let configured = ["http://chat.example".to_owned()];
        let host = Host::parse(b"chat.example");
        assert!(admits_origin(b"http://chat.example", host, &configured, Scheme::Https), "said by name");
    }

    #[test]
    fn star_admits_a_label_or_a_port_and_nothing_more() {
        let table = [
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.EXAMPLE.com:443", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            ("https://*.example.com", "http://a.example.com", false),
            ("https://*.example.com", "https://a.example.com:8443", false),
            ("https://*.example.com", "https://a.example.com.evil.example", false),
            ("https://*.example.com:8443", "https://a.example.com:8443", true),
            ("http://localhost:*", "http://localhost:5173", true),
            ("http://localhost:*", "http://localhost", true),
            ("http://localhost:*", "https://localhost:5173", false),
            ("http://localhost:*", "http://localhost.evil.example:5173", false),
            ("*", "https://anything.example", true),
            ("*", "null", false),
        ];
        let host = Host::parse(b"gateway.internal");
        for (entry, origin, admitted) in table {
            let configured = [entry.to_owned()];
            assert_eq!(
                admits_origin(origin.as_bytes(), host, &configured, Scheme::Either),
                admitted,
                "{origin} by {entry}"
            );
        }
    }

    #[test]
    fn only_a_plain_short_origin_is_repeated() {
        assert_eq!(shown_origin(b"http://localhost:5173"), Some("http://localhost:5173"));
        let long = format!("https://{}.example", "a".repeat(100));
        for origin in ["null", "", "ja\"va://a", "://a", "https://a\u{e9}", "https://a b", &long] {
            assert_eq!(shown_origin(origin.as_bytes()), None, "{origin}");
        }
    }

    #[test]
    fn a_configured_origin_is_compared_whole() {
        let configured: Vec<String> =
            ["https://app.example", "http://dev.example:3000/", "capacitor://localhost", "null", "junk"]
                .map(String::from)
                .to_vec();
        let host = Host::parse(b"chat.example");
        for origin in [
            "https://app.example",
            "https://APP.example:443",
            "http://dev.example:3000",
            "capacitor://localhost",
        ] {
            assert!(admits_origin(origin.as_bytes(), host, &configured, Scheme::Either), "{origin}");
        }
        for origin in [
            "http://app.example",
            "https://app.example:444",
            "http://dev.example",
            "ionic://localhost",
            "null",
            "junk",
        ] {
            assert!(!admits_origin(origin.as_bytes(), host, &configured, Scheme::Either), "{origin}");
        }
    }
}
