//! The client's address: the peer's own, or the one that a trusted proxy forwards.

use crate::support::raw::UPGRADE;
use crate::support::{Gateway, Operator, RawClient, SOON, Setup, until};
use std::net::Ipv4Addr;

/// A PROXY protocol v2 header (HAProxy's specification, section 2.2) for TCP over IPv4.
fn proxy_v2(source: Ipv4Addr) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0C".to_vec();
    bytes.extend(source.octets());
    bytes.extend([127, 0, 0, 1, 0x9C, 0x40, 0x1F, 0x90]);
    bytes
}

fn open(gateway: &Gateway, before: &[u8], header: &str) -> (RawClient, u16) {
    let mut client = RawClient::to(gateway);
    let upgrade = UPGRADE.replace("\r\n\r\n", &format!("\r\n{header}\r\n"));
    client.write(&[before, upgrade.as_bytes()].concat());
    let status = client.response().status;
    (client, status)
}

#[test]
fn forwarded_address_counts_if_the_proxy_is_trusted() {
    let gateway = Setup::new()
        .toml("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]")
        .limit("connections_per_address", 2)
        .start();
    let from = |address: &str| open(&gateway, b"", &format!("X-Forwarded-For: {address}\r\n"));
    let held = [from("203.0.113.7"), from("198.51.100.1, 203.0.113.7, 127.0.0.9")];
    assert_eq!(
        held.each_ref().map(|(_, status)| *status),
        [101, 101],
        "the last untrusted address is the client"
    );
    assert_eq!(from("203.0.113.7").1, 429);
    assert_eq!(from("198.51.100.1").1, 101);
    drop(held);
    until(SOON, "the address has no connection left", || from("203.0.113.7").1 == 101);
}

#[test]
fn forwarded_address_from_an_untrusted_peer_is_ignored() {
    let gateway = Setup::new().limit("connections_per_address", 2).start();
    let from = |n: u8| open(&gateway, b"", &format!("X-Forwarded-For: 203.0.113.{n}\r\n"));
    let held = [from(1), from(2)];
    assert_eq!(held.each_ref().map(|(_, status)| *status), [101, 101]);
    assert_eq!(from(3).1, 429, "all three are 127.0.0.1");
}

#[test]
fn proxy_header_sets_the_address() {
    let gateway = Setup::new()
        .plain()
        .toml("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\nproxy_protocol = \"required\"")
        .limit("connections_per_address", 1)
        .try_start();
    // The first good connection shows that the gateway works.
    let gateway = gateway.unwrap_or_else(|refused| panic!("{}", refused.output));
    let of = |n: u8| proxy_v2(Ipv4Addr::new(203, 0, 113, n));
    let held = open(&gateway, &of(1), "");
    assert_eq!(held.1, 101);
    assert_eq!(open(&gateway, &of(1), "").1, 429);
    assert_eq!(open(&gateway, &of(2), "").1, 101);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    assert_eq!(open(&gateway, local, "").1, 101, "a proxy's own health check");
}

#[test]
fn connection_without_the_required_proxy_header_is_refused_and_counted() {
    let gateway = Setup::new()
        .plain()
        .with_admin()
        .toml("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\nproxy_protocol = \"required\"")
        .start();
    for bytes in
        [UPGRADE.as_bytes(), b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x0C"]
    {
        let mut client = RawClient::to(&gateway);
        client.write(bytes);
        let answer = String::from_utf8_lossy(&client.drain()).into_owned();
        assert!(!answer.contains("101 Switching"), "{answer}");
    }
    refused_with(&gateway, &[("signature", 2), ("version", 1), ("untrusted_peer", 0)]);
}

#[test]
fn peer_that_is_no_trusted_proxy_is_dropped_counted_and_logged_once_a_minute() {
    let gateway = Setup::new()
        .plain()
        .with_admin()
        .toml("[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol = \"required\"")
        .start();
    for _ in 0..20 {
        assert!(RawClient::to(&gateway).drain().is_empty());
    }
    refused_with(&gateway, &[("untrusted_peer", 20), ("signature", 0)]);
    until(SOON, "it is logged", || gateway.output().contains("PROXY header refused"));
    let output = gateway.output();
    assert_eq!(output.matches("PROXY header refused").count(), 1, "{output}");
    assert!(output.contains("server.trusted_proxies") && output.contains("address=127.0.0.1"), "{output}");
}

/// Asserts the counts of `proxy_header_refused_total`. Only the admin listener needs no PROXY header.
fn refused_with(gateway: &Gateway, counts: &[(&str, u32)]) {
    let operator = Operator::of(gateway);
    let counted = |(cause, count): &(&str, u32)| {
        format!("seawall_proxy_header_refused_total{{cause=\"{cause}\"}} {count}\n")
    };
    until(SOON, "the refusals are counted", || {
        let text = operator.get("/metrics").body;
        counts.iter().all(|one| text.contains(&counted(one)))
    });
}

#[test]
fn handshakes_of_one_address_are_rate_limited() {
    let gateway = Setup::new().limit("handshakes_per_s", 1).start();
    // More are answered on a busy machine, one a second.
    let refused = (0..200).map(|_| open(&gateway, b"", "").1).position(|status| status == 429);
    assert!(refused.is_some_and(|at| at >= 10), "the burst is ten times the rate: {refused:?}");
}

#[test]
fn proxy_header_sent_byte_by_byte_is_accepted() {
    let gateway = Setup::new()
        .plain()
        .toml("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\nproxy_protocol = \"required\"")
        .start();
    let mut client = RawClient::to(&gateway);
    for byte in proxy_v2(Ipv4Addr::new(203, 0, 113, 1)) {
        client.write(&[byte]);
    }
    client.upgrade("/ws");
}
