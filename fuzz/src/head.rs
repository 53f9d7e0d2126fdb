//! HTTP heads: the first bytes of any peer.
//!
//! The input is the received bytes. Checked properties: a split never changes the outcome; a head ends where a naive
//! reader of RFC 9112 sees its end, so that no two readers disagree about the bytes that follow; every accepted upgrade is
//! valid, and no answer repeats a line end of the peer.

use ipnet::IpNet;
use seawall::limits::Limits;
use seawall::wire::fault::HttpFault;
use seawall::wire::origin::{HostRule, Scheme};
use seawall::wire::proxy::forwarded_for;
use seawall::wire::request::{Body, Head, HeadLimits, Parsed, Route, Version, parse};
use seawall::wire::response;
use seawall::wire::upgrade::{self, OfferedVersion, Site, Upgrade, UpgradePolicy};
use std::net::{IpAddr, Ipv4Addr};

/// Small bounds, so that a fuzzer's short inputs reach each of them.
const SMALL: HeadLimits = HeadLimits { head_bytes: 300, headers: 4, uri_bytes: 40 };
/// The maximum number of prefixes tried per input; each costs several times as much as the input itself.
const CUTS_MAX: usize = 96;

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    for limits in [SMALL, HeadLimits::from(&Limits::default())] {
        let whole = outcome(bytes, limits);
        for end in cuts(bytes.len()) {
            let part = outcome(&bytes[..end], limits);
            assert!(part == Outcome::Partial || part == whole, "cut at {end}: {part:?}, whole: {whole:?}");
        }
        match parse(bytes, limits) {
            Parsed::Partial => {
                assert!(bytes.len() < limits.head_bytes, "an input over the bound is not refused")
            }
            Parsed::Refused(fault) => assert!((400..=599).contains(&fault.status())),
            Parsed::Complete(head) => {
                check_framing(bytes, &head, limits);
                check_upgrade(&head);
                check_forwarded(&head);
            }
        }
    }
}

/// The result compared between a head and its prefixes.
#[derive(Debug, PartialEq)]
enum Outcome {
    Partial,
    Complete { length: usize, served: Result<(), HttpFault> },
    Refused(HttpFault),
}

fn outcome(bytes: &[u8], limits: HeadLimits) -> Outcome {
    match parse(bytes, limits) {
        Parsed::Partial => Outcome::Partial,
        Parsed::Refused(fault) => Outcome::Refused(fault),
        Parsed::Complete(head) => Outcome::Complete { length: head.length, served: head.serve() },
    }
}

/// All lengths of a short input, or evenly spread lengths of a long one.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by((length / CUTS_MAX).max(1))
}

/// Checks that a reader that knows only CR LF sees the same head.
fn check_framing(bytes: &[u8], head: &Head<'_>, limits: HeadLimits) {
    assert!(head.length <= bytes.len() && head.length <= limits.head_bytes);
    let text = &bytes[..head.length];
    let start = text.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).expect("a request line");
    let text = &text[start..];
    let end = text.windows(4).position(|four| four == b"\r\n\r\n").expect("an empty line");
    assert_eq!(end + 4, text.len(), "a head ends at its first empty line");
    let lone = text
        .iter()
        .enumerate()
        .any(|(at, byte)| *byte == b'\n' && text.get(at.wrapping_sub(1)) != Some(&b'\r'));
    assert!(!lone, "a bare line feed does not end a line");
    assert!(!text.contains(&0));
    let named = |name: &str| head.values(name).count();
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    assert!(lengths <= 1 && (lengths == 0 || codings == 0), "the length is ambiguous");
    assert!(codings == 0 || head.body == Body::Declared);
    assert!(head.body == Body::None || head.serve().is_err(), "no body is ever read");
    assert!(named("host") <= 1);
    assert!(head.host.is_some() || head.version == Version::Http10);
    assert!(head.path.starts_with('/') && head.path.is_ascii() && !head.path.contains(['?', '#', ' ']));
}

fn check_upgrade(head: &Head<'_>) {
    let configured = ["https://app.example".to_owned()];
    let rules = [HostRule::Any, HostRule::LoopbackOr(&[])];
    for hosts in rules {
        for origins in [&[][..], &configured] {
            match upgrade::check(head, &UpgradePolicy { origins, hosts, scheme: Scheme::Either }) {
                Ok(upgrade) => check_accepted(head, &upgrade, origins, hosts),
                Err(fault) => assert!((400..=599).contains(&fault.status())),
            }
        }
    }
}

fn check_accepted(head: &Head<'_>, upgrade: &Upgrade<'_>, origins: &[String], hosts: HostRule<'_>) {
    assert_eq!(head.serve(), Ok(()));
    assert!(matches!(head.route, Route::Ws | Route::Echo) && head.version == Version::Http11);
    assert!(upgrade.accept.len() == 28 && upgrade.accept.is_ascii());
    assert!(upgrade.token.is_none_or(|token| token.bytes().all(|byte| byte.is_ascii_graphic())));
    assert!(
        head.route == Route::Ws || (upgrade.version == OfferedVersion::NotNamed && upgrade.token.is_none())
    );
    let host = head.host.expect("HTTP/1.1 has one").name.to_ascii_lowercase();
    if let HostRule::LoopbackOr(_) = hosts {
        let is_own = ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str());
        assert_eq!(is_own, upgrade.site != Site::ForeignHost, "rebinding: {host}");
    }
    for origin in head.values("origin") {
        let origin = std::str::from_utf8(origin).expect("a page's origin is text").to_ascii_lowercase();
        let page = origin.split_once("://").map_or("", |(_, rest)| rest);
        let own = page.strip_prefix(&host).is_some_and(|port| port.is_empty() || port.starts_with(':'));
        let named = origins.iter().any(|entry| origin.starts_with(entry.as_str()));
        assert!(own || named || upgrade.site != Site::Admitted, "a page of {origin} at {host}");
    }
    let mut out = Vec::new();
    response::switching(&mut out, upgrade);
    let text = std::str::from_utf8(&out).expect("an answer is text");
    let lines = text.split("\r\n").count() - 2;
    let expected = 4 + usize::from(upgrade.version != OfferedVersion::NotNamed);
    assert!(text.ends_with("\r\n\r\n") && lines == expected, "a line was injected: {text:?}");
}

/// Checks that an untrusted peer cannot choose its own address.
fn check_forwarded(head: &Head<'_>) {
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    let values = || head.values("x-forwarded-for");
    assert_eq!(forwarded_for(values(), peer, &[]), peer);
    let trusted: Vec<IpNet> =
        ["192.0.2.0/24", "10.0.0.0/8"].iter().filter_map(|net| net.parse().ok()).collect();
    let client = forwarded_for(values(), peer, &trusted);
    // If the named client is not trusted, addresses to the left of it change nothing.
    let is_trusted = trusted.iter().any(|net| net.contains(&client));
    if !is_trusted {
        let spoofed = std::iter::once(&b"198.51.100.1"[..]).chain(values()).collect::<Vec<_>>();
        assert_eq!(forwarded_for(spoofed.into_iter(), peer, &trusted), client);
    }
}
