//! TLS handshakes: good ones, resumed ones, incomplete ones, and bytes that are not TLS.

use crate::support::raw::{UPGRADE, dial};
use crate::support::{Certificate, Client, Gateway, Line, RawClient, SOON, Setup, until};
use rcgen::SanType;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

fn start(certificate: &Certificate) -> Gateway {
    Setup::new().tls(certificate.clone()).start()
}

fn socket(gateway: &Gateway) -> TcpStream {
    let socket = dial(gateway.address, None, None).expect("the gateway accepts");
    socket.set_read_timeout(Some(SOON)).expect("a timeout");
    socket
}

/// Opens an upgraded connection with this client configuration.
fn upgraded(gateway: &Gateway, config: &Arc<ClientConfig>, name: &'static str) -> Line {
    let mut client = RawClient { stream: Line::tls(socket(gateway), Arc::clone(config), name) };
    client.upgrade("/ws");
    client.stream
}

fn failures(gateway: &Gateway, cause: &str) -> f64 {
    gateway.metrics()[&format!("seawall_tls_failures_total{{cause=\"{cause}\"}}")]
}

/// Waits until this many are counted: the counts of a turn are added up at its end, when clients may have been answered.
#[track_caller]
fn counts(what: &str, count: f64, counted: impl Fn() -> f64) {
    until(SOON, what, || counted() >= count);
    assert_eq!(counted(), count, "{what}");
}

#[track_caller]
fn fails(gateway: &Gateway, cause: &str, count: f64) {
    counts(cause, count, || failures(gateway, cause));
}

fn handshakes(gateway: &Gateway, kind: &str) -> f64 {
    gateway.metrics()[&format!("seawall_tls_handshakes_total{{kind=\"{kind}\"}}")]
}

/// Sends raw bytes and reads the answer to the end of the connection.
fn answer(gateway: &Gateway, bytes: &[u8]) -> Vec<u8> {
    let mut socket = socket(gateway);
    socket.write_all(bytes).expect("open");
    let mut all = Vec::new();
    socket.read_to_end(&mut all).expect("an end in time");
    all
}

#[test]
fn tls_1_2_and_1_3_are_served_with_any_name_and_without_one() {
    let certificate = Certificate::with(|params| {
        params.subject_alt_names.push(SanType::DnsName("other.example".try_into().expect("a name")));
    });
    let gateway = start(&certificate);
    for (version, spoken) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut config = certificate.client_of(&[version]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        for name in ["localhost", "other.example", "127.0.0.1"] {
            let line = upgraded(&gateway, &config, name);
            assert_eq!(line.connection().protocol_version(), Some(spoken));
            assert_eq!(line.connection().alpn_protocol(), Some(&b"http/1.1"[..]));
        }
    }
}

#[test]
fn reconnecting_client_resumes_on_any_reactor() {
    let certificate = Certificate::new();
    let gateway = Setup::new().arguments(&["--reactors", "2"]).tls(certificate.clone()).start();
    let client = Arc::new(certificate.client());
    let kinds: Vec<_> =
        (0..12).map(|_| upgraded(&gateway, &client, "localhost").connection().handshake_kind()).collect();
    assert_eq!(kinds.first(), Some(&Some(HandshakeKind::Full)));
    assert!(kinds.iter().skip(1).all(|kind| *kind == Some(HandshakeKind::Resumed)), "{kinds:?}");
    // The metrics are fetched over TLS too, by a client of their own, which begins with a full handshake.
    counts("full", 2.0, || handshakes(&gateway, "full"));
    until(SOON, "the resumed ones are counted", || handshakes(&gateway, "resumed") >= 11.0);
}

#[test]
fn plain_http_is_refused_with_a_hint_to_use_https() {
    let gateway = start(&Certificate::new());
    let said = answer(&gateway, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let said = String::from_utf8(said).expect("text");
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("use https:// or wss://"), "{said}");
    fails(&gateway, "plain_http", 1.0);
}

#[test]
fn tls_to_a_plain_listener_is_answered_in_tls() {
    let gateway = Setup::new().plain().start();
    let config = Arc::new(Certificate::new().client());
    let error = Line::tls(socket(&gateway), config, "localhost").handshake().expect_err("no TLS here");
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    fails(&gateway, "hello_on_plain", 1.0);
    until(SOON, "the cause is logged", || gateway.output().contains("TLS handshake on plain listener"));
}

#[test]
fn garbage_is_answered_with_an_alert_and_counted() {
    let gateway = start(&Certificate::new());
    for garbage in [&b"\0\0\0\0\0\0\0\0\0\0"[..], &[0xFF; 200], b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10"] {
        let said = answer(&gateway, garbage);
        assert_eq!(said.first(), Some(&0x15), "an alert: {said:02x?}");
    }
    fails(&gateway, "not_tls", 3.0);
    let said = answer(&gateway, &[0x16, 3, 1, 0, 4, 1, 0, 0, 0]);
    assert_eq!(said.first(), Some(&0x15), "{said:02x?}");
    fails(&gateway, "protocol", 1.0);
}

#[test]
fn incomplete_handshakes_time_out_and_delay_no_client() {
    let certificate = Certificate::new();
    let gateway = Setup::new().limit("head_ms", 400).tls(certificate.clone()).start();
    let mut chat = Client::connect(&gateway);
    let mut hello = Vec::new();
    let mut line = Line::tls(socket(&gateway), Arc::new(certificate.client()), "localhost");
    line.connection_mut().write_tls(&mut hello).expect("memory");
    drop(line);
    let mut stalled: Vec<TcpStream> = (0..30)
        .map(|at| {
            let mut socket = socket(&gateway);
            socket.write_all(&hello[..(at * hello.len() / 30).max(1)]).expect("open");
            socket
        })
        .collect();
    assert_eq!(chat.publish("c", json!("meanwhile")), 1);
    for socket in &mut stalled {
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).expect("an end in time");
    }
    fails(&gateway, "timeout", 30.0);
    // A connection without a byte, like that of a port probe, is no failure; one that ends in the middle is.
    drop(socket(&gateway));
    let mut leaver = socket(&gateway);
    leaver.write_all(&hello[..20]).expect("open");
    drop(leaver);
    until(SOON, "the leaver is counted", || failures(&gateway, "abandoned") == 1.0);
}

#[test]
fn refusal_by_either_side_is_reported_and_counted() {
    let certificate = Certificate::new();
    let gateway = start(&certificate);
    let stranger = Arc::new(Certificate::new().client());
    let error = Line::tls(socket(&gateway), stranger, "localhost").handshake().expect_err("not trusted");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    until(SOON, "the client's refusal is counted", || failures(&gateway, "refused_by_peer") == 1.0);

    let mut other = certificate.client();
    other.alpn_protocols = vec![b"h2".to_vec()];
    let error = Line::tls(socket(&gateway), Arc::new(other), "localhost").handshake().expect_err("no h2");
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    fails(&gateway, "incompatible", 1.0);
}

#[test]
fn proxy_header_is_read_before_tls() {
    let certificate = Certificate::new();
    let gateway = Setup::new()
        .toml("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\nproxy_protocol = \"required\"")
        .limit("connections_per_address", 1)
        .tls(certificate.clone())
        .start();
    let config = Arc::new(certificate.client());
    let status = |last: u8, cut: usize| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0C".to_vec();
        header.extend([203, 0, 113, last, 127, 0, 0, 1, 0x9C, 0x40, 0x1F, 0x90]);
        let mut socket = socket(&gateway);
        socket.write_all(&header[..cut]).expect("open");
        socket.write_all(&header[cut..]).expect("open");
        let mut client = RawClient { stream: Line::tls(socket, Arc::clone(&config), "localhost") };
        client.write(UPGRADE.as_bytes());
        let status = client.response().status;
        (client, status)
    };
    let held = status(1, 28);
    assert_eq!([held.1, status(1, 9).1, status(2, 20).1], [101, 429, 101]);
}

#[test]
fn many_concurrent_handshakes_are_served_while_a_client_chats() {
    let certificate = Certificate::new();
    let gateway = start(&certificate);
    let mut chat = Client::connect(&gateway);
    std::thread::scope(|scope| {
        let crowds: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let config = Arc::new(certificate.client());
                    (0..50).map(|_| upgraded(&gateway, &config, "localhost")).collect::<Vec<_>>()
                })
            })
            .collect();
        for offset in 1..=20 {
            assert_eq!(chat.publish("c", json!("on")), offset);
        }
        let lines: Vec<Line> = crowds.into_iter().flat_map(|crowd| crowd.join().expect("served")).collect();
        assert_eq!(lines.len(), 200);
    });
    let all = || handshakes(&gateway, "full") + handshakes(&gateway, "resumed");
    until(SOON, "all are counted", || all() >= 201.0);
}
