//! Request heads and their outcomes, byte by byte.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 1_024, headers: 8, uri_bytes: 128 };

const BROWSER: &[u8] = b"GET /ws HTTP/1.1\r\nHost: chat.example:8080\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nOrigin: http://chat.example:8080\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: seawall.v1, seawall.token.a.b.c\r\n\r\n";

/// The outcome as text, so that tables and corpus files can name it.
fn outcome(bytes: &[u8], limits: HeadLimits) -> String {
    match parse(bytes, limits) {
        Parsed::Partial => "partial".to_string(),
        Parsed::Complete(head) => match head.serve() {
            Ok(()) => format!("complete {}", head.length),
            Err(fault) => format!("unserved {} {fault:?}", fault.status()),
        },
        Parsed::Refused(fault) => {
            assert_eq!(fault.after(After::KeepAlive), closing(fault), "{fault:?}");
            format!("refused {} {fault:?}", fault.status())
        }
    }
}

/// The connection state after a refusal: only `OPTIONS *` is refused without doubt about the framing.
fn closing(fault: HttpFault) -> After {
    if let HttpFault::MethodNotAllowed(_) = fault { After::KeepAlive } else { After::Close }
}

fn head(bytes: &[u8]) -> Head<'_> {
    match parse(bytes, LIMITS) {
        Parsed::Complete(head) => head,
        other => panic!("{other:?} for {}", bytes.escape_ascii()),
    }
}

fn fault(bytes: &[u8]) -> Option<HttpFault> {
    match parse(bytes, LIMITS) {
        Parsed::Refused(fault) => Some(fault),
        Parsed::Complete(head) => head.serve().err(),
        Parsed::Partial => None,
    }
}

#[test]
fn every_prefix_is_partial_and_the_whole_head_is_complete() {
    for start in [&b""[..], b"\r\n", b"\r\n\r\n"] {
        let whole = [start, BROWSER].concat();
        for end in 0..whole.len() {
            assert!(matches!(parse(&whole[..end], LIMITS), Parsed::Partial), "at {end}");
        }
        for rest in [&b""[..], b"\x81\x85", b"GET / HTTP/1.1\r\n", b"\n", b"\0", &[b'x'; 4_096]] {
            let received = [&whole[..], rest].concat();
            assert_eq!(head(&received).length, whole.len());
        }
    }
}

#[test]
fn pipelined_requests_are_parsed_one_by_one() {
    let bytes = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nHEAD /readyz?verbose HTTP/1.1\r\nHost: b\r\n\r\n";
    let first = head(bytes);
    assert_eq!((first.route, first.method, first.query), (Route::Live, Method::Get, None));
    let second = head(&bytes[first.length..]);
    assert_eq!((second.route, second.method, second.query), (Route::Ready, Method::Head, Some("verbose")));
    assert_eq!(first.length + second.length, bytes.len());
}

#[test]
fn target_is_matched_byte_for_byte() {
    let page = Route::Page(crate::wire::files::find("/").expect("there is a page"));
    let table = [
        ("/", page),
        ("/?a=b?c", page),
        ("/ws", Route::Ws),
        ("/echo", Route::Echo),
        ("/health", Route::Health),
        ("/health/live", Route::Live),
        ("/livez", Route::Live),
        ("/health/ready", Route::Ready),
        ("/health/dependencies", Route::Dependencies),
        ("/readyz?verbose", Route::Ready),
        ("/metrics", Route::Metrics),
        ("http://chat.example/ws", Route::Ws),
        ("HTTPS://chat.example:443/ws?x", Route::Ws),
        ("http://chat.example", page),
        ("http://chat.example?x", page),
        ("/index.html", Route::Unknown),
        ("/assets/", Route::Unknown),
        ("/ws/", Route::Unknown),
        ("//ws", Route::Unknown),
        ("/WS", Route::Unknown),
        ("/%77s", Route::Unknown),
        ("/./ws", Route::Unknown),
        ("/ws;a", Route::Unknown),
    ];
    for (target, route) in table {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(head(bytes.as_bytes()).route, route, "{target}");
    }
}

#[test]
fn authority_of_an_absolute_target_overrides_host() {
    let name = |target: &str, host: &str| {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        head(bytes.as_bytes()).host.map(|host| (host.name.to_string(), host.port))
    };
    assert_eq!(name("http://a.example:81/ws", "b.example"), Some(("a.example".into(), Some(81))));
    assert_eq!(name("/ws", "b.example"), Some(("b.example".into(), None)));
}

#[test]
fn connection_is_kept_only_if_both_sides_allow_it() {
    let table = [
        ("HTTP/1.1\r\nHost: x\r\n", After::KeepAlive),
        ("HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n", After::KeepAlive),
        ("HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n", After::Close),
        ("HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: close\r\n", After::Close),
        ("HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n", After::KeepAlive),
        ("HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", After::KeepAlive),
        ("HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n", After::Close),
        ("HTTP/1.0\r\n", After::Close),
        ("HTTP/1.0\r\nConnection: keep-alive\r\n", After::Close),
    ];
    for (rest, after) in table {
        assert_eq!(head(format!("GET / {rest}\r\n").as_bytes()).after, after, "{rest}");
    }
}

#[test]
fn unserved_request_is_refused_with_its_reason() {
    use HttpFault::{
        BodyNotTaken, Expectation, Malformed as M, MethodNotAllowed, UnknownMethod, UnknownPath, Version,
    };
    let table = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", None),
        ("HEAD /metrics HTTP/1.0\r\n\r\n", None),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 000\r\n\r\n", None),
        ("GET /livez HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", None),
        ("HEAD /ws HTTP/1.1\r\nHost: x\r\n\r\n", Some(MethodNotAllowed(Allow::Get))),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", Some(MethodNotAllowed(Allow::GetHead))),
        ("OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n", Some(MethodNotAllowed(Allow::Get))),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", Some(MethodNotAllowed(Allow::GetHead))),
        ("DELETE /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", Some(UnknownPath)),
        ("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", Some(UnknownPath)),
        ("BREW / HTTP/1.1\r\nHost: x\r\n\r\n", Some(UnknownMethod)),
        ("get / HTTP/1.1\r\nHost: x\r\n\r\n", Some(UnknownMethod)),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Some(UnknownMethod)),
        ("GET /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", Some(BodyNotTaken)),
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", Some(BodyNotTaken)),
        ("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", Some(Expectation)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Version)),
        ("GET / HTTP/2\r\n\r\n", Some(Version)),
        ("GET / HTTP/1.2\r\n\r\n", Some(Version)),
        ("GET / HTTP/3.0\r\n\r\n", Some(Version)),
        ("GET /\r\n", Some(Version)),
        ("GET / http/1.1\r\n\r\n", Some(M(Malformed::RequestLine))),
        ("GET / FTP/1.1\r\n\r\n", Some(M(Malformed::RequestLine))),
        ("GET  / HTTP/1.1\r\n\r\n", Some(M(Malformed::Target))),
        ("GET /  HTTP/1.1\r\n\r\n", Some(M(Malformed::RequestLine))),
        ("GET / HTTP/1.1 \r\n\r\n", Some(M(Malformed::LineEnd))),
        (" GET / HTTP/1.1\r\n\r\n", Some(M(Malformed::RequestLine))),
        ("G\0T / HTTP/1.1\r\n\r\n", Some(M(Malformed::RequestLine))),
        ("\x16\x03\x01", Some(M(Malformed::Tls))),
    ];
    for (bytes, expected) in table {
        assert_eq!(fault(bytes.as_bytes()), expected, "{}", bytes.escape_debug());
    }
}

#[test]
fn ambiguous_head_is_refused() {
    let table = [
        ("GET / HTTP/1.1\r\n\r\n", Malformed::HostMissing),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Malformed::HostRepeated),
        ("GET / HTTP/1.0\r\nHost: a\r\nHOST: b\r\n\r\n", Malformed::HostRepeated),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Malformed::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Malformed::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Malformed::HostInvalid),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::HostInvalid),
        ("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::HostInvalid),
        ("GET http://a/ HTTP/1.1\r\n\r\n", Malformed::HostMissing),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET ws HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Malformed::HeaderName),
        ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Malformed::HeaderName),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Malformed::HeaderName),
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", Malformed::HeaderName),
        ("GET / HTTP/1.1\r\n: a\r\n\r\n", Malformed::HeaderName),
        ("GET / HTTP/1.1\r\nX: \0\r\n\r\n", Malformed::HeaderValue),
        ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", Malformed::HeaderValue),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", Malformed::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Malformed::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Malformed::BareLineFeed),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Malformed::BareLineFeed),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::BareLineFeed),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
            Malformed::LengthRepeated,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            Malformed::LengthRepeated,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n", Malformed::LengthInvalid),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", Malformed::LengthInvalid),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", Malformed::LengthInvalid),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", Malformed::LengthInvalid),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", Malformed::LengthInvalid),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            Malformed::LengthAndEncoding,
        ),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Malformed::EncodingInHttp10),
    ];
    for (bytes, rule) in table {
        let shown = bytes.escape_debug();
        assert!(
            matches!(parse(bytes.as_bytes(), LIMITS), Parsed::Refused(HttpFault::Malformed(r)) if r == rule),
            "{shown}: {:?}",
            parse(bytes.as_bytes(), LIMITS)
        );
    }
}

#[test]
fn head_at_a_bound_is_accepted_and_one_over_it_refused() {
    let with_target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "t".repeat(bytes - 1));
    assert_eq!(fault(with_target(128).as_bytes()), Some(HttpFault::UnknownPath));
    assert_eq!(fault(with_target(129).as_bytes()), Some(HttpFault::UriTooLong { bound: 128 }));

    let with_lines =
        |lines: usize| format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(lines - 1));
    assert_eq!(fault(with_lines(8).as_bytes()), None);
    assert_eq!(fault(with_lines(9).as_bytes()), Some(HttpFault::TooManyHeaders { bound: 8 }));

    let with_bytes = |bytes: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: x\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "v".repeat(bytes - rest))
    };
    assert_eq!(head(with_bytes(1_024).as_bytes()).length, 1_024);
    assert_eq!(fault(with_bytes(1_025).as_bytes()), Some(HttpFault::HeadTooLarge { bound: 1_024 }));
}

#[test]
fn head_over_a_bound_is_refused_before_it_ends() {
    let long_target = [b"GET /", &[b't'; 128][..]].concat();
    assert_eq!(fault(&long_target), Some(HttpFault::UriTooLong { bound: 128 }));
    let endless = [b"GET / HTTP/1.1\r\nA: ", &[b'v'; 2_048][..]].concat();
    assert_eq!(fault(&endless[..1_023]), None);
    assert_eq!(fault(&endless[..1_024]), Some(HttpFault::HeadTooLarge { bound: 1_024 }));
    assert_eq!(fault(&b"\r\n".repeat(512)), Some(HttpFault::HeadTooLarge { bound: 1_024 }));
    let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(9));
    assert_eq!(fault(many.as_bytes()), Some(HttpFault::TooManyHeaders { bound: 8 }));
}

#[test]
fn configured_number_of_lines_is_capped_at_headers_max() {
    let limits = HeadLimits::from(&Limits { headers: 1_000_000, ..Limits::default() });
    assert_eq!(limits.headers, HEADERS_MAX);
    let over = HeadLimits { headers: usize::MAX, ..LIMITS };
    assert!(matches!(parse(BROWSER, over), Parsed::Complete(_)));
}

#[test]
fn values_are_found_in_every_line_of_a_name() {
    let bytes = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n\r\n\
        x-forwarded-for: 3.3.3.3\r\n";
    let all: Vec<&[u8]> = head(bytes).values("x-forwarded-for").collect();
    assert_eq!(all, [b"1.1.1.1", b"2.2.2.2"]);
}

/// Each file's name begins with its outcome: `complete-…`, `partial-…`, `431-…`.
#[test]
fn corpus_file_has_the_outcome_in_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/head");
    let limits = HeadLimits::from(&Limits::default());
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the corpus is in the repository") {
        let path = entry.expect("readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_string();
        if name.starts_with('.') {
            continue;
        }
        let bytes = fs::read(&path).expect("readable");
        let found = outcome(&bytes, limits);
        let expected = name.split('-').next().expect("a first part");
        assert!(found.split(' ').any(|word| word == expected), "{name}: {found}");
        assert_same_however_split(&bytes, limits);
        files += 1;
    }
    assert!(files >= 20, "only {files} files");
}

/// Parses all prefixes; the first outcome that is not `Partial` must be that of the whole.
fn assert_same_however_split(bytes: &[u8], limits: HeadLimits) {
    let whole = outcome(bytes, limits);
    let first =
        (0..=bytes.len()).map(|end| outcome(&bytes[..end], limits)).find(|outcome| outcome != "partial");
    assert_eq!(first.unwrap_or("partial".to_string()), whole, "{}", bytes.escape_ascii());
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Host: chat.example\r\n".to_string()),
        Just("Connection: Upgrade\r\n".to_string()),
        Just("Upgrade: websocket\r\n".to_string()),
        Just("Content-Length: 0\r\n".to_string()),
        Just("Transfer-Encoding: chunked\r\n".to_string()),
        Just("Host: a\n".to_string()),
        "[a-zA-Z-]{1,12}: ?[ -~]{0,40}\r\n",
    ]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let start =
        "(GET|HEAD|POST|[A-Z]{1,9}) (/|/ws|/[ -~]{0,150}|http://[a-z]{1,9}/ws) HTTP/[12](\\.[019])?\r\n";
    (start, proptest::collection::vec(line(), 0..10))
        .prop_map(|(start, lines)| format!("{start}{}\r\n", lines.concat()).into_bytes())
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic_and_the_length_stays_within_them(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Parsed::Complete(head) = parse(&bytes, LIMITS) {
            prop_assert!(head.length <= bytes.len());
        }
    }

    #[test]
    fn splitting_a_head_does_not_change_its_outcome(
        mut bytes in request(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        rest in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(rest);
        let limits = HeadLimits { head_bytes: 400, headers: 6, uri_bytes: 60 };
        if let Parsed::Complete(head) = parse(&bytes, limits) {
            prop_assert!(head.length <= bytes.len());
        }
        assert_same_however_split(&bytes, limits);
    }
}
