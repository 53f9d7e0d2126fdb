//! PROXY headers and forwarded addresses, as load balancers and attackers send them.

use super::*;
use proptest::prelude::*;

fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("short").to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, block].concat()
}

fn v4() -> Vec<u8> {
    vec![203, 0, 113, 7, 10, 0, 0, 1, 0xC3, 0x50, 0x01, 0xBB]
}

fn v6(source: &str) -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().expect("an address").octets();
    [&address(source)[..], &address("2001:db8::2"), &[0xC3, 0x50, 0x01, 0xBB]].concat()
}

fn socket(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

/// Checks the outcome of the whole header, also with the client's bytes after it, and that each prefix is partial.
fn assert_complete(bytes: &[u8], source: Option<SocketAddr>) {
    let complete = ProxyHead::Complete { length: bytes.len(), source };
    assert_eq!(proxy_v2(bytes), complete);
    assert_eq!(proxy_v2(&[bytes, b"GET / HTTP/1.1\r\n"].concat()), complete);
    for end in 0..bytes.len() {
        assert_eq!(proxy_v2(&bytes[..end]), ProxyHead::Partial, "at {end}");
    }
}

#[test]
fn source_of_a_proxied_connection_is_read() {
    assert_complete(&header(0x21, 0x11, &v4()), socket("203.0.113.7:50000"));
    assert_complete(&header(0x21, 0x21, &v6("2001:db8::1")), socket("[2001:db8::1]:50000"));
    assert_complete(&header(0x21, 0x21, &v6("::ffff:203.0.113.7")), socket("203.0.113.7:50000"));
}

#[test]
fn tlvs_after_the_addresses_are_skipped() {
    let tlvs = [0x04, 0, 3, 0, 0, 0, 0x03, 0, 4, 1, 2, 3, 4];
    assert_complete(&header(0x21, 0x11, &[v4(), tlvs.to_vec()].concat()), socket("203.0.113.7:50000"));
    let full = vec![0; PROXY_BYTES_MAX - FIXED_BYTES - 36];
    assert_complete(&header(0x21, 0x21, &[v6("2001:db8::1"), full].concat()), socket("[2001:db8::1]:50000"));
}

#[test]
fn local_unspecified_and_unix_headers_have_no_source() {
    assert_complete(&header(0x20, 0x00, b""), None);
    assert_complete(&header(0x20, 0x11, &v4()), None);
    assert_complete(&header(0x20, 0xFF, b"anything"), None);
    assert_complete(&header(0x21, 0x00, b"anything"), None);
    assert_complete(&header(0x21, 0x31, &[0; 216]), None);
}

#[test]
fn invalid_header_is_refused_at_its_first_wrong_byte() {
    let table = [
        (b"GET / HTTP/1.1\r\n".to_vec(), 1, ProxyFault::Signature),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), 1, ProxyFault::Signature),
        (b"\r\nGET / HTTP/1.1\r\n".to_vec(), 3, ProxyFault::Signature),
        (header(0x11, 0x11, &v4()), 13, ProxyFault::Version),
        (header(0x31, 0x11, &v4()), 13, ProxyFault::Version),
        (header(0x22, 0x11, &v4()), 13, ProxyFault::Command),
        (header(0x21, 0x12, &v4()), 14, ProxyFault::Family),
        (header(0x21, 0x41, &v4()), 14, ProxyFault::Family),
        (header(0x21, 0x11, &v4()[..11]), 16, ProxyFault::TooShort),
        (header(0x21, 0x21, &v4()), 16, ProxyFault::TooShort),
        (header(0x21, 0x31, &[0; 215]), 16, ProxyFault::TooShort),
        (header(0x21, 0x11, &[0; PROXY_BYTES_MAX - FIXED_BYTES + 1]), 16, ProxyFault::TooLong),
        (header(0x20, 0x00, &[0; 60_000]), 16, ProxyFault::TooLong),
    ];
    for (bytes, at, fault) in table {
        assert_eq!(proxy_v2(&bytes), ProxyHead::Invalid(fault), "{}", bytes.escape_ascii());
        assert_eq!(proxy_v2(&bytes[..at]), ProxyHead::Invalid(fault), "{}", bytes[..at].escape_ascii());
        assert_eq!(proxy_v2(&bytes[..at - 1]), ProxyHead::Partial, "{}", bytes[..at].escape_ascii());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic_and_splits_do_not_change_the_outcome(
        tail in proptest::collection::vec(any::<u8>(), 0..64),
        signed in any::<bool>(),
    ) {
        let bytes = if signed { [&SIGNATURE[..], &[0x21, 0x11, 0], &tail].concat() } else { tail };
        let whole = proxy_v2(&bytes);
        if let ProxyHead::Complete { length, .. } = whole {
            prop_assert!(length <= bytes.len());
        }
        let first = (0..=bytes.len()).map(|end| proxy_v2(&bytes[..end])).find(|head| *head != ProxyHead::Partial);
        prop_assert_eq!(first.unwrap_or(ProxyHead::Partial), whole);
    }
}

#[test]
fn rightmost_untrusted_address_is_the_client() {
    let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().expect("a net")).to_vec();
    let table: [(&str, &[&str], &str); 22] = [
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        ("192.0.2.1", &["203.0.113.7"], "192.0.2.1"),
        ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &["6.6.6.6, 203.0.113.7, 10.0.0.2,10.0.0.3"], "203.0.113.7"),
        ("10.0.0.1", &["6.6.6.6", "203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", &["203.0.113.7", "10.0.0.2, 10.0.0.3"], "203.0.113.7"),
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &["203.0.113.7,, "], "203.0.113.7"),
        ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["203.0.113.7, 10.0.0.2x"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", &["2001:4860::8"], "2001:4860::8"),
        ("10.0.0.1", &["[2001:4860::8]"], "2001:4860::8"),
        ("10.0.0.1", &["[2001:4860::8]:4711"], "2001:4860::8"),
        ("10.0.0.1", &["[203.0.113.7]"], "10.0.0.1"),
        ("10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", &["203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7"),
        ("2001:db8::1", &["203.0.113.7"], "203.0.113.7"),
        ("::ffff:192.0.2.1", &["203.0.113.7"], "192.0.2.1"),
    ];
    for (peer, lines, client) in table {
        let peer: IpAddr = peer.parse().expect("an address");
        let found = forwarded_for(lines.iter().map(|line| line.as_bytes()), peer, &trusted);
        assert_eq!(found.to_string(), client, "{peer} {lines:?}");
    }
    let untrusted_peer = forwarded_for([&b"203.0.113.7"[..]].into_iter(), Ipv4Addr::LOCALHOST.into(), &[]);
    assert_eq!(untrusted_peer, Ipv4Addr::LOCALHOST);
}
