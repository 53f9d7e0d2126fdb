//! Probes with an expected outcome, and peers that do not speak the protocol.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use seawall::health::finding::{Cause, Fault};
use seawall::net::target::{DependencyKind, Target};
use seawall::probe::Probe;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::wait::{LATE, SOON, in_time, until};

/// Long enough for a busy machine; a test that waits for silence uses [`BRIEF`].
pub const PATIENT: Duration = Duration::from_secs(30);
pub const BRIEF: Duration = Duration::from_millis(500);
/// The time that a probe may take beyond its timeout on a busy machine: less than a second timeout, which would be a fault.
pub const GRACE: Duration = Duration::from_millis(450);

pub fn probe(kind: DependencyKind, address: &str) -> Probe {
    Probe::new(Target::parse(kind, address).expect("a good address"), "test-1")
}

/// Runs a probe that must find no fault, and returns its warning.
#[track_caller]
pub fn well(probe: &mut Probe) -> Option<String> {
    let finding = probe.look(PATIENT);
    finding.result.unwrap_or_else(|cause| panic!("{cause:?} after {:?}", finding.latency))
}

/// Runs a probe that must find this fault, with a text that contains all of `words`.
#[track_caller]
pub fn fails(probe: &mut Probe, fault: Fault, words: &[&str]) -> Cause {
    fails_within(probe, PATIENT, fault, words)
}

#[track_caller]
pub fn fails_within(probe: &mut Probe, timeout: Duration, fault: Fault, words: &[&str]) -> Cause {
    let mut cause = probe.look(timeout).result.expect_err("a fault");
    let is_late = |cause: &Cause| cause.fault == Fault::Timeout && fault != Fault::Timeout;
    // A busy machine may need longer than a short timeout for the answer that is the fault.
    for _ in 0..2 {
        if is_late(&cause) {
            cause = probe.look(timeout).result.expect_err("a fault");
        }
    }
    assert!(!is_late(&cause), "{LATE}: {fault:?}: {cause:?}");
    assert_eq!(cause.fault, fault, "{cause:?}");
    for word in words {
        assert!(cause.text.contains(word), "{word:?} is not in {:?}", cause.text);
    }
    assert!(cause.look_at.ends_with('.'), "{cause:?}");
    cause
}

/// Checks that several probes of a silent server end in time and leave no thread.
#[track_caller]
pub fn silent_in_time(probe: &mut Probe, fault: Fault) {
    let before = own_threads();
    for _ in 0..6 {
        in_time(BRIEF + GRACE, || {
            let started = Instant::now();
            let found = probe.look(BRIEF).result.expect_err("a fault").fault;
            // A busy machine may be silent where only one answer is missing.
            if found == fault { started.elapsed() } else { Duration::MAX }
        });
    }
    until(SOON, "the probes left no thread", || own_threads() <= before);
}

/// The number of threads with the name of this one. An unnamed thread inherits its creator's name, and other tests of
/// this process create threads too.
fn own_threads() -> usize {
    let name = |task: &std::path::Path| std::fs::read_to_string(task.join("comm")).unwrap_or_default();
    let own = name(std::path::Path::new("/proc/thread-self"));
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux has /proc");
    tasks.filter(|task| task.as_ref().is_ok_and(|task| name(&task.path()) == own)).count()
}

/// An address that refuses connections, because nothing listens on its held port.
pub fn unused_address() -> (seawall_fault::HeldPort, SocketAddr) {
    let port = seawall_fault::HeldPort::loopback().expect("a free port");
    let address = port.address();
    (port, address)
}

/// Answers each connection with these bytes, whatever it sends, until it ends.
pub fn parrot(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while stream.read(&mut piece).is_ok_and(|count| count > 0) {
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Sends these bytes repeatedly, one every few milliseconds, so that every single read is answered in time.
pub fn dripper(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                for byte in bytes.iter().cycle() {
                    std::thread::sleep(BRIEF / 20);
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Forwards everything except messages to a subscription, like a load balancer that does not support pub/sub.
pub struct DeafProxy {
    pub address: SocketAddr,
    pub is_deaf: Arc<AtomicBool>,
    pub connections: Arc<AtomicUsize>,
}

impl DeafProxy {
    pub fn before(server: SocketAddr) -> DeafProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = DeafProxy {
            address: listener.local_addr().expect("bound"),
            is_deaf: Arc::default(),
            connections: Arc::default(),
        };
        let (is_deaf, connections) = (proxy.is_deaf.clone(), proxy.connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let Ok(upstream) = TcpStream::connect(server) else { continue };
                pass(stream.try_clone().unwrap(), upstream.try_clone().unwrap(), |_| true);
                let is_deaf = is_deaf.clone();
                pass(upstream, stream, move |bytes| {
                    !(is_deaf.load(Ordering::SeqCst) && bytes.windows(9).any(|word| word == b"message\r\n"))
                });
            }
        });
        proxy
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool + Send + 'static) {
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            if passes(&piece[..count]) && to.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// A self-signed certificate for `localhost`, with its key.
pub fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate")
}

/// Completes a TLS handshake as a server, and then answers nothing.
pub fn tls_server(certified: &CertifiedKey<rcgen::KeyPair>) -> SocketAddr {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let config_is_fine = tls.complete_io(&mut stream).is_ok();
            let _ = config_is_fine && stream.read(&mut [0; 1]).is_ok();
        }
    });
    address
}
