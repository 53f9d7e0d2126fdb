//! A connection against a rustls client over memory, with the bytes cut in every way and every kind of end.

use super::*;
use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use std::io::{Read as _, Write as _};

/// The configurations of both sides.
pub(in crate::reactor) struct Pair {
    pub(in crate::reactor) server: Arc<ServerConfig>,
    pub(in crate::reactor) client: Arc<ClientConfig>,
}

pub(in crate::reactor) fn pair(versions: &[&'static SupportedProtocolVersion]) -> Pair {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = signing_key.serialize_der().try_into().expect("PKCS#8");
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS12, &TLS13])
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("they belong together");
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.ticketer = aws_lc_rs::Ticketer::new().expect("random numbers");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::in_memory_sessions(8);
    Pair { server: Arc::new(server), client: Arc::new(client) }
}

pub(in crate::reactor) fn client(pair: &Pair) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::clone(&pair.client), name).expect("a client")
}

/// Both ends, and the bytes that each received.
struct Line {
    client: ClientConnection,
    server: Tls,
    opened: Vec<u8>,
    heard: Vec<u8>,
    last: Opened,
}

impl Line {
    fn new(pair: &Pair) -> Line {
        let server = Tls::new(Arc::clone(&pair.server)).expect("a server");
        Line { client: client(pair), server, opened: Vec::new(), heard: Vec::new(), last: Opened::More }
    }

    fn open(pair: &Pair) -> Line {
        let mut line = Line::new(pair);
        line.exchange(usize::MAX);
        assert_eq!(line.server.phase(), Phase::Open);
        line
    }

    /// Carries all waiting bytes in both directions, in pieces of at most `piece` bytes.
    fn exchange(&mut self, piece: usize) {
        loop {
            let mut up = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut up).expect("memory");
            }
            for piece in up.chunks_mut(piece.min(1 << 20)) {
                self.last = self.server.open(piece, &mut self.opened);
            }
            let down = self.server.unsent().to_vec();
            self.server.advance(down.len());
            self.deliver(&down);
            if up.is_empty() && down.is_empty() {
                return;
            }
        }
    }

    fn deliver(&mut self, mut down: &[u8]) {
        while !down.is_empty() {
            self.client.read_tls(&mut down).expect("memory");
            if self.client.process_new_packets().is_err() {
                return;
            }
            let mut read = [0; 20_000];
            while let Ok(length @ 1..) = self.client.reader().read(&mut read) {
                self.heard.extend_from_slice(&read[..length]);
            }
        }
    }

    fn client_read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_arrive_unchanged_in_pieces_of_any_size(
        piece in prop_oneof![Just(1usize), 2usize..40, 1_000usize..40_000],
        up in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20_000), 0..4),
        down in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..17_000), 0..4),
        new in any::<bool>(),
    ) {
        let pair = if new { pair(&[&TLS13]) } else { pair(&[&TLS12]) };
        let mut line = Line::new(&pair);
        line.exchange(piece);
        prop_assert_eq!(line.server.phase(), Phase::Open);
        for bytes in &up {
            line.client.writer().write_all(bytes).expect("memory");
            line.exchange(piece);
        }
        prop_assert_eq!(&line.opened, &up.concat());
        prop_assert!(line.server.rest.is_empty() && line.server.rest.capacity() == 0);
        let mut heard = Vec::new();
        for bytes in &down {
            let mut sealed = Vec::new();
            prop_assert_eq!(line.server.seal(bytes, &mut sealed), Ok(()));
            for piece in sealed.chunks(piece) {
                line.deliver(piece);
            }
            heard.extend(line.client_read());
        }
        prop_assert_eq!(heard, down.concat());
    }

    #[test]
    fn garbage_neither_panics_nor_opens_a_connection(
        garbage in prop::collection::vec(any::<u8>(), 1..2_000),
        begins in prop_oneof![Just(&[][..]), Just(&[0x16, 3, 1][..]), Just(&[0x16, 3, 3, 0, 40, 1, 0, 0, 36][..])],
        piece in 1usize..600,
    ) {
        let mut server = Tls::new(Arc::clone(&pair(&[&TLS13]).server)).expect("a server");
        let (mut bytes, mut opened) = ([begins, &garbage[..]].concat(), Vec::new());
        for piece in bytes.chunks_mut(piece) {
            if server.phase() != Phase::Failed {
                server.open(piece, &mut opened);
            }
        }
        prop_assert!(opened.is_empty() && !server.is_established());
        prop_assert!(server.rest.len() <= TLS_HELD_BYTES_MAX);
    }

    #[test]
    fn altered_bytes_are_refused_with_an_alert(at in 5usize..40, bit in 0u8..8) {
        let mut line = Line::open(&pair(&[&TLS13]));
        line.client.writer().write_all(b"twenty bytes of text").expect("memory");
        let mut up = Vec::new();
        line.client.write_tls(&mut up).expect("memory");
        if let Some(byte) = up.get_mut(at) {
            *byte ^= 1 << bit;
        }
        let outcome = line.server.open(&mut up, &mut line.opened);
        prop_assert_eq!(outcome, Opened::Failed(Error::DecryptError));
        prop_assert!(line.opened.is_empty() && !line.server.unsent().is_empty());
        prop_assert_eq!(line.server.seal(b"x", &mut Vec::new()), Err(Unsealable));
    }
}

#[test]
fn bytes_are_encrypted_in_as_few_records_as_possible() {
    let mut line = Line::open(&pair(&[&TLS13]));
    for (length, records) in [(1, 1), (16_384, 1), (16_385, 2), (40_000, 3)] {
        let mut sealed = Vec::new();
        line.server.seal(&vec![7; length], &mut sealed).expect("open");
        assert_eq!(sealed.len(), length + 22 * records, "{length}");
        line.deliver(&sealed);
        assert_eq!(line.client_read().len(), length);
    }
}

#[test]
fn second_connection_resumes_with_the_ticket_of_the_first_in_both_versions() {
    for version in [&TLS12, &TLS13] {
        let pair = pair(&[version]);
        let kinds = [Line::open(&pair), Line::open(&pair)].map(|line| line.server.handshake_kind());
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    }
}

#[test]
fn close_notify_of_each_side_reaches_the_other() {
    for version in [&TLS12, &TLS13] {
        let mut line = Line::open(&pair(&[version]));
        line.client.send_close_notify();
        line.exchange(7);
        assert_eq!((line.server.phase(), &line.last), (Phase::PeerDone, &Opened::PeerDone));
        let mut sealed = Vec::new();
        line.server.seal(b"still there", &mut sealed).expect("our half is open");
        assert!(line.server.say_done() && !line.server.say_done(), "once");
        assert_eq!(line.server.seal(b"x", &mut Vec::new()), Err(Unsealable));
        line.deliver(&sealed);
        line.exchange(usize::MAX);
        assert_eq!(line.client_read(), b"still there");
        let state = line.client.process_new_packets().expect("in order");
        assert!(state.peer_has_closed());
    }
}

#[test]
fn bytes_received_after_our_close_notify_are_ignored() {
    let mut line = Line::open(&pair(&[&TLS13]));
    assert!(line.server.say_done());
    let mut wrong = [0xFF; 100];
    assert_eq!(line.server.open(&mut wrong, &mut line.opened), Opened::More);
    assert_eq!((line.opened.len(), line.server.phase()), (0, Phase::Done));
}

#[test]
fn keys_are_updated_when_the_client_asks_for_it() {
    let mut line = Line::open(&pair(&[&TLS13]));
    for round in 0..3 {
        line.client.refresh_traffic_keys().expect("TLS 1.3");
        line.client.writer().write_all(b"up").expect("memory");
        line.exchange(3);
        let mut sealed = Vec::new();
        line.server.seal(b"down", &mut sealed).expect("open");
        line.deliver(&sealed);
        assert_eq!((line.opened.len(), line.client_read()), (2 * (round + 1), b"down".to_vec()));
    }
}

#[test]
fn nothing_is_sent_before_the_handshake_is_complete() {
    let mut server = Tls::new(Arc::clone(&pair(&[&TLS13]).server)).expect("a server");
    assert_eq!(server.seal(b"x", &mut Vec::new()), Err(Unsealable));
    assert!(!server.say_done() && server.unsent().is_empty());
}

#[test]
fn endless_client_hello_fails_the_connection() {
    let mut server = Tls::new(Arc::clone(&pair(&[&TLS13]).server)).expect("a server");
    // A handshake message that claims 60,000 bytes, in records of 16,000.
    let mut hello = vec![1, 0, 0xEA, 0x60];
    hello.resize(16_000, 0);
    let mut outcome = Opened::More;
    for _ in 0..3 {
        let mut record = vec![0x16, 3, 1, 0x3E, 0x80];
        record.extend_from_slice(&hello);
        outcome = server.open(&mut record, &mut Vec::new());
        if outcome != Opened::More {
            break;
        }
    }
    assert!(matches!(outcome, Opened::Failed(_)), "{outcome:?}");
}
