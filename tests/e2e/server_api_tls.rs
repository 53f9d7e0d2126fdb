//! The server API over TLS, with the certificate of `[tls]`, and its settings that contradict others.

use crate::support::backend::{Backend, address_of, setup};
use crate::support::line::trust;
use crate::support::wait::{SOON, until};
use crate::support::{Certificate, Setup};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

#[test]
fn api_with_tls_has_the_certificate_of_clients_and_a_renewed_one_after_a_reload() {
    let old = Certificate::new();
    let gateway = setup().tls(old.clone()).env("SEAWALL_API_TLS", "true").start();
    let api = address_of(&gateway);
    trust(api, Some(Arc::new(old.client())));
    let mut backend = Backend::of(&gateway);
    let one = json!({"channel": "a", "data": 1});
    assert_eq!(backend.publish(&one)["offset"], 1);
    let items: Vec<Value> =
        (0..1_000).map(|n| json!({"channel": "b", "data": [n, "x".repeat(200)]})).collect();
    let answer = backend.post("/v1/batch", &json!({"items": items})).json();
    assert_eq!(answer["stored"], 1_000, "body and answer are larger than a record");
    let page = backend.get("/v1/channels/b/history?after=0&limit=300").json();
    assert_eq!(page["publications"].as_array().map(Vec::len), Some(300));

    let mut plain = TcpStream::connect(api).expect("it listens");
    plain.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    plain.write_all(b"GET /v1/openapi.json HTTP/1.1\r\nHost: api\r\n\r\n").expect("sent");
    let mut got = Vec::new();
    let _ = plain.read_to_end(&mut got);
    assert!(!got.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&got));
    until(SOON, "it is counted", || gateway.metric("seawall_api_handshakes_failed_total") == 1.0);

    let new = Certificate::new();
    new.write(gateway.setup().folder());
    gateway.signal(Signal::HUP);
    until(SOON, "the reload is logged", || gateway.output().contains("reloaded changed=1"));
    assert_eq!(backend.publish(&one)["offset"], 2, "the open connection continues");
    trust(api, Some(Arc::new(new.client())));
    assert_eq!(Backend::of(&gateway).publish(&one)["offset"], 3);
    trust(api, None);
}

#[test]
fn handshake_that_comes_byte_by_byte_ends_at_its_deadline() {
    let certificate = Certificate::new();
    let gateway = setup().tls(certificate).env("SEAWALL_API_TLS", "true").limit("head_ms", 300).start();
    let mut slow = TcpStream::connect(address_of(&gateway)).expect("it listens");
    // The head of a record of 16 KiB, whose bytes follow one by one.
    slow.write_all(&[22, 3, 1, 64, 0]).expect("sent");
    slow.set_read_timeout(Some(std::time::Duration::from_millis(20))).expect("a timeout can be set");
    until(SOON, "the gateway ends it", || {
        slow.write_all(&[1]).is_err() || matches!(slow.read(&mut [0; 64]), Ok(0))
    });
    gateway.shows("seawall_api_handshakes_failed_total", 1.0);
}

#[test]
fn settings_of_the_api_that_contradict_others_are_refused() {
    let refused = |variables: &[(&str, &str)]| {
        let setup =
            variables.iter().fold(Setup::new().plain(), |setup, (name, value)| setup.env(name, value));
        match setup.try_start() {
            Ok(_) => panic!("it started with {variables:?}"),
            Err(refused) => refused.output,
        }
    };
    let listen = ("SEAWALL_API_LISTEN", "127.0.0.1:0");
    let said = refused(&[listen]);
    assert!(said.contains("api.listen") && said.contains("add [[api.keys]]"), "{said}");
    let said = refused(&[listen, ("SEAWALL_API_AUDIENCE", "api")]);
    assert!(said.contains("api.audience") && said.contains("add [[auth.keys]]"), "{said}");
    let auth = ("SEAWALL_AUTH_SECRET", "0123456789abcdef0123456789abcdef");
    let said = refused(&[listen, auth, ("SEAWALL_API_AUDIENCE", "api"), ("SEAWALL_API_TLS", "true")]);
    assert!(said.contains("api.tls") && said.contains("has no effect without tls.certificate"), "{said}");
}
