//! TLS to PostgreSQL: what each `sslmode` verifies, the errors, and the agreement of probe and store.

use crate::postgres::rig::{KEEP_ALL, Rig, keyed};
use crate::servers::{Postgres, process};
use crate::support::wait::{LATE, in_time};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use seawall::net::target::{DependencyKind, Target};
use seawall::probe::Probe;
use seawall::store::postgres::new_epoch;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Files of a certificate authority, of a server certificate for `localhost` signed by it, and of another authority.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Certificates {
        let folder = tempfile::Builder::new().prefix("seawall-tls-").tempdir().expect("a temporary folder");
        let (authority, signer) = authority("ours");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let server = server.signed_by(&key, &signer).expect("a certificate");
        let certificates = Certificates { folder };
        certificates.write("ca.pem", &authority);
        certificates.write("other.pem", &self::authority("another").0);
        certificates.write("server.pem", &server.pem());
        certificates.write("server.key", &key.serialize_pem());
        process::give(certificates.folder.path());
        certificates
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file is written");
        let mode = if name.ends_with("key") { 0o600 } else { 0o644 };
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("its mode is set");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn roots(&self, name: &str) -> String {
        format!("sslrootcert={}", self.path(name).display())
    }

    /// A server that accepts only TLS connections, with a password.
    fn server(&self) -> Postgres {
        let text = |name: &str| self.path(name).display().to_string();
        let (certificate, key) = (text("server.pem"), text("server.key"));
        let settings = [("ssl", "on"), ("ssl_cert_file", &*certificate), ("ssl_key_file", &*key)];
        let server = Postgres::start_with(&settings);
        server.sql("SET password_encryption = 'scram-sha-256'; ALTER ROLE seawall PASSWORD 'hunter22'");
        let rules =
            "local all all trust\nhostssl all seawall all scram-sha-256\nhostnossl all seawall all reject\n";
        rule(&server, rules);
        server
    }
}

/// Replaces the rules of pg_hba.conf and waits until they are loaded.
pub fn rule(server: &Postgres, rules: &str) {
    let file: &Path = &server.data().join("pg_hba.conf");
    std::fs::write(file, rules).expect("rules are written");
    server.sql("SELECT pg_reload_conf()");
    let loaded = || server.sql("SELECT count(*) FROM pg_hba_file_rules") == rules.lines().count().to_string();
    crate::support::wait::until(crate::support::wait::SOON, "the rules are read", loaded);
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    (made.pem(), Issuer::new(params, key))
}

fn url(server: &Postgres, host: &str, query: &str) -> String {
    format!("postgres://seawall:hunter22@{host}:{}/seawall?{query}", server.address().port())
}

/// The errors of the store and of the probe with this address; `None` for success.
fn both(url: &str) -> (Option<String>, Option<String>) {
    let is_late = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains("no answer"));
    // A busy machine may take longer for a handshake than they wait.
    let mut tries = std::iter::repeat_with(|| both_once(url)).take(5);
    let said = tries.find(|(store, probed)| !is_late(store) && !is_late(probed));
    said.unwrap_or_else(|| panic!("{LATE}: an answer of the server"))
}

fn both_once(url: &str) -> (Option<String>, Option<String>) {
    let store = new_epoch(url, None).err().map(|error| error.to_string());
    let probed =
        Target::parse(DependencyKind::Postgres, url).map_err(|error| error.to_string()).and_then(|target| {
            let found = Probe::new(target, "one").look(Duration::from_secs(10)).result;
            found.map_err(|cause| cause.text)
        });
    (store, probed.err())
}

#[track_caller]
fn works(url: &str) {
    assert_eq!(both(url), (None, None), "{url}");
}

#[track_caller]
fn fails(url: &str, words: &[&str]) {
    let (store, probe) = both(url);
    for word in words {
        assert!(store.as_ref().is_some_and(|text| text.contains(word)), "{url}, store: {store:?}");
        assert!(probe.as_ref().is_some_and(|text| text.contains(word)), "{url}, probe: {probe:?}");
    }
}

#[test]
fn each_sslmode_verifies_as_documented_by_libpq_and_errors_name_the_remedy() {
    let certificates = Certificates::new();
    let server = certificates.server();
    let (ours, other) = (certificates.roots("ca.pem"), certificates.roots("other.pem"));
    for query in [
        "".into(),
        "sslmode=prefer".into(),
        "sslmode=require".into(),
        format!("sslmode=require&{ours}"),
        format!("sslmode=verify-full&{ours}"),
        format!("sslmode=verify-full&channel_binding=require&{ours}"),
    ] {
        works(&url(&server, "localhost", &query));
    }
    works(&url(&server, "127.0.0.1", &format!("sslmode=verify-ca&{ours}")));
    works(&url(&server, "localhost", &format!("hostaddr=127.0.0.1&sslmode=verify-full&{ours}")));
    let named = ["not valid for name", "127.0.0.1", "subjectAltName"];
    fails(&url(&server, "127.0.0.1", &format!("sslmode=verify-full&{ours}")), &named);
    let unknown = ["UnknownIssuer", "name the file of the authority that signed it"];
    fails(&url(&server, "localhost", &format!("sslmode=verify-full&{other}")), &unknown);
    fails(&url(&server, "localhost", &format!("sslmode=verify-ca&{other}")), &unknown);
    fails(&url(&server, "localhost", &format!("sslmode=require&{other}")), &unknown);
    fails(&url(&server, "localhost", "sslmode=verify-full"), &unknown);
    let absent = certificates.roots("absent.pem");
    fails(
        &url(&server, "localhost", &format!("sslmode=verify-full&{absent}")),
        &["sslrootcert", "absent.pem"],
    );
    fails(
        &url(&server, "localhost", &format!("sslmode=verify-full&{}", certificates.roots("server.key"))),
        &["has no certificate"],
    );
    fails(&url(&server, "localhost", "sslmode=disable"), &["28000", "pg_hba.conf"]);
    fails(&url(&server, "localhost", "sslmode=verify-fully"), &["verify-full"]);
}

#[test]
fn self_signed_certificate_is_its_own_authority_unless_marked_as_a_ca() {
    let certificates = Certificates::new();
    let server = certificates.server();
    let url = url(&server, "localhost", &format!("sslmode=verify-full&{}", certificates.roots("server.pem")));
    let show = |is_ca: IsCa| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.is_ca = is_ca;
        certificates.write("server.pem", &params.self_signed(&key).expect("a certificate").pem());
        certificates.write("server.key", &key.serialize_pem());
        process::give(certificates.folder.path());
        server.sql("SELECT pg_reload_conf()");
    };
    show(IsCa::ExplicitNoCa);
    crate::support::wait::until(crate::support::wait::SOON, "the server uses the new certificate", || {
        both(&url) == (None, None)
    });
    show(IsCa::Ca(BasicConstraints::Unconstrained));
    crate::support::wait::until(crate::support::wait::SOON, "the server uses the other certificate", || {
        both(&url).0.is_some_and(|text| text.contains("CaUsedAsEndEntity"))
    });
    fails(&url, &["CaUsedAsEndEntity", "CA:FALSE"]);
}

#[test]
fn server_without_tls_is_used_only_where_sslmode_allows_it() {
    let server = Postgres::start();
    works(&url(&server, "localhost", "sslmode=prefer"));
    works(&url(&server, "localhost", "sslmode=disable"));
    for mode in ["require", "verify-ca", "verify-full"] {
        fails(
            &url(&server, "localhost", &format!("sslmode={mode}")),
            &["speaks no TLS", "ssl=on", "localhost"],
        );
    }
    let socket = server.socket_folder().display().to_string().replace('/', "%2F");
    works(&url(&server, &socket, "sslmode=require"));
    fails(&url(&server, "localhost", "sslmode=disable&channel_binding=require"), &["channel"]);
}

#[test]
fn publications_are_stored_over_tls_and_reconnects_use_tls() {
    let certificates = Certificates::new();
    let server = certificates.server();
    let url = url(&server, "localhost", &format!("sslmode=verify-full&{}", certificates.roots("ca.pem")));
    let mut rig = Rig::postgres_with(crate::postgres::rig::config(url, KEEP_ALL, 1_000)).ready();
    let clear = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'seawall' AND NOT ssl";
    for n in 1..=20 {
        assert_eq!(rig.offset(keyed("c", &format!("k{n}"))), n);
        if n % 5 == 0 {
            // The call returns when the sessions have ended.
            server.sql(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'seawall'",
            );
            crate::support::wait::until(crate::support::wait::SOON, "all have reconnected", || {
                rig.is_connected()
            });
        }
    }
    assert_eq!(server.sql(clear), "0");
    assert_eq!(rig.all("c").len(), 20);
    rig.close();
}

#[test]
fn hanging_commit_is_cancelled_over_tls_and_leaves_no_session() {
    let certificates = Certificates::new();
    let server = certificates.server();
    let url = url(&server, "localhost", &format!("sslmode=verify-full&{}", certificates.roots("ca.pem")));
    let mut rig = Rig::postgres_with(crate::postgres::rig::config(url, KEEP_ALL, 1_000)).ready();
    server.hang_commits();
    let abandoned = |rig: &Rig| rig.counters.connections_abandoned.load(std::sync::atomic::Ordering::Relaxed);
    let mut n = 0;
    crate::support::wait::until(crate::support::wait::SOON * 3, "three connections are abandoned", || {
        n += 1;
        assert!(rig.append(keyed("c", &format!("k{n}"))).is_err());
        abandoned(&rig) >= 3
    });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'seawall' AND wait_event = 'SyncRep'";
    // Each of the two writers may be in its next attempt.
    crate::support::wait::until(crate::support::wait::SOON, "the abandoned sessions have ended", || {
        server.sql(waiting).parse::<u32>().expect("a number") <= 2
    });
    server.let_commits_go();
    crate::support::wait::until(crate::support::wait::SOON, "publications are stored again", || {
        rig.append(keyed("c", "last")).is_ok()
    });
    rig.close();
}

#[test]
fn server_that_falls_silent_in_the_handshake_costs_two_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 8];
            if stream.read_exact(&mut request).and_then(|()| stream.write_all(b"S")).is_ok() {
                kept.push(stream);
            }
        }
    });
    in_time(Duration::from_secs(4), || {
        let begun = Instant::now();
        let error = new_epoch(&format!("postgres://seawall@{address}/seawall?sslmode=require"), None);
        let took = begun.elapsed();
        assert!(error.is_err_and(|error| error.to_string().contains("no answer")));
        assert!(took >= Duration::from_secs(1), "{took:?}");
        took
    });
}
