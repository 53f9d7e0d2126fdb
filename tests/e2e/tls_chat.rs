//! Over wss everything works as over ws: chat, large frames, small records, slow readers, closes.

use crate::e2e::slow_subscriber::short_lag;
use crate::support::raw::{UPGRADE, dial};
use crate::support::{Certificate, Client, Frame, Gateway, Line, RawClient, SOON, Setup, until};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

fn gateway() -> Gateway {
    Setup::new().tls(Certificate::new()).start()
}

#[test]
fn clients_chat_over_wss_and_the_printed_urls_say_so() {
    let gateway = gateway();
    let address = gateway.address;
    for line in
        [format!("listening on wss://{address}/ws"), format!("https://{address}/health"), "TLS  ".into()]
    {
        // It serves before it has printed everything.
        until(SOON, &line, || gateway.output().contains(&line));
    }
    let (mut alice, mut bob) = (Client::connect(&gateway), Client::connect(&gateway));
    bob.subscribe("c");
    let long = "x".repeat(60_000);
    for (offset, text) in [(1, "hello"), (2, &*long), (3, "bye")] {
        assert_eq!(alice.publish("c", json!(text)), offset);
        let publication = bob.next_push("publication");
        assert_eq!((&publication["offset"], &publication["data"]), (&json!(offset), &json!(text)));
    }
    let page = gateway.fetch("/");
    assert!(page.status == 200 && page.body.contains("<html"), "{}", page.status);
    assert_eq!(gateway.fetch("/health/live").status, 200);
    assert_eq!(gateway.metrics()["seawall_tls_truncated_total"], 0.0);
    assert!(gateway.metric("seawall_tls_handshake_seconds_total") > 0.0);
}

#[test]
fn browsers_learn_to_come_back_over_tls_if_that_is_configured() {
    let toml = "[tls]\nhsts_max_age_s = 31536000\n";
    let strict = Setup::new().tls(Certificate::new()).env("SEAWALL_TLS_HSTS_MAX_AGE_S", "31536000").start();
    for path in ["/", "/health/live", "/metrics"] {
        let answer = strict.fetch(path);
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"), "{path}");
        assert_eq!(gateway().fetch(path).header("strict-transport-security"), None, "{path}");
    }
    let refused = Setup::new().plain().toml(toml).try_start().err().expect("no effect without TLS");
    assert!(refused.output.contains("has no effect without tls.certificate"), "{}", refused.output);
}

#[test]
fn small_frames_share_records_and_a_frame_in_many_records_arrives() {
    let certificate = Certificate::new();
    // One reactor has counted what it sent when it answers with its metrics.
    let gateway = Setup::new().arguments(&["--echo", "--reactors", "1"]).tls(certificate.clone()).start();
    let mut config = certificate.client();
    config.max_fragment_size = Some(64);
    let socket = dial(gateway.address, None, None).expect("accepted");
    let mut client = RawClient { stream: Line::tls(socket, Arc::new(config), "localhost") };
    client.stream.set_read_timeout(Some(SOON)).expect("a timeout");
    client.upgrade("/echo");
    let large = "y".repeat(40_000);
    client.send(&Frame::text(&large));
    assert_eq!(client.next_frame().payload, large.as_bytes());
    let before = gateway.metric("seawall_sent_bytes_total");
    let burst: Vec<u8> = (0..500).flat_map(|_| Frame::text("z").bytes()).collect();
    client.write(&burst);
    for _ in 0..500 {
        assert_eq!(client.next_frame().payload, b"z");
    }
    let sent = gateway.metric("seawall_sent_bytes_total") - before;
    // Three bytes for each frame, 22 more for each record, and the responses with metrics.
    let answer = gateway.fetch("/metrics").body.len() as f64 + 4_000.0;
    assert!(sent < 500.0 * 3.0 + answer + 22.0 * 60.0, "{sent} bytes were sent");
}

#[test]
fn subscriber_that_reads_late_gets_everything_in_order() {
    let gateway = Setup::new().unlimited().tls(Certificate::new()).start();
    short_lag(&gateway);
}

#[test]
fn client_that_reads_nothing_costs_no_more_than_the_bound() {
    let gateway =
        Setup::new().arguments(&["--echo"]).limit("stall_ms", 1_500).tls(Certificate::new()).start();
    let socket = dial(gateway.address, None, Some(4096)).expect("accepted");
    let mut stalled = RawClient::from(socket);
    stalled.upgrade("/echo");
    stalled.stream.set_write_timeout(Some(SOON)).expect("a timeout");
    let frame = Frame::text("x".repeat(60_000)).bytes();
    let mut bound = 0.0_f64;
    // The writes end with an error, because the gateway stops reading and then closes the connection.
    while stalled.try_write(&frame).is_ok() {
        bound = bound.max(gateway.metric("seawall_outbox_bytes"));
    }
    assert!(bound > 0.0 && bound < (1 << 20) as f64 + 300_000.0, "{bound} bytes waited");
    until(SOON, "the connection is closed", || gateway.metric("seawall_outbox_bytes") == 0.0);
}

#[test]
fn close_notify_precedes_the_end_of_a_connection() {
    let gateway = gateway();
    let mut client = RawClient::connected(&gateway);
    client.send(&Frame::close(1000, ""));
    let frame = client.next_frame();
    assert_eq!(frame.close().0, 1000);
    let ended = client.stream.read(&mut [0; 16]);
    assert!(matches!(ended, Ok(0)), "a close_notify comes before the end: {ended:?}");

    let mut answered = RawClient::to(&gateway);
    answered.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(answered.response().status, 200);
    assert!(matches!(answered.stream.read(&mut [0; 16]), Ok(0)));
}

#[test]
fn idle_connection_is_closed_with_close_notify() {
    let gateway = Setup::new().limit("keep_alive_ms", 200).tls(Certificate::new()).start();
    let mut idle = RawClient::to(&gateway);
    idle.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(idle.response().status, 200);
    let ended = idle.stream.read(&mut [0; 16]);
    assert!(matches!(ended, Ok(0)), "a close_notify comes before the end: {ended:?}");
}

#[test]
fn client_close_notify_is_answered_and_its_absence_is_counted() {
    let gateway = gateway();
    let mut polite = RawClient::connected(&gateway);
    polite.stream.connection_mut().send_close_notify();
    polite.stream.flush().expect("open");
    let ended = polite.stream.read(&mut [0; 64]);
    assert!(matches!(ended, Ok(0)), "{ended:?}");
    assert_eq!(gateway.metric("seawall_tls_truncated_total"), 0.0);

    let rude = RawClient::connected(&gateway);
    rude.stream.tcp().shutdown(std::net::Shutdown::Both).expect("open");
    until(SOON, "the truncation is counted", || gateway.metric("seawall_tls_truncated_total") == 1.0);
    until(SOON, "only the scrape is connected", || gateway.metric("seawall_connections") == 1.0);
}

#[test]
fn altered_record_ends_the_connection_with_an_alert() {
    let gateway = gateway();
    let mut client = RawClient::connected(&gateway);
    let mut wrong = vec![0x17, 3, 3, 0, 32];
    wrong.extend([9; 32]);
    client.stream.tcp().write_all(&wrong).expect("open");
    let mut rest = Vec::new();
    let error = client.stream.read_to_end(&mut rest).expect_err("an alert");
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    until(SOON, "it is counted", || gateway.metrics()["seawall_tls_failures_total{cause=\"broken\"}"] == 1.0);
}

#[test]
fn http_origin_is_refused_by_a_gateway_with_tls() {
    let gateway = gateway();
    let address = gateway.address;
    let answer = |scheme: &str| {
        let mut client = RawClient::to(&gateway);
        let head =
            UPGRADE.replace("Host: localhost", &format!("Host: {address}\r\nOrigin: {scheme}://{address}"));
        client.write(head.as_bytes());
        assert_eq!(client.response().status, 101);
        client.send(&Frame::text(r#"{"id":1,"connect":{}}"#));
        client.next_json()
    };
    assert!(answer("https")["connected"].is_object());
    assert_eq!(answer("http")["bye"]["code"], 4506);
}
