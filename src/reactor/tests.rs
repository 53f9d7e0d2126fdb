//! A reactor with real sockets, one turn at a time.

use super::tls::tests::{client, pair};
use super::*;
use crate::clock::Moment;
use crate::engine::{self, SlotId};
use crate::health::report::Report;
use crate::health::snapshot::Snapshot;
use crate::id::InstanceName;
use crate::job::Outlook;
use crate::job::client_errors::reports;
use crate::job::presence::presence;
use crate::job::stream::StreamQueue;
use crate::limits::{Limits, OUTSTANDING_MAX};
use crate::metrics::scrape::{MetricSources, Metrics};
use crate::metrics::vitals::Vitals;
use crate::session::{AuthMode, Policy};
use crossbeam_channel::bounded;
use rustls::ClientConnection;
use rustls::version::TLS13;
use socket::{Socket, token_of};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use tls::Phase;

struct Stage {
    reactor: Reactor,
    events: Events,
    mailbox: Mailbox,
    address: SocketAddr,
}

impl Stage {
    fn new(tls: Option<Arc<rustls::ServerConfig>>) -> Stage {
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (mailbox, prepared) = Prepared::new(listener).expect("poll");
        let clock = Clock::start();
        let report = Report { status: 200, body: "{}".into() };
        let engine = engine::Setup {
            policy: Policy::new(&Limits::default(), AuthMode::Off, InstanceName(Arc::from("test"))),
            origins: Vec::new(),
            hosts: engine::Hosts::Any,
            trusted_proxies: Vec::new(),
            proxy_header: engine::ProxyHeader::Off,
            echo: engine::Echo::Off,
            link_tokens: engine::LinkTokens::Accepted,
            hsts: None,
            addresses: engine::Addresses::Uncounted,
            reactors: 1,
            vitals: Arc::new(Vitals::new(1, 1_000, 2_000, u64::MAX, clock.read().at)),
            outlook: Arc::new(Outlook::new(Arc::new(Snapshot::ok()), report)),
            metrics: Arc::new(Metrics::new(
                1,
                Arc::from("test"),
                MetricSources {
                    watch: Arc::default(),
                    bus: None,
                    cluster: Arc::default(),
                    api: None,
                    log_dropped: || 0,
                },
            )),
        };
        let setup = ShellSetup { engine: Arc::new(engine), port: Port::Own, clock, tls };
        let (append, _) = bounded(OUTSTANDING_MAX);
        let (read, _) = bounded(OUTSTANDING_MAX);
        let (streams, _) = bounded(OUTSTANDING_MAX);
        let (admit, _) = bounded(OUTSTANDING_MAX);
        let (clients, _) = bounded(OUTSTANDING_MAX);
        let queues = Queues {
            append,
            read,
            streams: StreamQueue { work: streams, bytes: Arc::default() },
            bus: None,
            admit,
            presence: presence(1).0,
            clients,
            reports: reports().0,
        };
        let mailboxes = Arc::from(vec![mailbox.clone()]);
        let reactor =
            Reactor::new(ReactorId(0), prepared, &Setups::new(setup), queues, OrderBoard::alone(mailboxes).0);
        Stage { reactor, events: Events::with_capacity(1_024), mailbox, address }
    }

    /// Runs turns until `done`, which must become true within seconds.
    fn turn_until(&mut self, mut done: impl FnMut(&mut Stage) -> bool) {
        let clock = self.reactor.setup.clock;
        let start = clock.moment();
        while !done(self) {
            assert!(
                clock.moment().since(start) < Duration::from_secs(8),
                "the condition did not become true"
            );
            self.mailbox.wake().expect("waker");
            self.reactor.turn(&mut self.events).expect("poll");
        }
    }
}

#[test]
fn tls_handshakes_of_a_crowd_are_spread_over_turns() {
    const CROWD: usize = 200;
    let pair = pair(&[&TLS13]);
    let mut stage = Stage::new(Some(pair.server.clone()));
    let mut crowd: Vec<TcpStream> =
        (0..CROWD).map(|_| TcpStream::connect(stage.address).expect("listening")).collect();
    stage.turn_until(|stage| stage.reactor.engine.len() == CROWD);
    // All clients send before the next turn.
    for socket in &mut crowd {
        let mut hello = Vec::new();
        client(&pair).write_tls(&mut hello).expect("memory");
        socket.write_all(&hello).expect("room");
    }
    let begun = |stage: &Stage| {
        let phases = stage.reactor.sockets.iter().filter_map(|socket| socket.tls.as_ref());
        phases.filter(|tls| tls.phase() != Phase::New).count()
    };
    let (mut most, mut before) = (0, begun(&stage));
    assert_eq!(before, 0);
    stage.turn_until(|stage| {
        let now = begun(stage);
        most = most.max(now - before);
        before = now;
        now == CROWD
    });
    assert!(most < CROWD / 2, "{most} of {CROWD} in one turn");
}

#[test]
fn tls_costs_a_plain_connection_one_pointer() {
    // A descriptor and a pointer; a debug build also keeps the poll that the socket belongs to.
    let selector = if cfg!(debug_assertions) { 8 } else { 0 };
    assert_eq!(size_of::<Option<Socket>>(), 16 + selector);
}

#[test]
fn token_of_a_slot_is_decoded_to_the_same_slot() {
    let id = SlotId { index: 7, generation: 0xFFFF_FFFE };
    assert_eq!(slot_of(token_of(id)), id);
    assert!(token_of(id) != LISTENER && token_of(id) != WAKER);
}

#[test]
fn idle_reactor_sleeps() {
    let mut stage = Stage::new(None);
    stage.turn_until(|stage| stage.reactor.accepting == accept::Accepting::Edge);
    assert!(stage.reactor.patience() > Duration::from_millis(100));
    assert!(stage.reactor.engine.now().at > Moment::ZERO);
}

#[test]
fn close_notify_is_sent_though_the_client_still_sends() {
    const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    // A binary frame is a misuse: the gateway says `bye` and waits for the close frame.
    const BINARY: [u8; 6] = [0x82, 0x80, 0, 0, 0, 0];
    const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 3, 0xE8];
    let pair = pair(&[&TLS13]);
    let mut stage = Stage::new(Some(pair.server.clone()));
    let mut socket = TcpStream::connect(stage.address).expect("listening");
    socket.set_nonblocking(true).expect("a socket");
    let mut client = client(&pair);
    client.writer().write_all(UPGRADE.as_bytes()).expect("memory");
    client.writer().write_all(&BINARY).expect("memory");
    let mut received = Vec::new();
    stage.turn_until(|_| {
        exchange(&mut client, &mut socket, &mut received);
        received.windows(5).any(|five| five == b"\"bye\"")
    });
    // More than one read takes, so the close frame and what follows it are read one after the other.
    client.set_buffer_limit(None);
    client.writer().write_all(&CLOSE).expect("memory");
    client.writer().write_all(&[0; READ_BYTES + READ_BYTES / 2]).expect("memory");
    exchange(&mut client, &mut socket, &mut received);
    assert!(!client.wants_write(), "the socket has room for all");
    stage.turn_until(|_| exchange(&mut client, &mut socket, &mut received));
}

/// Moves what there is; true once the server's close_notify came.
fn exchange(client: &mut ClientConnection, socket: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    while client.wants_write() && client.write_tls(socket).is_ok() {}
    while client.read_tls(socket).is_ok_and(|bytes| bytes > 0) {}
    let state = client.process_new_packets().expect("valid records");
    let _ = client.reader().read_to_end(received);
    state.peer_has_closed()
}
