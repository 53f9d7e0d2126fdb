//! The page at `/` and the files it loads, as a browser requests them.

use crate::support::raw::Response;
use crate::support::token::SECRET;
use crate::support::{Gateway, RawClient, Setup};
use std::io::Read;

/// The paths of the files that the page loads.
fn loaded(page: &str) -> Vec<&str> {
    page.split('"').filter(|part| part.starts_with("/assets/")).collect()
}

fn ask(gateway: &Gateway, method: &str, path: &str, lines: &str) -> Response {
    let mut client = RawClient::to(gateway);
    client.write(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").as_bytes());
    if method == "HEAD" { client.head() } else { client.response() }
}

#[test]
fn page_and_its_files_are_served_with_their_types() {
    let gateway = Gateway::start();
    let page = ask(&gateway, "GET", "/", "");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let paths = loaded(&page.body);
    assert!(paths.len() >= 2, "{paths:?}");
    for path in paths {
        let file = ask(&gateway, "GET", path, "");
        assert_eq!(file.status, 200, "{path}");
        let media_type = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(file.header("content-type"), Some(media_type), "{path}");
        assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"), "{path}");
    }
    let client = ask(&gateway, "GET", "/seawall-client.js", "");
    assert_eq!((client.status, client.header("cache-control")), (200, Some("no-cache")));
    assert!(client.body.contains("export"), "the client is a module");
}

#[test]
fn cached_file_is_answered_with_304_and_head_has_no_body() {
    let gateway = Gateway::start();
    let page = ask(&gateway, "GET", "/", "");
    for path in ["/", "/seawall-client.js", loaded(&page.body)[0]] {
        let whole = ask(&gateway, "GET", path, "");
        let etag = whole.header("etag").expect("a validator").to_string();
        let mut client = RawClient::to(&gateway);
        let condition = format!("If-None-Match: {etag}\r\n");
        // A later request on the same connection shows that neither response had a body.
        for (method, lines, status) in [("GET", condition.as_str(), 304), ("HEAD", "", 200)] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
            client.write(request.as_bytes());
            let answer = client.head();
            assert_eq!((answer.status, answer.header("etag")), (status, Some(etag.as_str())), "{path}");
        }
        assert_eq!(client.fetch("GET", "/health/live").status, 200, "{path}");
    }
}

#[test]
fn other_paths_and_methods_are_refused() {
    let gateway = Gateway::start();
    for path in ["/assets/", "/assets/page.js", "/index.html", "/assets/../", "/files.rs", "//"] {
        assert_eq!(ask(&gateway, "GET", path, "").status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refused = ask(&gateway, method, "/", "");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn on_loopback_no_file_is_served_for_another_host() {
    let gateway = Gateway::start();
    for path in ["/", "/seawall-client.js"] {
        let mut client = RawClient::to(&gateway);
        client.write(format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n").as_bytes());
        assert_eq!(client.response().status, 403, "{path}");
    }
    let gateway = Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).start();
    let mut client = RawClient::to(&gateway);
    client.write(b"GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn unread_files_are_bounded() {
    const ASKED: usize = 2_000;
    let gateway = Gateway::start();
    let mut client = RawClient::to(&gateway);
    let one = "GET /seawall-client.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = RawClient::to(&gateway).fetch("GET", "/seawall-client.js").body.len();
    // The gateway may close before all of it is written.
    let _ = client.try_write(one.repeat(ASKED).as_bytes());
    let (mut buffer, mut got) = (vec![0; 65_536], 0);
    while let Ok(read @ 1..) = client.stream.read(&mut buffer) {
        got += read;
    }
    // Waiting responses are bounded by `limits.outbox_bytes_hard`, 1 MiB; the kernel buffers some more.
    assert!(got < ASKED * length / 4, "{got} bytes of {}", ASKED * length);
    assert_eq!(RawClient::to(&gateway).fetch("GET", "/health/live").status, 200);
}
