//! HTTP services and ClickHouse's HTTP interface.

use crate::servers::{Answer, Http};
use crate::support::{BRIEF, fails, fails_within, parrot, probe, silent_in_time, unused_address, well};
use seawall::health::finding::Fault;
use seawall::net::target::{DependencyKind, Expect, Target};
use seawall::probe::Probe;
use std::time::Duration;

fn text(status: u16, body: &str) -> Answer {
    Answer::With { status, content_type: "text/plain".into(), body: body.into(), after: Duration::ZERO }
}

#[test]
fn probe_keeps_one_connection_and_succeeds_after_a_restart() {
    let mut http = Http::start();
    let mut probe = probe(DependencyKind::Http, &http.url("/health"));
    for _ in 0..3 {
        assert_eq!(well(&mut probe), None);
    }
    http.stop();
    fails(&mut probe, Fault::Refused, &["refuses", &http.address().to_string()]);
    http.start_again();
    well(&mut probe);
    // Cut between two probes: the next one reconnects and finds no fault.
    http.stop();
    http.start_again();
    well(&mut probe);
    assert_eq!(http.count(), 5);
}

#[test]
fn unexpected_status_field_or_redirect_is_a_fault() {
    let http = Http::start();
    http.answer("/sick", Answer::json(503, r#"{"error":"no database"}"#));
    http.answer("/health", Answer::json(200, r#"{"status":"degraded","checks":[{"state":"up"}]}"#));
    http.answer("/moved", text(302, "elsewhere"));
    fails(&mut probe(DependencyKind::Http, &http.url("/sick")), Fault::Status, &["503", "no database"]);
    fails(&mut probe(DependencyKind::Http, &http.url("/moved")), Fault::Status, &["302", "2xx"]);
    let expecting = |path: &str, wanted: &str| {
        let field = Some((path.to_string(), wanted.to_string()));
        let target = Target::parse(DependencyKind::Http, &http.url("/health")).unwrap();
        Probe::new(target.with_expect(Expect { status: Some(200), field }).unwrap(), "test-1")
    };
    well(&mut expecting("checks.0.state", "up"));
    fails(&mut expecting("status", "ok"), Fault::Field, &["status", "degraded", "ok"]);
    fails(&mut expecting("nothing", "ok"), Fault::Field, &["no field nothing"]);
}

#[test]
fn long_body_is_read_to_its_bound() {
    let http = Http::start();
    http.answer("/big", text(200, &"x".repeat(1 << 20)));
    assert_eq!(well(&mut probe(DependencyKind::Http, &http.url("/big"))), None);
    let field = Some(("a".to_string(), "b".to_string()));
    let target = Target::parse(DependencyKind::Http, &http.url("/big")).unwrap();
    let mut probe = Probe::new(target.with_expect(Expect { status: None, field }).unwrap(), "test-1");
    fails(&mut probe, Fault::Field, &["longer than"]);
}

#[test]
fn service_that_hangs_resets_or_stops_halfway_is_reported_in_time() {
    let http = Http::start();
    http.answer("/hang", Answer::Hang);
    http.answer("/reset", Answer::Reset);
    http.answer("/half", Answer::HalfThenReset { body: "x".repeat(1_000) });
    fails_within(&mut probe(DependencyKind::Http, &http.url("/hang")), BRIEF, Fault::Timeout, &["in time"]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", silent.local_addr().unwrap());
    silent_in_time(&mut probe(DependencyKind::Http, &address), Fault::Timeout);
    fails(&mut probe(DependencyKind::Http, &http.url("/reset")), Fault::Reset, &["ended the connection"]);
    fails(&mut probe(DependencyKind::Http, &http.url("/half")), Fault::Reset, &[]);
}

#[test]
fn non_http_answer_is_reported_without_the_secret() {
    let garbage = parrot(b"hunter22 \0\0\0 not HTTP\r\n\r\n");
    let address = format!("http://me:hunter22@{garbage}/?key=hunter22");
    let cause =
        fails_within(&mut probe(DependencyKind::Http, &address), BRIEF * 4, Fault::Protocol, &["HTTP"]);
    assert!(!cause.text.contains("hunter22"), "{cause:?}");
}

#[test]
fn credentials_of_the_address_are_sent_and_never_shown() {
    let http = Http::start();
    let address = http.url("/").replace("http://", "http://me:hunter22@");
    http.answer("/", Answer::json(401, r#"{"you sent":"hunter22"}"#));
    let cause = fails(&mut probe(DependencyKind::Http, &address), Fault::Status, &["401"]);
    assert!(!cause.text.contains("hunter22"), "{cause:?}");
    let sent = http.requests()[0].headers["authorization"].clone();
    assert_eq!(sent, "Basic bWU6aHVudGVyMjI=");
}

#[test]
fn clickhouse_must_answer_ping_and_select() {
    let http = Http::start();
    http.answer("/ping", text(200, "Ok.\n"));
    http.answer("/", text(200, "1\n"));
    let address = http.url("").replace("http://", "http://me:hunter22@");
    let mut probe = probe(DependencyKind::Clickhouse, &address);
    assert_eq!(well(&mut probe), None);
    let requests = http.requests();
    assert_eq!(requests[1].path, "/?query=SELECT%201");
    assert_eq!(requests[1].headers["x-clickhouse-key"], "hunter22");
    http.answer("/", text(403, "Code: 516. DB::Exception: me: Authentication failed: hunter22"));
    let cause = fails(&mut probe, Fault::Credentials, &["SELECT 1", "516"]);
    assert!(!cause.text.contains("hunter22"), "{cause:?}");
    http.answer("/", text(500, "Code: 243. DB::Exception: Cannot reserve space"));
    fails(&mut probe, Fault::Status, &["243"]);
    http.answer("/ping", text(200, "<html>a web server</html>"));
    fails(&mut probe, Fault::Protocol, &["/ping", "<html>"]);
    let (_port, gone) = unused_address();
    fails(
        &mut crate::support::probe(DependencyKind::Clickhouse, &format!("http://{gone}")),
        Fault::Refused,
        &["refuses"],
    );
}
