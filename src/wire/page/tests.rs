//! The table of embedded files, and the answer for each of them.

use super::*;
use crate::limits::Limits;
use crate::wire::files::FILES;
use crate::wire::request::{Parsed, parse};

fn asked(request: &str, file: &File) -> String {
    let limits = Limits::default();
    let Parsed::Complete(head) = parse(request.as_bytes(), (&limits).into()) else { panic!("{request}") };
    let mut out = Vec::new();
    answer(&mut out, file, &head, &ResponseOptions::plain(head.method, head.after));
    String::from_utf8(out).expect("text")
}

fn page() -> &'static File {
    find("/").expect("there is a page")
}

#[test]
fn every_file_has_a_unique_well_formed_path() {
    for (index, file) in FILES.iter().enumerate() {
        assert_eq!(FILES.iter().position(|other| other.path == file.path), Some(index), "{}", file.path);
        assert!(file.path.starts_with('/') && file.path.is_ascii(), "{}", file.path);
        assert!(!file.plain.bytes.is_empty(), "{}", file.path);
        let digits =
            file.plain.etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("quotes");
        assert!(digits.len() >= 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{}", file.plain.etag);
    }
    for path in [
        "/seawall-client.js",
        "/seawall-client-flags.js",
        "/seawall-client-outbox.js",
        "/seawall-client-presence.js",
        "/seawall-client-producer.js",
        "/seawall-client-reports.js",
        "/seawall-client-streams.js",
        "/seawall-client-telemetry.js",
        "/seawall-client-timeline.js",
    ] {
        assert!(find(path).is_some(), "{path}");
    }
}

#[test]
fn validator_is_a_digest_of_the_bytes() {
    for file in FILES {
        for form in [Some(file.plain), file.gzip].into_iter().flatten() {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form.bytes);
            let digits: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(form.etag, format!("\"{digits}\""), "{}", file.path);
        }
    }
}

#[test]
fn files_over_a_kilobyte_have_a_compressed_twin_of_the_same_content() {
    for file in FILES {
        let Some(gzip) = file.gzip else {
            assert!(file.plain.bytes.len() <= 1_024, "{}", file.path);
            continue;
        };
        assert!(
            gzip.bytes.len() < file.plain.bytes.len() && gzip.bytes.starts_with(&[0x1f, 0x8b, 8]),
            "{}",
            file.path
        );
        // A member ends with the checksum and the length of what it holds (RFC 1952 section 2.3.1).
        let (_, end) = gzip.bytes.split_at(gzip.bytes.len() - 8);
        let length = u32::try_from(file.plain.bytes.len()).expect("small").to_le_bytes();
        assert_eq!(end, [crc32fast::hash(file.plain.bytes).to_le_bytes(), length].concat(), "{}", file.path);
    }
}

#[test]
fn each_form_has_its_validator_and_caches_keep_both_apart() {
    let file = find("/seawall-client.js").expect("the module");
    let (plain, gzip) = (file.plain, file.gzip.expect("it is large"));
    let head = |lines: &str| asked(&format!("HEAD / HTTP/1.1\r\nHost: x\r\n{lines}\r\n"), file);
    for (lines, form, status) in [
        ("", plain, 200),
        ("Accept-Encoding: br, gzip\r\n", gzip, 200),
        (&format!("Accept-Encoding: gzip\r\nIf-None-Match: {}\r\n", gzip.etag), gzip, 304),
        (&format!("Accept-Encoding: gzip\r\nIf-None-Match: {}\r\n", plain.etag), gzip, 200),
        (&format!("If-None-Match: {}\r\n", gzip.etag), plain, 200),
    ] {
        let answer = head(lines);
        for line in [
            format!("HTTP/1.1 {status} "),
            format!("ETag: {}\r\n", form.etag),
            "Vary: Accept-Encoding\r\n".into(),
            format!("Content-Length: {}\r\n", form.bytes.len()),
        ] {
            assert!(answer.contains(&line), "{lines} {line} {answer}");
        }
        assert_eq!(answer.contains("Content-Encoding: gzip\r\n"), form == gzip, "{lines}");
    }
    let icon = FILES.iter().find(|file| file.gzip.is_none()).expect("a small file");
    assert!(!asked("GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", icon).contains("Vary"));
}

#[test]
fn only_files_named_for_their_bytes_are_immutable() {
    for file in FILES {
        let named = file.path.starts_with("/assets/");
        assert_eq!(file.kind == FileKind::Part, named, "{}", file.path);
        assert!(!named || file.path.contains(&file.plain.etag[1..11]), "{}", file.path);
    }
}

#[test]
fn other_sites_may_load_the_modules_alone() {
    for file in FILES {
        let answer = asked("GET / HTTP/1.1\r\nHost: x\r\n\r\n", file);
        let is_module = file.path.starts_with("/seawall-client");
        for line in ["Access-Control-Allow-Origin: *", "Cross-Origin-Resource-Policy: cross-origin"] {
            assert_eq!(answer.contains(&format!("\r\n{line}\r\n")), is_module, "{} {line}", file.path);
        }
    }
}

#[test]
fn page_that_ignores_link_tokens_differs_in_its_mark_alone_and_has_no_path_of_its_own() {
    let other = without_link_tokens(page());
    let text = |file: &File| String::from_utf8(file.plain.bytes.to_vec()).expect("text");
    assert_ne!(other.plain.etag, page().plain.etag);
    assert_eq!(text(other).replace("link-tokens=\"off\"", "link-tokens=\"on\""), text(page()));
    let module = find("/seawall-client.js").expect("the module");
    assert_eq!(without_link_tokens(module), module);
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", other.path);
    let Parsed::Complete(head) = parse(request.as_bytes(), (&Limits::default()).into()) else {
        panic!("{request}")
    };
    assert!(
        matches!(head.route, crate::wire::request::Route::Page(file) if file == page()),
        "a query changes nothing"
    );
}

#[test]
fn page_loads_only_embedded_files_and_has_no_inline_code() {
    let text = std::str::from_utf8(page().plain.bytes).expect("text");
    let loaded: Vec<&str> = text
        .split(['"', '\''])
        .filter(|part| part.starts_with('/') && !part.contains(char::is_whitespace))
        .filter(|part| *part != "/>")
        .collect();
    assert!(loaded.len() >= 2, "{loaded:?}");
    for path in loaded {
        assert!(find(path).is_some(), "{path}");
    }
    assert!(!text.contains("<style") && !text.contains(" style="), "the policy forbids it");
    assert!(text.matches("<script").count() == text.matches("<script type=\"module\" src=").count());
}

#[test]
fn client_that_has_the_file_gets_304() {
    let etag = page().plain.etag;
    let status = |lines: &str| {
        let answer = asked(&format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n"), page());
        let whole = answer.ends_with(std::str::from_utf8(page().plain.bytes).expect("text"));
        let status: u16 = answer[9..12].parse().expect("a status");
        assert_eq!(whole, status == 200, "{lines}");
        status
    };
    for lines in [
        format!("If-None-Match: {etag}\r\n"),
        format!("If-None-Match: W/{etag}\r\n"),
        format!("if-none-match: \"a\" , {etag}\r\n"),
        format!("If-None-Match: \"a\"\r\nIf-None-Match: {etag}\r\n"),
        "If-None-Match: *\r\n".to_string(),
    ] {
        assert_eq!(status(&lines), 304, "{lines}");
    }
    let bare = etag.trim_matches('"');
    for lines in
        ["", "If-None-Match: \"a\"\r\n", &format!("If-None-Match: {bare}\r\n"), "If-None-Match: ,,\r\n"]
    {
        assert_eq!(status(lines), 200, "{lines}");
    }
}

#[test]
fn answer_has_the_cache_and_security_headers() {
    let answer = asked("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", page());
    assert!(answer.ends_with("\r\n\r\n"), "HEAD has no body");
    for line in [
        format!("Content-Length: {}", page().plain.bytes.len()),
        format!("ETag: {}", page().plain.etag),
        "Content-Type: text/html; charset=utf-8".into(),
        "Cache-Control: no-cache".into(),
        "X-Content-Type-Options: nosniff".into(),
        "Referrer-Policy: no-referrer".into(),
        "Cross-Origin-Resource-Policy: same-origin".into(),
        "Cross-Origin-Opener-Policy: same-origin".into(),
    ] {
        assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line}: {answer}");
    }
    assert!(answer.contains("script-src 'self';") && !answer.contains("unsafe"), "{answer}");
    let script = FILES.iter().find(|file| file.path.ends_with(".js") && file.path.starts_with("/assets/"));
    let answer = asked("GET / HTTP/1.1\r\nHost: x\r\n\r\n", script.expect("the page has a script"));
    assert!(answer.contains("\r\nCache-Control: public, max-age=31536000, immutable\r\n"), "{answer}");
}
