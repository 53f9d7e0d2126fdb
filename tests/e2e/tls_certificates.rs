//! Certificates: a wrong one is refused at the start with an error, one that expires soon causes a warning.

use crate::support::line::trust;
use crate::support::raw::dial;
use crate::support::token::unix_s;
use crate::support::{Certificate, Client, Gateway, Line, RawClient, SOON, Setup, until};
use rcgen::{CertificateParams, date_time_ymd};
use rustix::process::Signal;
use rustls::{ClientConfig, HandshakeKind};
use std::sync::Arc;

/// Starts a gateway with these files, which must fail, and returns its output.
fn refused(certificate: &str, key: &str) -> String {
    let setup = Setup::new().env("SEAWALL_TLS_CERTIFICATE", "tls.crt").env("SEAWALL_TLS_KEY", "tls.key");
    std::fs::write(setup.folder().join("tls.crt"), certificate).expect("written");
    std::fs::write(setup.folder().join("tls.key"), key).expect("written");
    match setup.try_start() {
        Ok(_) => panic!("it started"),
        Err(refused) => {
            assert_eq!(refused.status.code(), Some(2), "{}", refused.output);
            refused.output
        }
    }
}

fn ending_in(days: i64) -> impl FnOnce(&mut CertificateParams) {
    move |params| {
        let end = i64::try_from(unix_s()).expect("near") + days * 86_400 + 3_600;
        params.not_after = date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(end as u64);
    }
}

#[test]
fn wrong_certificate_or_key_is_refused_with_the_reason() {
    let good = Certificate::new();
    let said = refused(&good.pem, &Certificate::new().key);
    assert!(
        said.contains("SEAWALL_TLS_KEY: tls.key: the key does not match the first certificate"),
        "{said}"
    );
    let said = refused(&good.key, &good.key);
    assert!(said.contains("SEAWALL_TLS_CERTIFICATE: tls.certificate: the file has no certificate"), "{said}");
    let past = Certificate::with(ending_in(-3));
    let said = refused(&past.pem, &past.key);
    assert!(said.contains("the certificate expired on ") && said.contains("renew it"), "{said}");
    let alone = Setup::new().env("SEAWALL_TLS_CERTIFICATE", "tls.crt").env("SEAWALL_TLS_KEY", "").try_start();
    let said = alone.err().map(|refused| refused.output).unwrap_or_default();
    assert!(said.contains("has no effect without tls.key"), "{said}");
    let missing =
        Setup::new().env("SEAWALL_TLS_CERTIFICATE", "no.crt").env("SEAWALL_TLS_KEY", "no.key").try_start();
    let said = missing.err().map(|refused| refused.output).unwrap_or_default();
    assert!(said.contains("tls.certificate: cannot read no.crt: No such file"), "{said}");
}

#[test]
fn certificate_that_expires_soon_causes_a_warning_and_a_metric() {
    let gateway = Setup::new().tls(Certificate::with(ending_in(10))).start();
    until(SOON, "the log warns", || gateway.output().contains("in 10 days: renew it and send SIGHUP"));
    let end = gateway.metric("seawall_tls_certificate_not_after_seconds");
    let days = (end - unix_s() as f64) / 86_400.0;
    assert!((9.9..10.1).contains(&days), "{days}");

    let far: Gateway = Setup::new().tls(Certificate::with(ending_in(300))).start();
    assert_eq!(Client::connect(&far).publish("c", serde_json::json!(1)), 1);
    assert!(!far.output().contains("renew it"), "{}", far.output());
}

#[test]
fn renewed_certificate_is_served_after_sighup_and_connections_and_tickets_stay_valid() {
    let old = Certificate::with(ending_in(30));
    let gateway = Setup::new().tls(old.clone()).start();
    let mut chat = Client::connect(&gateway);
    let resumer = Arc::new(old.client());
    assert_eq!(handshake(&gateway, &resumer).ok(), Some(HandshakeKind::Full));

    let new = Certificate::with(ending_in(90));
    new.write(gateway.setup().folder());
    gateway.signal(Signal::HUP);
    until(SOON, "the reload is logged", || gateway.output().contains("reloaded changed=1"));
    trust(gateway.address, Some(Arc::new(new.client())));
    let days = (gateway.metric("seawall_tls_certificate_not_after_seconds") - unix_s() as f64) / 86_400.0;
    assert!((89.9..90.1).contains(&days), "{days}");
    assert!(
        handshake(&gateway, &Arc::new(old.client())).is_err(),
        "a client that trusts only the old certificate connected"
    );
    assert_eq!(handshake(&gateway, &Arc::new(new.client())).ok(), Some(HandshakeKind::Full));
    assert_eq!(
        handshake(&gateway, &resumer).ok(),
        Some(HandshakeKind::Resumed),
        "a ticket from before the renewal resumes"
    );
    assert_eq!(chat.publish("c", serde_json::json!("still here")), 1);
    trust(gateway.address, None);
}

#[test]
fn reload_with_a_wrong_file_keeps_the_old_certificate() {
    let good = Certificate::new();
    let gateway = Setup::new().tls(good.clone()).start();
    std::fs::write(gateway.setup().folder().join("tls.key"), &Certificate::new().key).expect("written");
    gateway.signal(Signal::HUP);
    until(SOON, "the reason is logged", || gateway.output().contains("the key does not match the first"));
    assert!(handshake(&gateway, &Arc::new(good.client())).is_ok());
    std::fs::remove_file(gateway.setup().folder().join("tls.key")).expect("the key file exists");
    gateway.signal(Signal::HUP);
    until(SOON, "the reason is logged", || gateway.output().contains("cannot read tls.key"));
    assert!(handshake(&gateway, &Arc::new(good.client())).is_ok());
}

/// Completes a handshake and an upgrade, because the tickets arrive with the first bytes after the handshake.
fn handshake(gateway: &Gateway, config: &Arc<ClientConfig>) -> std::io::Result<HandshakeKind> {
    let socket = dial(gateway.address, None, None)?;
    let mut line = Line::tls(socket, Arc::clone(config), "localhost");
    line.set_read_timeout(Some(SOON))?;
    line.handshake()?;
    let mut client = RawClient { stream: line };
    client.upgrade("/ws");
    client.stream.connection().handshake_kind().ok_or_else(|| std::io::Error::other("no handshake"))
}
