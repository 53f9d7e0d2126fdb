//! A table of bounds that all share: one user or address fills each, while others sign in, subscribe, publish and read.
//!
//! With an optimised gateway (`SEAWALL_TEST_BINARY`) it takes p99 of 100 rounds and prints the figures. In a debug build it only
//! tells waits of seconds from short ones.

use crate::support::raw::{UPGRADE, dial};
use crate::support::token::{SECRET, token_of};
use crate::support::wait::{SOON, comes_true, until};
use crate::support::{Client, Gateway, Setup, Upgrade, has_named_binary};
use rustix::process::setpriority_process;
use serde_json::json;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Rounds of each measurement.
const ROUNDS: usize = 100;
/// The same in a debug build.
const DEBUG_ROUNDS: usize = 12;
/// Measurements of which the best counts: other tests take processor time from all of them.
const ATTEMPTS: usize = 3;
/// The most that the slowest of 100 may take, as a multiple of the same without the hog.
const FACTOR: u32 = 3;
/// A wait that is short whatever the calm time is, in milliseconds: the gateway and the others share two cores, so that each step may
/// wait for a few slices of the scheduler, of 3 ms each.
const SHORT_MS: u64 = 10;

/// The same in a debug build, while other tests run: some hogs take the processor from others, too. Without shares, these wait for
/// many seconds.
const DEBUG_SHORT_MS: u64 = 2_000;

/// One bound.
struct Row {
    name: &'static str,
    /// A wait that is short with an optimised gateway, in milliseconds.
    short_ms: u64,
    setup: fn() -> Setup,
    /// Uses up the bound until the flag is set.
    hog: fn(&Gateway, &AtomicBool),
    /// True exactly when the bound is in effect.
    is_full: fn(&Gateway) -> bool,
}

const TABLE: &[Row] = &[
    Row {
        name: "the append queue",
        // Without rates the store is always busy: a publish waits for the batch that is being committed.
        short_ms: 40,
        setup: || busy().limit("pending", 2_000),
        hog: |gateway, over| {
            let publish = |n| format!(r#"{{"id":{n},"publish":{{"channel":"hog","data":"{n}"}}}}"#);
            flood(gateway, 4, 2_000, over, &publish);
        },
        is_full: |gateway| gateway.metric("seawall_turns_waiting") > 4_000.0,
    },
    Row {
        name: "the read queue",
        // Without rates the reactors write pages of 200 kB all the time: each step waits for a turn full of them.
        short_ms: 75,
        setup: || busy().limit("outbox_bytes_hard", 8 << 20),
        hog: |gateway, over| {
            fill_log(gateway);
            let history = |n| format!(r#"{{"id":{n},"history":{{"channel":"hog"}}}}"#);
            flood(gateway, 24, 28, over, &history);
        },
        is_full: |gateway| gateway.metric("seawall_turns_waiting") > 300.0,
    },
    Row {
        name: "waiting recoveries",
        short_ms: SHORT_MS,
        setup: || busy().limit("subscriptions", 1_000),
        hog: |gateway, over| {
            fill_log(gateway);
            // Each channel is followed and left again, so each subscription reads the log.
            let subscribe = |n: usize| match n % 1_000 {
                i if i < 500 => {
                    format!(r#"{{"id":{n},"subscribe":{{"channel":"hog{}.{i}","last":9}}}}"#, n / 1_000)
                }
                i => format!(r#"{{"id":{n},"unsubscribe":{{"channel":"hog{}.{}"}}}}"#, n / 1_000, i - 500),
            };
            flood(gateway, 5, 450, over, &subscribe);
        },
        is_full: |gateway| gateway.metric("seawall_recoveries_waiting") > 50.0,
    },
    Row {
        name: "limits.outbox_bytes_total",
        short_ms: SHORT_MS,
        setup: || {
            let setup = busy().limit("outbox_bytes_total", 1 << 20).limit("outbox_bytes_hard", 400_000);
            setup.limit("outbox_bytes", 200_000)
        },
        hog: |gateway, over| {
            let data = "x".repeat(20_000);
            let publish = |n| format!(r#"{{"id":{n},"publish":{{"channel":"hog","data":"{data}"}}}}"#);
            thread::scope(|scope| {
                scope.spawn(|| flood(gateway, 1, 2, over, &publish));
                let mut slow: Vec<Client> = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    slow.retain_mut(Client::is_open);
                    while slow.len() < 12 {
                        let upgrade = Upgrade::default().receive_buffer(4_096);
                        let mut client = Client::open_with(gateway.address, &upgrade);
                        client = client.with_connect(json!({"token": token_of("ann")}));
                        client.send(json!({"subscribe": {"channel": "hog"}}));
                        slow.push(client);
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
        },
        is_full: |gateway| gateway.metric("seawall_outbox_bytes") > 200_000.0,
    },
    Row {
        name: "limits.tail_bytes_total",
        short_ms: SHORT_MS,
        setup: || busy().limit("tail_bytes_total", 65_536),
        hog: |gateway, over| {
            let data = "x".repeat(3_000);
            let command = |n: usize| match n {
                n if n <= 50 => format!(r#"{{"id":{n},"subscribe":{{"channel":"hog{n}"}}}}"#),
                n => format!(r#"{{"id":{n},"publish":{{"channel":"hog{}","data":"{data}"}}}}"#, n % 50 + 1),
            };
            flood(gateway, 2, 20, over, &command);
        },
        is_full: |gateway| gateway.metric("seawall_tail_bytes") > 20_000.0,
    },
    Row {
        name: "limits.inbound_bytes_total, by an address",
        short_ms: SHORT_MS,
        setup: || busy().limit("inbound_bytes_total", 1 << 20).limit("message_bytes", 65_536),
        hog: |gateway, over| begin_messages(gateway, over, None),
        is_full: |gateway| gateway.metric("seawall_inbound_displaced_total") > 0.0,
    },
    Row {
        name: "limits.inbound_bytes_total, by a user",
        short_ms: SHORT_MS,
        setup: || busy().limit("inbound_bytes_total", 1 << 20).limit("message_bytes", 65_536),
        hog: |gateway, over| begin_messages(gateway, over, Some("ann")),
        is_full: |gateway| gateway.metric("seawall_inbound_displaced_total") > 0.0,
    },
    Row {
        name: "the part of limits.connections for clients that are not connected",
        short_ms: SHORT_MS,
        setup: || busy().limit("connections", 100),
        hog: |gateway, over| {
            let mut strangers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                strangers.push(dial(gateway.address, None, None).expect("accepted"));
                thread::sleep(Duration::from_millis(2));
                let surplus = strangers.len().saturating_sub(200);
                strangers.drain(..surplus);
            }
        },
        is_full: |gateway| gateway.metric("seawall_connections_displaced_total") > 0.0,
    },
    Row {
        name: "the auth worker, with bad tokens of one address",
        short_ms: SHORT_MS,
        setup: busy,
        hog: |gateway, over| {
            let good = token_of("ann");
            let (signed, signature) = good.rsplit_once('.').expect("three parts");
            let bad: String = signature.chars().rev().collect();
            let connect = json!({"id": 1, "connect": {"token": format!("{signed}.{bad}")}}).to_string();
            while !over.load(Ordering::Relaxed) {
                let mut stream = dial(gateway.address, Some(HOG_ADDRESS), None).expect("accepted");
                let _ =
                    stream.write_all(UPGRADE.as_bytes()).and_then(|()| stream.write_all(&frame(&connect)));
                let _ = stream.read(&mut [0; 4_096]);
            }
        },
        is_full: |gateway| gateway.metrics()["seawall_closes_total{code=\"4501\"}"] > 5.0,
    },
];

/// The address of a hog that is known by its address.
const HOG_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// A gateway without rates, which keep most hogs away from a bound.
fn busy() -> Setup {
    Setup::new()
        .plain()
        .env("SEAWALL_AUTH_SECRET", SECRET)
        .unlimited()
        .limit("pending", 64)
        .limit("publish_bytes_per_s", 0)
        .arguments(&["--reactors", "2"])
}

/// A client's text frame; its mask is zero.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    let mut frame = vec![0x81];
    match length {
        0..126 => frame.push(0x80 | length as u8),
        _ => frame.extend([&[0xFE][..], &length.to_be_bytes()].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// An upgraded connection at the hog's address, and `connected` if a user is given.
fn raw(gateway: &Gateway, user: Option<&str>) -> TcpStream {
    let mut stream = dial(gateway.address, Some(HOG_ADDRESS), None).expect("accepted");
    stream.write_all(UPGRADE.as_bytes()).expect("sent");
    if let Some(user) = user {
        let connect = json!({"id": 0, "connect": {"token": token_of(user)}}).to_string();
        stream.write_all(&frame(&connect.replace("\"id\":0", "\"id\":9007199254740990"))).expect("sent");
    }
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
    stream
}

/// Keeps `window` commands of each of ann's connections outstanding.
fn flood(
    gateway: &Gateway,
    connections: usize,
    window: usize,
    over: &AtomicBool,
    command: &(dyn Fn(usize) -> String + Sync),
) {
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut stream = raw(gateway, Some("ann"));
                let (mut sent, mut answered) = (0, 0);
                let mut buffer = vec![0; 256 << 10];
                let mut carry = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let due = (answered + window).saturating_sub(sent);
                    let batch: Vec<u8> = (sent..sent + due).flat_map(|n| frame(&command(n + 1))).collect();
                    sent += due;
                    if stream.write_all(&batch).is_err() {
                        return;
                    }
                    match stream.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(count) => answered += replies(&mut carry, &buffer[..count]),
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        }
                        Err(_) => return,
                    }
                }
            });
        }
    });
}

/// The number of replies in the bytes of a connection. The start of one may be in the bytes before.
fn replies(carry: &mut Vec<u8>, bytes: &[u8]) -> usize {
    const BEGINNING: &str = r#"{"id":"#;
    carry.extend_from_slice(bytes);
    // The searcher of the standard library is optimised in a debug build, too: the hog must not take the processor itself.
    let count = String::from_utf8_lossy(carry).matches(BEGINNING).count();
    let keep = carry.len().min(BEGINNING.len() - 1);
    carry.drain(..carry.len() - keep);
    count
}

/// Pages of 200 kB in one channel.
fn fill_log(gateway: &Gateway) {
    let mut ann = Client::open(gateway).with_connect(json!({"token": token_of("ann")}));
    let data = json!("x".repeat(20_000));
    (0..10).for_each(|_| _ = ann.publish("hog", data.clone()));
}

/// Begins messages and never ends them.
fn begin_messages(gateway: &Gateway, over: &AtomicBool, user: Option<&str>) {
    // A stranger's first message is shorter.
    let (connections, bytes) = if user.is_some() { (30, 60_000) } else { (60, 30_000) };
    let begun = frame(&" ".repeat(bytes + 1_000));
    let begun = &begun[..bytes];
    let mut open: Vec<TcpStream> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        // Ended connections make room.
        open.retain_mut(|stream| {
            stream.set_nonblocking(true).expect("set");
            loop {
                match stream.read(&mut [0; 4_096]) {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
        });
        while open.len() < connections {
            let mut stream = raw(gateway, user);
            let _ = stream.write_all(begun);
            open.push(stream);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The times of each kind of work.
#[derive(Default)]
struct Times {
    sign_in: Vec<Duration>,
    subscribe: Vec<Duration>,
    publish: Vec<Duration>,
    page: Vec<Duration>,
}

/// The slowest of 100 of each kind of work.
#[derive(Clone, Copy)]
struct P99 {
    sign_in: Duration,
    subscribe: Duration,
    publish: Duration,
    page: Duration,
}

impl fmt::Display for P99 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let P99 { sign_in, subscribe, publish, page } = self;
        write!(f, "sign-in {sign_in:.1?}, subscribe {subscribe:.1?}, publish {publish:.1?}, page {page:.1?}")
    }
}

impl Times {
    fn p99(self) -> P99 {
        let of = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[(times.len() * 99).div_ceil(100) - 1]
        };
        let Times { sign_in, subscribe, publish, page } = self;
        P99 { sign_in: of(sign_in), subscribe: of(subscribe), publish: of(publish), page: of(page) }
    }
}

impl P99 {
    fn is_within(&self, calm: &P99, short: Duration) -> bool {
        let pairs = [
            (self.sign_in, calm.sign_in),
            (self.subscribe, calm.subscribe),
            (self.publish, calm.publish),
            (self.page, calm.page),
        ];
        pairs.into_iter().all(|(busy, calm)| busy <= short.max(FACTOR * calm))
    }
}

/// Takes the time of each step of other users.
fn measure(gateway: &Gateway, rounds: usize) -> P99 {
    fn timed<T>(times: &mut Vec<Duration>, step: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = step();
        times.push(began.elapsed());
        result
    }
    let mut times = Times::default();
    for n in 0..rounds {
        let token = token_of(&format!("user{n}"));
        let mut client =
            timed(&mut times.sign_in, || Client::open(gateway).with_connect(json!({"token": token})));
        timed(&mut times.subscribe, || client.subscribe("lobby"));
        timed(&mut times.publish, || {
            let offset = client.publish("lobby", json!(n));
            while client.next_push("publication")["offset"] != offset {}
        });
        timed(&mut times.page, || {
            client.ask(json!({"history": {"channel": "lobby", "limit": 10}}), "history")
        });
    }
    times.p99()
}

/// Ends the hog, also if a measurement panics: the scope waits for it.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The times of others while it is calm, and while one fills the bound.
struct Measured {
    calm: P99,
    busy: P99,
}

/// Lets the gateway and the others go first, so that what they wait for is the gateway's doing and not the hog's use of the processor.
/// The threads that this one starts inherit it.
fn yield_processor() {
    setpriority_process(None, 15).expect("anybody may lower a priority");
}

/// Measures a row once; `None` if the bound was never in effect.
fn attempt(row: &Row, rounds: usize) -> Option<Measured> {
    let gateway = (row.setup)().start();
    measure(&gateway, DEBUG_ROUNDS);
    let calm = measure(&gateway, rounds);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetAtEnd(&over);
        scope.spawn(|| {
            if has_named_binary() {
                yield_processor();
            }
            (row.hog)(&gateway, &over);
        });
        let is_filled = comes_true(SOON, || (row.is_full)(&gateway));
        is_filled.then(|| Measured { calm, busy: measure(&gateway, rounds) })
    })
}

#[test]
fn others_do_not_notice_a_user_that_fills_a_bound() {
    let is_optimised = has_named_binary();
    let rounds = if is_optimised { ROUNDS } else { DEBUG_ROUNDS };
    let mut failures = Vec::new();
    for row in TABLE {
        let short = Duration::from_millis(if is_optimised { row.short_ms } else { DEBUG_SHORT_MS });
        let mut attempts = Vec::new();
        for _ in 0..ATTEMPTS {
            let Some(measured) = attempt(row, rounds) else {
                failures.push(format!("{}: it was never full", row.name));
                break;
            };
            let Measured { calm, busy } = measured;
            if is_optimised {
                println!("{}\n    calm: {calm}\n    full: {busy}", row.name);
            }
            if busy.is_within(&calm, short) {
                attempts.clear();
                break;
            }
            attempts.push(format!("{calm} when it is calm, then {busy}"));
        }
        if !attempts.is_empty() {
            failures.push(format!("{}:\n  {}", row.name, attempts.join("\n  ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
