//! Three clients, an engine and its workers, and the promises that hold once the faults have ended.

use super::shell::{Line, Shell, Sizes};
use super::workers::{Full, GRANT, Workers};
use seawall::clock::{Moment, Now};
use seawall::drain::{DrainCause, DrainPhase, Ending};
use seawall::engine::{Addresses, Echo, FollowMode, Hosts, LinkTokens, ProxyHeader, Setup, Transport};
use seawall::health::board::Board;
use seawall::health::breaker::Forced;
use seawall::health::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate};
use seawall::health::dependency::ForcedOrder;
use seawall::health::report::Report;
use seawall::health::snapshot::AdmissionMode;
use seawall::id::InstanceName;
use seawall::job::Outlook;
use seawall::limits::Limits;
use seawall::metrics::reactor::CLOSE_CODES;
use seawall::metrics::scrape::{MetricSources, Metrics};
use seawall::metrics::vitals::Vitals;
use seawall::session::{AuthMode, Policy};
use seawall::wire::command::parse;
use seawall::wire::push::ErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Clients at once.
pub const PEERS: usize = 3;
/// Turns within which a world without faults must come to rest.
const TURNS_MAX: usize = 400;
/// The time between these turns: together less than two pings and more than any retry.
const PAUSE: Duration = Duration::from_millis(50);
/// A mask for the clients' frames (RFC 6455 section 5.3).
const MASK: [u8; 4] = [0x5E, 0xA0, 0x0A, 0x11];

/// See the module.
pub struct World {
    pub shell: Shell,
    board: Board,
    /// The store is declared down.
    is_down: bool,
    /// The connection that each client has now.
    current: [usize; PEERS],
}

/// The reason why a world is not at rest.
#[derive(Debug)]
#[allow(dead_code, reason = "for the message of a failure")]
enum Unsettled<'a> {
    Jobs { waiting: usize, answered: usize, broadcasts: usize },
    Drain,
    Line(&'a Line),
}

impl World {
    pub fn new(bounds: u8) -> World {
        let now = Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_000_000 };
        let has = |bit: u8| bounds & bit != 0;
        let auth = if has(1) { AuthMode::Required } else { AuthMode::Off };
        let board = board(now);
        let setup = setup(limits(bounds), auth, &board, now);
        let follows = if has(16) { FollowMode::ByBus } else { FollowMode::Alone };
        let workers = Workers::new(if has(8) { 64 << 10 } else { 1 << 10 });
        let socket = if has(4) { 4 << 10 } else { 256 };
        let sizes = Sizes { socket, read: if has(128) { 61 } else { 4 << 10 } };
        let transport = if has(64) { Transport::Encrypted } else { Transport::Plain };
        let shell = Shell::new(Arc::new(setup), now, follows, workers, sizes, transport);
        let mut world = World { shell, board, is_down: false, current: [0; PEERS] };
        (0..PEERS).for_each(|peer| world.connect(peer));
        world.turn();
        world
    }

    fn line(&mut self, peer: usize) -> &mut Line {
        &mut self.shell.lines[self.current[peer]]
    }

    /// A turn to which no broadcast comes.
    pub fn turn(&mut self) {
        self.shell.turn(Duration::ZERO, 0, 0, 0);
    }

    /// Opens a connection and upgrades it. The first client sends its token with the upgrade.
    fn connect(&mut self, peer: usize) {
        let token = if peer == 0 { "Authorization: Bearer upgrade\r\n" } else { "" };
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{token}\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        self.current[peer] = self.shell.lines.len();
        self.shell.lines.push(Line::default());
        self.send(peer, head.as_bytes());
    }

    /// The client sends bytes that are no command.
    pub fn send(&mut self, peer: usize, bytes: &[u8]) {
        let line = self.line(peer);
        if !line.ended {
            line.view.sends(bytes.len(), None, None);
            line.sent.extend_from_slice(bytes);
            line.edge.readable = true;
        }
    }

    /// The client sends a text, unless it repeats an id.
    pub fn say(&mut self, peer: usize, text: &str) {
        let bounds = self.shell.setup.policy.bounds;
        let line = self.line(peer);
        if line.ended || !line.view.is_served() {
            return;
        }
        let parsed = parse(text, bounds);
        let id = match &parsed {
            Ok(request) => request.id,
            Err(rejected) => rejected.id,
        };
        if id.is_some_and(|id| !line.view.used.insert(id.0)) {
            return;
        }
        let frame = masked(0x81, text.as_bytes());
        line.view.sends(frame.len(), parsed.as_ref().ok(), id.map(|id| id.0));
        line.sent.extend_from_slice(&frame);
        line.edge.readable = true;
    }

    /// The client sends a frame of another kind, or garbage.
    pub fn send_wild(&mut self, peer: usize, bytes: &[u8]) {
        self.line(peer).view.is_wild = true;
        self.send(peer, bytes);
    }

    /// The client reads everything that its socket holds, and responds to pings and to a close.
    pub fn receive(&mut self, peer: usize) {
        self.receive_at(self.current[peer]);
    }

    fn receive_at(&mut self, index: usize) {
        let bytes = self.shell.take_unread(index);
        let line = &mut self.shell.lines[index];
        for (kind, payload) in line.view.receives(&bytes, &self.shell.workers) {
            if line.ended {
                continue;
            }
            let frame = masked(kind, &payload);
            line.view.sends(frame.len(), None, None);
            line.sent.extend_from_slice(&frame);
            line.edge.readable = true;
            if kind == 0x88 {
                line.ended = true;
                line.edge.read_closed = true;
            }
        }
    }

    /// The client sends a close frame first.
    pub fn close(&mut self, peer: usize) {
        self.line(peer).view.closes = true;
        let frame = masked(0x88, &1000_u16.to_be_bytes());
        self.send(peer, &frame);
    }

    /// The client ends its half, or connects again if its connection is over.
    pub fn hang_up(&mut self, peer: usize) {
        let line = self.line(peer);
        if line.ended || line.is_over {
            return self.connect(peer);
        }
        line.ended = true;
        line.edge.read_closed = true;
    }

    /// The client's end of the connection breaks.
    pub fn reset(&mut self, peer: usize) {
        let line = self.line(peer);
        (line.ended, line.reset) = (true, true);
        line.edge.read_closed = true;
        line.edge.error = true;
    }

    /// A worker does the `index`th of the waiting jobs.
    pub fn answer(&mut self, index: usize, how: u8) {
        let unix_ms = self.shell.engine.now().unix_ms;
        let (broadcast, completion) = self.shell.workers.answer(index, how, unix_ms);
        self.shell.broadcasts.extend(broadcast);
        self.shell.completions.extend(completion);
    }

    /// The store is declared down, or up again.
    pub fn order(&mut self, to: Forced, mode: AdmissionMode) {
        self.is_down = to == Forced::Open;
        let now = self.shell.engine.now();
        let order = ForcedOrder { to, until: now.at + Duration::from_secs(600) };
        let id = self.board.id("store").expect("configured");
        let changes = [self.board.set_mode(mode, now), self.board.order(id, Some(order), now, 7)];
        for snapshot in changes.into_iter().filter_map(|change| change.snapshot) {
            self.shell.setup.outlook.publish(snapshot);
        }
    }

    /// The process goes one step towards its end.
    pub fn drain(&mut self) {
        let now = self.shell.engine.now();
        let drain = &self.shell.setup.vitals.drain;
        match drain.phase() {
            DrainPhase::Serving => drop(drain.begin(DrainCause::Operator, now)),
            DrainPhase::Accepting => drain.enter(DrainPhase::Moving),
            DrainPhase::Moving => {
                let later = |seconds| now.at + Duration::from_secs(seconds);
                drain.close(Ending { answer_by: later(5), end_by: later(120), gone_by: later(130) });
            }
            DrainPhase::Closing => {}
        }
    }

    /// Other bounds hold.
    pub fn reload(&mut self, bounds: u8) {
        let old = &self.shell.setup;
        let policy = Policy::new(&limits(bounds), old.policy.auth, old.policy.instance.clone());
        let setup = Arc::new(Setup {
            policy,
            origins: Vec::new(),
            hosts: Hosts::Any,
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::Off,
            echo: Echo::Off,
            link_tokens: LinkTokens::Accepted,
            hsts: None,
            addresses: old.addresses,
            reactors: 1,
            vitals: Arc::clone(&old.vitals),
            outlook: Arc::clone(&old.outlook),
            metrics: Arc::clone(&old.metrics),
        });
        self.shell.setup = Arc::clone(&setup);
        self.shell.engine.handle_setup(setup);
    }

    /// The faults end: every job succeeds, every client reads, nothing is lost any more.
    pub fn settle(&mut self) {
        self.shell.workers.full = Full::default();
        self.shell.busy = Duration::ZERO;
        self.shell.sizes.socket = 1 << 20;
        if self.is_down {
            // Only then: a `status` would move replays that are stuck.
            self.order(Forced::Closed, AdmissionMode::Enforce);
        }
        if self.shell.setup.vitals.drain.phase() == DrainPhase::Moving {
            self.drain();
        }
        for turn in 0..TURNS_MAX {
            while self.shell.workers.waiting() > 0 {
                self.answer(0, GRANT);
            }
            // A publication that was lost shows in the heads, which take two turns to read.
            self.shell.missed = turn % 4 == 0;
            self.shell.turn(PAUSE, usize::MAX, 0, 0);
            (0..self.shell.lines.len()).for_each(|index| self.receive_at(index));
            if self.unsettled().is_none() {
                break;
            }
        }
        let unsettled = self.unsettled();
        assert!(unsettled.is_none(), "something never ends: {unsettled:?}");
        let served = self.shell.lines.iter().filter(|line| line.id.is_some() && line.view.is_served());
        let following: usize = served.map(|line| line.view.following.len()).sum();
        let tally = self.shell.engine.tally();
        assert_eq!(tally.subscriptions.read(), following as u64, "subscriptions that the clients know of");
    }

    /// Something that is still under way.
    fn unsettled(&self) -> Option<Unsettled<'_>> {
        let shell = &self.shell;
        let (waiting, answered) = (shell.workers.waiting(), shell.completions.len());
        if (waiting, answered, shell.broadcasts.len()) != (0, 0, 0) {
            return Some(Unsettled::Jobs { waiting, answered, broadcasts: shell.broadcasts.len() });
        }
        if shell.setup.vitals.drain.phase() == DrainPhase::Closing && !shell.engine.is_empty() {
            return Some(Unsettled::Drain);
        }
        let is_settled = |line: &&Line| match line.id {
            None => line.is_over,
            // The engine must not wait for a client that ended or was closed.
            Some(_) if line.ended || !line.view.is_served() => false,
            Some(_) => line.is_idle() && line.view.is_settled(&shell.workers),
        };
        shell.lines.iter().find(|line| !is_settled(line)).map(Unsettled::Line)
    }

    /// A newcomer gets nothing that was erased, although the engine still keeps recent publications in memory.
    pub fn assert_nothing_erased_is_kept(&mut self) {
        if self.shell.setup.vitals.drain.phase() != DrainPhase::Serving {
            return;
        }
        let served = self.shell.lines.iter().filter(|line| line.id.is_some());
        let mut channels: Vec<String> = served.flat_map(|line| line.view.following.keys().cloned()).collect();
        channels.sort();
        channels.dedup();
        self.connect(PEERS - 1);
        self.line(PEERS - 1).view.is_late = true;
        self.say(PEERS - 1, r#"{"id":1,"connect":{"token":"t"}}"#);
        for (channel, id) in channels.iter().zip(2..) {
            let text = format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}","last":300}}}}"#);
            self.say(PEERS - 1, &text);
        }
        self.settle();
        let view = &self.line(PEERS - 1).view;
        assert!(view.is_connected && view.following.keys().eq(&channels), "a newcomer is served: {view:?}");
    }

    /// How often each thing happened that an input is there to cause.
    pub fn reached(&self) -> BTreeMap<String, u64> {
        let shell = &self.shell;
        let tally = shell.engine.tally();
        let counts = [
            ("published", &tally.published),
            ("deliveries", &tally.deliveries),
            ("lagged", &tally.lagged),
            ("replay pages", &tally.replay_pages),
            ("recoveries refused", &tally.recoveries_refused),
            ("signals", &tally.signals),
            ("late answers", &tally.late),
            ("pings", &tally.pings),
            ("statuses", &tally.statuses),
            ("turned away", &tally.turned_away),
            ("observed", &tally.observed),
            ("missed broadcasts", &tally.live_missed),
        ];
        let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count.read()));
        let errors = ErrorCode::ALL.iter().zip(&tally.errors);
        let errors = errors.map(|(code, count)| (format!("error {}", code.as_str()), count.read()));
        let closes = CLOSE_CODES.iter().zip(&tally.closes);
        let closes = closes.map(|(code, count)| (format!("close {code}"), count.read()));
        let jobs = shell.refused.iter().map(|(queue, count)| (format!("refused {queue}"), *count));
        counts.chain(errors).chain(closes).chain(jobs).collect()
    }

    /// All clients leave. Nothing may be left of them.
    pub fn end(&mut self) {
        for line in &mut self.shell.lines {
            line.ended = true;
            line.edge.read_closed = true;
        }
        let mut was_empty = false;
        for _ in 0..TURNS_MAX {
            while self.shell.workers.waiting() > 0 {
                self.answer(0, GRANT);
            }
            self.shell.turn(PAUSE, usize::MAX, 0, 0);
            // The next turn sends the jobs that the last clients leave.
            if was_empty && self.shell.workers.waiting() == 0 {
                break;
            }
            was_empty = self.shell.engine.is_empty();
        }
        assert!(self.shell.lines.iter().all(|line| line.is_over), "all clients left");
        let tally = self.shell.engine.tally();
        let sizes = [&tally.connections, &tally.pending, &tally.outbox_bytes, &tally.recoveries_waiting];
        let hub = [&tally.channels, &tally.subscriptions, &tally.tail_bytes];
        assert!(sizes.into_iter().chain(hub).all(|size| size.read() == 0), "something is left: {tally:?}");
        let closes: u64 = tally.closes.iter().map(|closes| closes.read()).sum();
        assert!(closes <= tally.upgrades.read(), "a connection was closed twice: {tally:?}");
        self.shell.workers.assert_empty();
    }
}

/// Small, so that every bound is met within a short input.
fn limits(bounds: u8) -> Limits {
    let rates = if bounds & 2 == 0 { (0, 1) } else { (5, 3) };
    let outbox_bytes = if bounds & 4 == 0 { 600 } else { 60_000 };
    Limits {
        subscriptions: 3,
        pending: 4,
        json_depth: 8,
        channels: 3,
        message_bytes: 2_048,
        outbox_bytes,
        outbox_bytes_hard: 4 * outbox_bytes,
        outbox_bytes_total: 200_000,
        tail_bytes_total: if bounds & 8 == 0 { 600 } else { 60_000 },
        connections_per_address: u32::from(bounds & 32 != 0) * 100,
        publishes_per_s: rates.0,
        publishes_burst: rates.1,
        signals_per_s: rates.0,
        signals_burst: rates.1,
        read_bytes_per_s: 10_000 * rates.0,
        read_bytes_burst: 10_000 * rates.1,
        commands_per_s: rates.0 * 4,
        commands_burst: rates.1 * 4,
        ..Limits::default()
    }
}

fn setup(limits: Limits, auth: AuthMode, board: &Board, now: Now) -> Setup {
    let is_counted = limits.connections_per_address > 0;
    let report = Report { status: 200, body: "{}".into() };
    Setup {
        policy: Policy::new(&limits, auth, InstanceName(Arc::from("gw"))),
        origins: Vec::new(),
        hosts: Hosts::Any,
        trusted_proxies: Vec::new(),
        proxy_header: ProxyHeader::Off,
        echo: Echo::Off,
        link_tokens: LinkTokens::Accepted,
        hsts: None,
        addresses: if is_counted { Addresses::Counted } else { Addresses::Uncounted },
        reactors: 1,
        vitals: Arc::new(Vitals::new(1, 1_000, 2_000, u64::MAX, now.at)),
        outlook: Arc::new(Outlook::new(Arc::clone(board.snapshot()), report)),
        metrics: Arc::new(Metrics::new(
            1,
            Arc::from("gw"),
            MetricSources {
                watch: Arc::default(),
                bus: None,
                cluster: Arc::default(),
                api: None,
                log_dropped: || 0,
            },
        )),
    }
}

/// A board with a store that an operator can declare down.
fn board(now: Now) -> Board {
    let store = Definition {
        name: Arc::from("store"),
        kind: DependencyKind::Postgres,
        address: Arc::from("db:5432"),
        criticality: Criticality::Critical,
        gate: Gate::Handshake,
        ended_by: EndedBy::Probes,
        lost: vec![Arc::from("publish")],
        sentence: Arc::from("Messages cannot be sent."),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        failures: 2,
        successes: 2,
    };
    Board::new(vec![store], AdmissionMode::Enforce, now)
}

/// A frame as a client sends it.
fn masked(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        Ok(_) | Err(_) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(payload.len()).expect("short").to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
