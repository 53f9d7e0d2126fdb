//! An engine on a virtual clock: its sockets are memory, and the test plays its workers.

use super::*;
use crate::job::client_errors::ReportJob;
use crate::job::presence::PresenceJob;
use crate::job::stream::StreamWork;

pub(super) const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
pub(super) const CONNECT: &str = r#"{"id":1,"connect":{}}"#;

/// The most turns that a test waits, each a millisecond.
const TURNS_MAX: usize = 8_000;

/// One client: what it sends and what it received.
#[derive(Debug, Default)]
struct Line {
    sent: Vec<u8>,
    received: Vec<u8>,
    /// The client closed its end.
    ended: bool,
}

/// The name of a client of a stage.
pub(super) type Client = SlotId;

pub(super) struct Stage {
    pub(super) engine: Engine,
    pub(super) setup: Arc<Setup>,
    lines: Vec<(SlotId, Line)>,
    pub(super) appends: VecDeque<Append>,
    /// Reads that were requested; `None` refuses them as a full queue does.
    pub(super) reads: Option<VecDeque<Read>>,
    pub(super) admits: VecDeque<AuthJob>,
    pub(super) presence: VecDeque<PresenceJob>,
    /// Jobs that fit into the queue of the rosters.
    pub(super) presence_room: usize,
    /// Work for the owner of the streams.
    pub(super) streams: VecDeque<StreamWork>,
    /// Work that fits into its queue.
    pub(super) stream_room: usize,
    /// Reports of errors; `None` refuses them as a full queue does.
    pub(super) reports: Option<VecDeque<Box<ReportJob>>>,
    /// Events on rosters that no client causes and that the queue has room for, each turn.
    pub(super) roster_share: usize,
    pub(super) answers: VecDeque<Completion>,
    pub(super) broadcasts: VecDeque<Broadcast>,
    /// Reads that fit into the store's queue.
    pub(super) read_room: usize,
    /// The time between two turns.
    pub(super) pause: Duration,
    /// The time that each arriving peer takes.
    pub(super) arrival_cost: Duration,
    busy: Duration,
}

impl Stage {
    pub(super) fn new(auth: AuthMode) -> Stage {
        Stage::with(Limits::default(), auth)
    }

    pub(super) fn with(limits: Limits, auth: AuthMode) -> Stage {
        Stage::behind(Vec::new(), limits, auth)
    }

    /// A stage that trusts these proxies.
    pub(super) fn behind(trusted_proxies: Vec<ipnet::IpNet>, limits: Limits, auth: AuthMode) -> Stage {
        let now = Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_763_770_000_000 };
        let is_counted = limits.connections_per_address > 0;
        let snapshot = Arc::new(Snapshot::ok());
        let report = Report { status: 200, body: "{}".into() };
        let setup = Arc::new(Setup {
            policy: Policy::new(&limits, auth, InstanceName(Arc::from("test"))),
            origins: Vec::new(),
            hosts: Hosts::Any,
            trusted_proxies,
            proxy_header: ProxyHeader::Off,
            echo: Echo::Off,
            link_tokens: LinkTokens::Accepted,
            hsts: None,
            addresses: if is_counted { Addresses::Counted } else { Addresses::Uncounted },
            reactors: 1,
            vitals: Arc::new(Vitals::new(1, 1_000, 2_000, u64::MAX, now.at)),
            outlook: Arc::new(Outlook::new(Arc::clone(&snapshot), report)),
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
        });
        Stage {
            engine: Engine::new(ReactorId(0), Arc::clone(&setup), snapshot, now, FollowMode::Alone, 7),
            setup,
            lines: Vec::new(),
            appends: VecDeque::new(),
            reads: Some(VecDeque::new()),
            admits: VecDeque::new(),
            presence: VecDeque::new(),
            presence_room: usize::MAX,
            streams: VecDeque::new(),
            stream_room: usize::MAX,
            reports: Some(VecDeque::new()),
            roster_share: 100,
            answers: VecDeque::new(),
            broadcasts: VecDeque::new(),
            read_room: OUTSTANDING_MAX,
            pause: Duration::from_millis(1),
            arrival_cost: Duration::ZERO,
            busy: Duration::ZERO,
        }
    }

    /// The same stage as one of several reactors.
    pub(super) fn with_reactors(mut self, reactors: usize) -> Stage {
        // The engine then has its setup alone.
        self.setup = Stage::new(AuthMode::Off).setup;
        Arc::get_mut(&mut self.engine.setup).expect("no other owner").reactors = reactors;
        self.setup = Arc::clone(&self.engine.setup);
        self
    }

    /// One pass of the shell, a `pause` after the last one.
    pub(super) fn turn(&mut self) {
        let Now { at, unix_ms } = self.engine.now();
        self.engine.begin_turn(Now { at: at + self.pause, unix_ms: unix_ms + self.pause.as_millis() as u64 });
        let outlook = self.setup.outlook.snapshot();
        if !Arc::ptr_eq(&outlook, self.engine.snapshot()) {
            self.engine.handle_snapshot(outlook);
        }
        self.read();
        self.exchange();
        self.engine.expire();
        self.engine.carry_out_orders();
        if self.engine.wants_roster_room() {
            self.engine.set_roster_room(self.roster_share);
        }
        self.engine.push_status();
        let phase = self.setup.vitals.drain.phase();
        self.engine.drain(phase);
        self.send_jobs();
        self.engine.catch_up_rooms();
        self.send_jobs();
        self.flush();
        for id in self.engine.reap() {
            self.line(id).ended = true;
        }
        self.send_jobs();
        self.engine.end_turn(std::mem::take(&mut self.busy));
    }

    fn read(&mut self) {
        for (id, line) in &self.lines {
            if !line.sent.is_empty() || line.ended {
                let readiness = Readiness { readable: true, read_closed: line.ended, ..Readiness::default() };
                self.engine.handle_readiness(*id, readiness);
            }
        }
        let mut left = self.engine.ready();
        while let Some(id) = self.engine.next_ready(&mut left) {
            self.read_line(id);
        }
        let slice = self.engine.arrival_slice().unwrap_or_default();
        let mut spent = Duration::ZERO;
        while spent < slice
            && let Some(id) = self.engine.next_arrival()
        {
            self.read_line(id);
            spent += self.arrival_cost;
        }
        self.engine.handle_handshake_time(spent);
        self.busy += spent;
        self.send_jobs();
    }

    fn read_line(&mut self, id: SlotId) {
        let Some((_, line)) = self.lines.iter_mut().find(|(other, _)| *other == id) else { return };
        if self.engine.reads(id) != ReadExtent::Nothing && !line.sent.is_empty() {
            self.engine.handle_bytes(id, &mut std::mem::take(&mut line.sent));
        }
        if self.engine.reads(id) != ReadExtent::Nothing && line.ended {
            self.engine.handle_end(id);
        }
    }

    pub(super) fn exchange(&mut self) {
        if self.engine.gathers(self.answers.len(), self.broadcasts.len()) {
            return;
        }
        while self.engine.wants_broadcast()
            && let Some(broadcast) = self.broadcasts.pop_front()
        {
            self.engine.handle_broadcast(broadcast);
        }
        self.engine.finish_broadcasts();
        while self.engine.wants_completion()
            && let Some(completion) = self.answers.pop_front()
        {
            self.engine.handle_completion(completion);
        }
        self.engine.set_read_room(self.read_room);
        if self.engine.wants_stream_room() {
            self.engine.set_stream_room(self.stream_room);
        }
        self.engine.finish_completions(AUTH_QUEUE);
        self.send_jobs();
    }

    fn send_jobs(&mut self) {
        let mut jobs = Vec::new();
        self.engine.take_jobs(&mut jobs);
        for job in jobs {
            match job {
                Job::Append(append) => self.appends.push_back(append),
                Job::Read(read) => match &mut self.reads {
                    Some(reads) => reads.push_back(read),
                    None => self.engine.handle_refused(Job::Read(read)),
                },
                Job::Admit(admit) => self.admits.push_back(admit),
                Job::Presence(job) => match self.presence_room.checked_sub(1) {
                    Some(room) => {
                        self.presence_room = room;
                        self.presence.push_back(job);
                    }
                    None => self.engine.handle_refused(Job::Presence(job)),
                },
                Job::Report(report) => match &mut self.reports {
                    Some(reports) => reports.push_back(report),
                    None => self.engine.handle_refused(Job::Report(report)),
                },
                Job::Stream(work) => match self.stream_room.checked_sub(1) {
                    Some(room) => {
                        self.stream_room = room;
                        self.streams.push_back(*work);
                    }
                    None => self.engine.handle_refused(Job::Stream(work)),
                },
                Job::Interest(_) | Job::Signal { .. } => {}
            }
        }
        self.engine.set_read_room(self.read_room);
    }

    fn flush(&mut self) {
        let lines = &mut self.lines;
        let mut write = |id, outbox: &mut Outbox, arena: &_| {
            let (_, line) = lines.iter_mut().find(|(other, _)| *other == id).expect("a client");
            let bytes = outbox.bytes();
            while !outbox.is_empty() {
                let mut slices = [IoSlice::new(&[])];
                outbox.fill(arena, &mut slices);
                line.received.extend_from_slice(&slices[0]);
                let taken = slices[0].len();
                outbox.advance(taken);
            }
            Written { bytes, flushed: Flushed::Empty, sealed_bytes: 0 }
        };
        self.engine.flush(&mut write);
        self.engine.flush_arrivals(&mut write);
        for order in self.engine.take_orders() {
            assert!(matches!(order, Order::Shutdown(_)), "no TLS here: {order:?}");
        }
        self.engine.finish_flush();
    }

    /// Runs turns until `done`, which must become true within seconds of the virtual clock.
    pub(super) fn turn_until(&mut self, mut done: impl FnMut(&mut Stage) -> bool) {
        for _ in 0..TURNS_MAX {
            if done(self) {
                return;
            }
            self.turn();
        }
        panic!("the condition did not become true within {TURNS_MAX} turns");
    }

    pub(super) fn answer(&mut self, completion: Completion) {
        self.answers.push_back(completion);
        self.turn();
    }

    pub(super) fn admitted(&mut self) -> AuthJob {
        self.turn_until(|stage| !stage.admits.is_empty());
        self.admits.pop_front().expect("not empty")
    }

    /// The next page request.
    pub(super) fn asked(&mut self) -> PageRequest {
        let mut asked = None;
        self.turn_until(|stage| {
            asked = match stage.reads.as_mut().and_then(VecDeque::pop_front) {
                Some(Read::Page(request)) => Some(request),
                Some(Read::Heads { .. } | Read::Survey(_) | Read::Contradicted(_) | Read::Stream(_))
                | None => None,
            };
            asked.is_some()
        });
        asked.expect("it came")
    }

    pub(super) fn token(&mut self, wanted: &Occasion) -> Ticket {
        match self.admitted() {
            AuthJob::CheckToken { ticket, occasion, .. } if occasion == *wanted => ticket,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn client(&mut self) -> Client {
        self.client_at([127, 0, 0, 1])
    }

    /// A client at another address.
    pub(super) fn client_at(&mut self, address: [u8; 4]) -> Client {
        self.accept_at(address).expect("no proxy is demanded, and its address is within its share")
    }

    /// A client at another address; `None` if it was dropped.
    pub(super) fn accept_at(&mut self, address: [u8; 4]) -> Option<Client> {
        let id = self.engine.handle_accepted(IpAddr::from(address), Transport::Plain)?;
        self.lines.push((id, Line::default()));
        Some(id)
    }

    /// A client that upgrades and sends commands.
    pub(super) fn chat(&mut self, commands: &[&str]) -> Client {
        let client = self.client();
        self.begin_chat(client, commands);
        client
    }

    pub(super) fn begin_chat(&mut self, client: Client, commands: &[&str]) {
        self.send(client, UPGRADE.as_bytes());
        for command in commands {
            self.say(client, command);
        }
    }

    pub(super) fn send(&mut self, client: Client, bytes: &[u8]) {
        self.line(client).sent.extend_from_slice(bytes);
    }

    /// Sends a masked text frame; the mask is zero.
    pub(super) fn say(&mut self, client: Client, text: &str) {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("short");
        self.send(client, &[0x81, 0x80 | length, 0, 0, 0, 0]);
        self.send(client, text.as_bytes());
    }

    /// The client closes its end.
    pub(super) fn leave(&mut self, client: Client) {
        self.line(client).ended = true;
    }

    pub(super) fn received(&self, client: Client) -> String {
        let line = self.lines.iter().find(|(id, _)| *id == client);
        line.map(|(_, line)| String::from_utf8_lossy(&line.received).into_owned()).expect("a client")
    }

    fn line(&mut self, client: Client) -> &mut Line {
        let line = self.lines.iter_mut().find(|(id, _)| *id == client);
        line.map(|(_, line)| line).expect("a client")
    }

    pub(super) fn forget_received(&mut self, client: Client) {
        self.line(client).received.clear();
    }

    pub(super) fn has(&self, client: Client, text: &str) -> bool {
        self.received(client).contains(text)
    }
}

/// An empty page of a log with this head.
pub(super) fn page(head: u64) -> Page {
    let position = LogPosition { epoch: Epoch(7), head: Offset(head), floor: Offset(1) };
    Page { position, count: 0, first: Offset::ZERO, last: Offset::ZERO, body: Vec::new(), has_streams: false }
}

pub(super) fn identity(stage: &Stage, counted: Counted, lives_ms: Option<u64>) -> Identity {
    let unix_ms = stage.engine.now().unix_ms;
    let anybody = Identity::new(UserName::anonymous(), Arc::new(Permissions::everything()));
    Identity { expires_unix_ms: lives_ms.map(|lives| unix_ms + lives), counted, ..anybody }
}
