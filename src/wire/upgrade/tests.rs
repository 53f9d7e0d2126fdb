//! Handshakes as browsers, libraries and attackers send them.

use super::*;
use crate::wire::fault::Allow;
use crate::wire::request::{HeadLimits, Parsed, parse};
use crate::wire::response::switching;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4_096, headers: 64, uri_bytes: 128 };
const ANYONE: UpgradePolicy<'_> =
    UpgradePolicy { origins: &[], hosts: HostRule::Any, scheme: Scheme::Either };
const LINES: [&str; 5] = [
    "Host: chat.example",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// An upgrade with the usual lines, where `change` replaces the line of the same name, or is added; a
/// change `-Name` takes that line away.
fn request(start: &str, changes: &[&str]) -> String {
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let mut lines: Vec<&str> = LINES.to_vec();
    for change in changes {
        let gone = name(change.trim_start_matches(['-', '+']));
        if !change.starts_with('+') {
            lines.retain(|line| name(line) != gone);
        }
        if !change.starts_with('-') {
            lines.push(change.trim_start_matches('+'));
        }
    }
    format!("{start}\r\n{}\r\n\r\n", lines.join("\r\n"))
}

fn with<T>(
    bytes: &str,
    policy: &UpgradePolicy<'_>,
    see: impl FnOnce(Result<Upgrade<'_>, HttpFault>) -> T,
) -> T {
    match parse(bytes.as_bytes(), LIMITS) {
        Parsed::Complete(head) => see(check(&head, policy)),
        other => panic!("{other:?} for {bytes}"),
    }
}

fn ws<T>(changes: &[&str], see: impl FnOnce(Result<Upgrade<'_>, HttpFault>) -> T) -> T {
    with(&request("GET /ws HTTP/1.1", changes), &ANYONE, see)
}

#[test]
fn rfc_example_is_accepted_with_its_documented_answer() {
    ws(&[], |upgrade| {
        let upgrade = upgrade.expect("valid");
        assert_eq!(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((upgrade.version, upgrade.token), (OfferedVersion::NotNamed, None));
    });
}

#[test]
fn valid_variants_are_accepted() {
    for changes in [
        &["Upgrade: WebSocket"][..],
        &["Upgrade: h2c, websocket"],
        &["+Upgrade: h2c"],
        &["Connection: keep-alive, Upgrade"],
        &["Connection: keep-alive", "+Connection: uPGRADE"],
        &["Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="],
        &["Sec-WebSocket-Key:   dGhlIHNhbXBsZSBub25jZQ==  "],
        &["Sec-WebSocket-Extensions: permessage-deflate", "+Sec-WebSocket-Extensions: x"],
        &["Content-Length: 0"],
        &["Origin: https://chat.example"],
    ] {
        ws(changes, |upgrade| assert!(upgrade.is_ok(), "{changes:?}: {upgrade:?}"));
    }
}

#[test]
fn invalid_handshake_is_refused_with_its_reason() {
    use HttpFault::{BodyNotTaken, Expectation, Handshake as H, UpgradeRequired, UpgradeVersion};
    let table: [(&[&str], HttpFault); 22] = [
        (&["-Upgrade"], UpgradeRequired),
        (&["Upgrade: h2c"], UpgradeRequired),
        (&["Upgrade: websockets"], UpgradeRequired),
        (&["-Upgrade", "-Connection"], UpgradeRequired),
        (&["-Connection"], H(Handshake::Connection)),
        (&["Connection: keep-alive"], H(Handshake::Connection)),
        (&["-Sec-WebSocket-Version"], H(Handshake::VersionMissing)),
        (&["+Sec-WebSocket-Version: 13"], H(Handshake::VersionRepeated)),
        (&["Sec-WebSocket-Version: 8"], UpgradeVersion),
        (&["Sec-WebSocket-Version: 13, 8"], UpgradeVersion),
        (&["Sec-WebSocket-Version: 013"], UpgradeVersion),
        (&["-Sec-WebSocket-Key"], H(Handshake::KeyMissing)),
        (&["+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], H(Handshake::KeyRepeated)),
        (&["Sec-WebSocket-Key:"], H(Handshake::KeyInvalid)),
        (&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"], H(Handshake::KeyInvalid)),
        (&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"], H(Handshake::KeyInvalid)),
        (&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU="], H(Handshake::KeyInvalid)),
        (&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!=="], H(Handshake::KeyInvalid)),
        (&["Origin: https://chat.example", "+Origin: https://chat.example"], H(Handshake::OriginRepeated)),
        (&["Content-Length: 5"], BodyNotTaken),
        (&["Transfer-Encoding: chunked"], BodyNotTaken),
        (&["Expect: 100-continue"], Expectation),
    ];
    for (changes, fault) in table {
        ws(changes, |upgrade| assert_eq!(upgrade, Err(fault), "{changes:?}"));
    }
}

#[test]
fn only_get_over_http_1_1_to_a_websocket_path_upgrades() {
    let refused = |start: &str| with(&request(start, &[]), &ANYONE, |upgrade| upgrade.expect_err("refused"));
    assert_eq!(refused("HEAD /ws HTTP/1.1"), HttpFault::MethodNotAllowed(Allow::Get));
    assert_eq!(refused("POST /echo HTTP/1.1"), HttpFault::MethodNotAllowed(Allow::Get));
    assert_eq!(refused("GET /ws HTTP/1.0"), HttpFault::UpgradeRequired);
    assert_eq!(refused("GET / HTTP/1.1"), HttpFault::UnknownPath);
    assert_eq!(refused("GET /nowhere HTTP/1.1"), HttpFault::UnknownPath);
}

#[test]
fn subprotocol_sets_the_version() {
    let table: [(&[&str], Result<OfferedVersion<'_>, Handshake>); 14] = [
        (&[], Ok(OfferedVersion::NotNamed)),
        (&["Sec-WebSocket-Protocol: seawall.v1"], Ok(OfferedVersion::V1Named)),
        (&["Sec-WebSocket-Protocol: chat, seawall.v1"], Ok(OfferedVersion::V1Named)),
        (&["Sec-WebSocket-Protocol: seawall.v2, seawall.v1"], Ok(OfferedVersion::V1Named)),
        (
            &["Sec-WebSocket-Protocol: seawall.v2,", "+Sec-WebSocket-Protocol: seawall.v1"],
            Ok(OfferedVersion::V1Named),
        ),
        (
            &["Sec-WebSocket-Protocol: x, seawall.v3, seawall.v2"],
            Ok(OfferedVersion::Unsupported("seawall.v3")),
        ),
        (&["Sec-WebSocket-Protocol: seawall.v10"], Ok(OfferedVersion::Unsupported("seawall.v10"))),
        (&["Sec-WebSocket-Protocol: chat"], Err(Handshake::SubprotocolUnknown)),
        (&["Sec-WebSocket-Protocol: Seawall.V1"], Err(Handshake::SubprotocolUnknown)),
        (&["Sec-WebSocket-Protocol: seawall.token.a.b.c"], Err(Handshake::SubprotocolUnknown)),
        (&["Sec-WebSocket-Protocol:"], Err(Handshake::SubprotocolUnknown)),
        (&["Sec-WebSocket-Protocol: seawall.v1, a b"], Err(Handshake::SubprotocolInvalid)),
        (&["Sec-WebSocket-Protocol: seawall.v2=x"], Err(Handshake::SubprotocolInvalid)),
        (&["Sec-WebSocket-Protocol: seawall.v1\u{e9}"], Err(Handshake::SubprotocolInvalid)),
    ];
    for (changes, expected) in table {
        let expected = expected.map_err(HttpFault::Handshake);
        ws(changes, |upgrade| assert_eq!(upgrade.map(|u| u.version), expected, "{changes:?}"));
    }
}

#[test]
fn authorization_token_takes_precedence_and_a_bad_one_reaches_the_session() {
    const OFFER: &str = "Sec-WebSocket-Protocol: seawall.v1, seawall.token.a.b.c";
    type Case<'a> = (&'a [&'a str], Result<Option<&'a str>, Handshake>);
    let table: [Case<'_>; 12] = [
        (&[OFFER], Ok(Some("a.b.c"))),
        (&["Authorization: Bearer x.y.z"], Ok(Some("x.y.z"))),
        (&["Authorization: bEARER   x.y.z", OFFER], Ok(Some("x.y.z"))),
        (&["Authorization: Basic dTpw", OFFER], Ok(Some("a.b.c"))),
        (&["Authorization: Basic dTpw"], Ok(None)),
        (&["Authorization: Bearer", OFFER], Ok(Some(""))),
        (&["Sec-WebSocket-Protocol: seawall.v1, seawall.token."], Ok(Some(""))),
        (&["Sec-WebSocket-Protocol: seawall.v2, seawall.token.t"], Ok(Some("t"))),
        (&["Authorization: Bearer a b"], Err(Handshake::AuthorizationInvalid)),
        (&["Authorization: Bearer \u{e9}"], Err(Handshake::AuthorizationInvalid)),
        (&["Authorization: Bearer a", "+Authorization: Bearer a"], Err(Handshake::AuthorizationRepeated)),
        (
            &["Sec-WebSocket-Protocol: seawall.v1, seawall.token.a, seawall.token.b"],
            Err(Handshake::TokenRepeated),
        ),
    ];
    for (changes, expected) in table {
        let expected = expected.map_err(HttpFault::Handshake);
        ws(changes, |upgrade| assert_eq!(upgrade.map(|u| u.token), expected, "{changes:?}"));
    }
}

#[test]
fn echo_accepts_any_subprotocol_and_echoes_none() {
    for line in ["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: seawall.v2, seawall.token.t"] {
        let bytes = request("GET /echo HTTP/1.1", &[line]);
        with(&bytes, &ANYONE, |upgrade| {
            let upgrade = upgrade.expect("accepted");
            assert_eq!((upgrade.version, upgrade.token), (OfferedVersion::NotNamed, None));
        });
    }
}

#[test]
fn rebound_host_name_is_refused_with_any_origin() {
    let hosts = ["chat.local".to_string()];
    let policy = UpgradePolicy { origins: &[], hosts: HostRule::LoopbackOr(&hosts), scheme: Scheme::Either };
    let at = |host: &str, origin: &str| {
        let bytes = request("GET /ws HTTP/1.1", &[&format!("Host: {host}"), &format!("Origin: {origin}")]);
        with(&bytes, &policy, |upgrade| format!("{:?}", upgrade.map(|upgrade| upgrade.site)))
    };
    assert_eq!(at("localhost:8080", "http://localhost:8080"), "Ok(Admitted)");
    assert_eq!(at("chat.local", "http://chat.local"), "Ok(Admitted)");
    assert_eq!(at("evil.example:8080", "http://evil.example:8080"), "Ok(ForeignHost)");
    assert!(at("localhost:8080", "http://evil.example").starts_with("Ok(ForeignOrigin("));
}

#[test]
fn configured_origin_is_admitted() {
    let origins = ["https://app.example".to_string()];
    let policy = UpgradePolicy { origins: &origins, hosts: HostRule::Any, scheme: Scheme::Either };
    let bytes = request("GET /ws HTTP/1.1", &["Origin: https://app.example"]);
    let site =
        |upgrade: Result<Upgrade<'_>, HttpFault>| upgrade.map(|upgrade| upgrade.site == Site::Admitted);
    with(&bytes, &policy, |upgrade| assert_eq!(site(upgrade), Ok(true)));
    with(&bytes, &ANYONE, |upgrade| assert_eq!(site(upgrade), Ok(false)));
}

#[test]
fn page_of_another_site_is_answered_only_after_a_valid_handshake() {
    for origin in ["https://evil.example", "null"] {
        ws(&[&format!("Origin: {origin}")], |upgrade| {
            assert_eq!(upgrade.map(|upgrade| upgrade.site), Ok(Site::ForeignOrigin(origin.as_bytes())));
        });
    }
    let policy = UpgradePolicy { hosts: HostRule::LoopbackOr(&[]), ..ANYONE };
    let bytes = request("GET /ws HTTP/1.1", &["-Sec-WebSocket-Key"]);
    with(&bytes, &policy, |upgrade| assert_eq!(upgrade, Err(HttpFault::HostForbidden)));
}

proptest! {
    #[test]
    fn arbitrary_values_do_not_panic_and_only_a_version_is_echoed(
        protocols in proptest::collection::vec("(seawall\\.(v[0-9a-z.]{0,3}|token\\.)|[ -~]{0,3}|\u{e9}|,| ){0,5}", 0..3),
        authorization in proptest::option::of("(Bearer|Basic)?[ -~]{0,9}\u{e9}?"),
        origin in proptest::option::of("(https?://|null|[ -~]{0,9})(chat\\.example)?(:[0-9]{0,6})?[ -~]{0,3}"),
    ) {
        let mut changes: Vec<String> =
            protocols.iter().map(|value| format!("+Sec-WebSocket-Protocol: {value}")).collect();
        changes.extend(authorization.map(|value| format!("Authorization: {value}")));
        changes.extend(origin.map(|value| format!("Origin: {value}")));
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        ws(&changes, |upgrade| {
            if let Ok(upgrade) = upgrade {
                let mut out = Vec::new();
                switching(&mut out, &upgrade);
                let mut lines = [httparse::EMPTY_HEADER; 4];
                let mut response = httparse::Response::new(&mut lines);
                assert_eq!(response.parse(&out), Ok(httparse::Status::Complete(out.len())));
                let echoed = response.headers.get(3).map(|line| line.value);
                assert!(echoed.is_none_or(|value| value.starts_with(b"seawall.v")));
                assert_eq!(echoed.is_none(), protocols.is_empty());
            }
        });
    }
}
