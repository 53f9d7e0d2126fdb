//! Which site a request is for, and which site's page sent it.
//!
//! A browser tells both truthfully, so they keep other people's pages out: `Origin` names the page, and the
//! name in `Host` shows whether DNS was turned against us (rebinding: a name of the attacker's that resolves
//! to loopback). Programs that are no browsers can say anything; tokens are for them.

use std::net::Ipv6Addr;

/// `name[:port]` of a `Host` field or a URI's authority (RFC 3986 section 3.2), without user information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// A DNS name, an IPv4 address, or an IPv6 address in brackets.
    pub name: &'a str,
    /// The port, when one is written.
    pub port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads a host; `None` when it is none, or spelt in a way that could be read in two.
    ///
    /// A name has letters, digits and `-._~` only: RFC 3986 allows more, DNS does not, and an encoded name
    /// equals another without looking so.
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

/// Which hosts the routes that show chat answer to.
#[derive(Clone, Copy, Debug)]
pub enum HostRule<'a> {
    /// Every host: a token says who may read.
    Any,
    /// `localhost`, `127.0.0.1`, `[::1]` and `server.hosts`: for loopback without auth, where DNS rebinding
    /// would let any web page read the chat.
    LoopbackOr(&'a [String]),
}

impl HostRule<'_> {
    /// True exactly when a request for this host may be served; one without a host may only under `Any`.
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

/// How clients reach this gateway, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In plain as far as here, where TLS often ended before: it may be either.
    Either,
    /// By TLS that ends here.
    Https,
}

/// A page's origin (RFC 6454 section 7): scheme, host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin<'a> {
    scheme: &'a str,
    host: Host<'a>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a [u8]) -> Option<Origin<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        let (scheme, rest) = text.split_once("://")?;
        Some(Origin { scheme, host: Host::parse(rest.as_bytes())? })
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

    /// Whether a page of this origin was served by `host`. Where TLS may end before us the scheme does not count; where
    /// it ends here a page that came in plain is not ours: whoever is on the way could have written it. A `Host` without
    /// a port means the default one of the page's scheme.
    fn is_own(&self, host: &Host<'_>, scheme: Scheme) -> bool {
        if scheme == Scheme::Https && !self.scheme.eq_ignore_ascii_case("https") {
            return false;
        }
        let Some(default) = self.default_port() else { return false };
        self.host.is_named(host.name) && self.host.port.unwrap_or(default) == host.port.unwrap_or(default)
    }

    fn equals(&self, other: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.is_named(other.host.name)
            && self.host.port.or(self.default_port()) == other.host.port.or(other.default_port())
    }
}

/// True exactly when a page of this `Origin` may open a connection: the host's own page, or one of
/// `server.origins`. `null` never may: every sandboxed frame of every site has it.
pub fn admits_origin(origin: &[u8], host: Option<Host<'_>>, configured: &[String], scheme: Scheme) -> bool {
    let Some(origin) = Origin::parse(origin) else { return false };
    host.is_some_and(|host| origin.is_own(&host, scheme))
        || configured.iter().any(|entry| {
            let entry = entry.strip_suffix('/').unwrap_or(entry);
            Origin::parse(entry.as_bytes()).is_some_and(|allowed| origin.equals(&allowed))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port() {
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
    fn loopback_without_auth_answers_to_its_own_names_only() {
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
    fn an_origin_is_own_by_name_and_port_whatever_the_scheme() {
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
