//! A reactor whose workers are played by the test, and its clients.

use super::*;

pub(super) const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub(super) fn outlook() -> Outlook {
    Outlook::new(Arc::new(Snapshot::ok()), Report { status: 200, body: "{}".into() })
}

pub(super) struct Stage {
    pub(super) reactor: Reactor,
    pub(super) events: Events,
    pub(super) mailbox: Mailbox,
    pub(super) appends: Receiver<Append>,
    pub(super) reads: Option<Receiver<Read>>,
    pub(super) admits: Receiver<Admit>,
    pub(super) address: SocketAddr,
}

impl Stage {
    pub(super) fn new(auth: AuthMode) -> Stage {
        Stage::with_tls(auth, None)
    }

    pub(super) fn with_tls(auth: AuthMode, tls: Option<Arc<rustls::ServerConfig>>) -> Stage {
        Stage::with(Limits::default(), auth, tls)
    }

    pub(super) fn with(limits: Limits, auth: AuthMode, tls: Option<Arc<rustls::ServerConfig>>) -> Stage {
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (mailbox, prepared) = Prepared::new(listener).expect("poll");
        let clock = Clock::start();
        let instance = InstanceName(Arc::from("test"));
        let is_counted = limits.connections_per_address > 0;
        let setup = Setup {
            policy: Policy::new(&limits, auth, instance),
            origins: Vec::new(),
            hosts: Hosts::Any,
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::Off,
            echo: Echo::Off,
            port: Port::Own,
            addresses: if is_counted { Addresses::Counted } else { Addresses::Uncounted },
            reactors: 1,
            clock,
            vitals: Arc::new(Vitals::new(1, 100, 1_000, u64::MAX, clock.read().at)),
            outlook: Arc::new(outlook()),
            tls,
            metrics: Arc::new(Metrics::new(1, Arc::from("test"), (Arc::default(), None), || 0)),
        };
        let (append, appends) = bounded(OUTSTANDING_MAX);
        let (read, reads) = bounded(OUTSTANDING_MAX);
        let (admit, admits) = bounded(OUTSTANDING_MAX);
        let queues = Queues { append, read, bus: None, admit: Some(admit) };
        let mailboxes = Arc::from(vec![mailbox.clone()]);
        let reactor = Reactor::new(ReactorId(0), prepared, &Setups::new(setup), queues, mailboxes);
        let events = Events::with_capacity(64);
        Stage { reactor, events, mailbox, appends, reads: Some(reads), admits, address }
    }

    /// Turns until `done`, which must come within seconds.
    pub(super) fn turn_until(&mut self, mut done: impl FnMut(&mut Stage) -> bool) {
        let start = self.reactor.setup.clock.read().at;
        while !done(self) {
            let waited = self.reactor.setup.clock.read().at.since(start);
            assert!(waited < Duration::from_secs(8), "it did not come");
            self.mailbox.ring().expect("waker");
            self.reactor.turn(&mut self.events).expect("poll");
        }
    }

    pub(super) fn answer(&mut self, completion: Completion) {
        self.mailbox.answer(completion);
        self.mailbox.ring().expect("waker");
        self.reactor.turn(&mut self.events).expect("poll");
    }

    pub(super) fn admitted(&mut self) -> Admit {
        let mut admit = None;
        self.turn_until(|stage| {
            admit = stage.admits.try_recv().ok();
            admit.is_some()
        });
        admit.expect("came")
    }

    pub(super) fn asked(&mut self) -> PageRequest {
        let mut page = None;
        self.turn_until(|stage| {
            page = match stage.reads.as_ref().and_then(|reads| reads.try_recv().ok()) {
                Some(Read::Page(request)) => Some(request),
                Some(Read::Heads { .. } | Read::Survey(_)) | None => None,
            };
            page.is_some()
        });
        page.expect("came")
    }

    pub(super) fn token(&mut self, wanted: &Occasion) -> Ticket {
        match self.admitted() {
            Admit::Token { ticket, occasion, .. } if occasion == *wanted => ticket,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn client(&self) -> Client {
        let socket = TcpStream::connect(self.address).expect("listening");
        socket.set_nonblocking(true).expect("socket");
        Client { socket, received: Vec::new() }
    }

    pub(super) fn chat(&self, commands: &[&str]) -> Client {
        let mut client = self.client();
        client.socket.write_all(UPGRADE.as_bytes()).expect("room");
        for command in commands {
            client.say(command);
        }
        client
    }
}

pub(super) struct Client {
    pub(super) socket: TcpStream,
    pub(super) received: Vec<u8>,
}

impl Client {
    /// One masked text frame; the mask is zero.
    pub(super) fn say(&mut self, text: &str) {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("short");
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.socket.write_all(&frame).expect("room");
    }

    pub(super) fn has(&mut self, text: &str) -> bool {
        let mut buffer = [0; 65_536];
        while let Ok(length @ 1..) = self.socket.read(&mut buffer) {
            self.received.extend_from_slice(&buffer[..length]);
        }
        self.received.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

pub(super) fn page(head: u64) -> Page {
    let position = LogPosition { epoch: Epoch(7), head: Offset(head), floor: Offset(1) };
    Page { position, count: 0, first: Offset::ZERO, last: Offset::ZERO, body: Vec::new() }
}

pub(super) fn identity(stage: &Stage, counted: Counted, lives_ms: Option<u64>) -> Identity {
    let unix_ms = stage.reactor.setup.clock.read().unix_ms;
    Identity {
        user: UserName::anonymous(),
        permissions: Arc::new(Permissions::everything()),
        expires_unix_ms: lives_ms.map(|lives| unix_ms + lives),
        counted,
    }
}
