//! A table of bounds that all share: one user or address uses each up, while others sign in, subscribe, publish and read.
//!
//! With an optimised gateway (`SEAWALL_TEST_BINARY`) it takes p99 of 100 rounds and prints the figures, twice for each row: once the hog
//! does what it can at default limits, and once the rates are off and the bound is lowered, so that the hog fills it. Three figures each:
//!
//! - *calm*: without a hog;
//! - *elsewhere*: the same hog fills the bound of a second gateway on the same machine;
//! - *busy*: the hog fills the bound of the gateway that the others use.
//!
//! The second figure has what the hog and the gateway that serves it take of the processors. The third has the same, and what the others
//! wait for within their gateway. The bar is three times the longer one of the first two. A wait up to a floor passes as well: one slice of the
//! scheduler, which a step may have to wait for. In a debug build the test only tells waits of seconds from short ones.

use super::fair_times::{P99, measure};
use crate::support::raw::{UPGRADE, dial};
use crate::support::token::{SECRET, token_of};
use crate::support::wait::{LATE, comes_true};
use crate::support::{Client, Gateway, Setup, Upgrade, has_named_binary};
use rustix::process::setpriority_process;
use serde_json::json;
use std::collections::VecDeque;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Rounds of each measurement.
const ROUNDS: usize = 100;
/// The same in a debug build.
const DEBUG_ROUNDS: usize = 12;
/// Measurements of which the best counts: other tests take processor time from all of them.
const ATTEMPTS: usize = 5;
/// A hog has filled its bound within this time, or the bound is not in effect.
const BUSY_WITHIN: Duration = Duration::from_secs(30);
/// The floor at default limits, in milliseconds. The hog is cut off for its refused commands and comes back at once, so the reactors are
/// busy with its handshakes, and rest after them for clients that publish: a sign-in or its first subscribe took 15 ms, and 3 to 6 with the
/// hog elsewhere.
const LIMITED_MS: u64 = 20;
/// The floor without rates, in milliseconds. The hog then keeps all threads of the gateway busy, and two cores have four of them and the
/// clients: each step may wait for a few slices.
const SHORT_MS: u64 = 10;

/// The same in a debug build, while other tests run: some hogs take the processor from others, too. Without shares, these wait for
/// many seconds.
const DEBUG_SHORT_MS: u64 = 4_000;

/// One bound.
struct Row {
    name: &'static str,
    /// The floor without rates, in milliseconds.
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
        // A publish waits for two commits, each of which has a share of the hog's: 14 ms, and 3 with the hog elsewhere.
        short_ms: 20,
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
        short_ms: 30,
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
        name: "handshakes, by an address",
        short_ms: SHORT_MS,
        setup: busy,
        hog: |gateway, over| {
            let connect = frame(&json!({"id": 1, "connect": {"token": token_of("ann")}}).to_string());
            let both = [UPGRADE.as_bytes(), &connect].concat();
            let mut open = VecDeque::new();
            while !over.load(Ordering::Relaxed) {
                // Connections that the gateway drops are part of the flood.
                if let Ok(mut stream) = dial(gateway.address, Some(HOG_ADDRESS), None) {
                    let _ = stream.write_all(&both);
                    open.push_back(stream);
                }
                if open.len() > 200 {
                    open.pop_front();
                }
            }
        },
        is_full: |gateway| gateway.metric("seawall_arrivals_over_share_total") > 100.0,
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

/// A gateway as it comes.
fn default_limits() -> Setup {
    Setup::new().plain().env("SEAWALL_AUTH_SECRET", SECRET).arguments(&["--reactors", "2"])
}

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
    // The gateway may have ended it already, which the next write or read shows.
    let _ = stream.write_all(UPGRADE.as_bytes());
    if let Some(user) = user {
        let connect = json!({"id": 0, "connect": {"token": token_of(user)}}).to_string();
        let _ = stream.write_all(&frame(&connect.replace("\"id\":0", "\"id\":9007199254740990")));
    }
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
    stream
}

/// Keeps `window` commands of each of ann's connections outstanding. A connection that is closed is replaced.
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
                while !over.load(Ordering::Relaxed) {
                    flood_one(gateway, window, over, command);
                }
            });
        }
    });
}

/// The same for one connection, until it is closed.
fn flood_one(gateway: &Gateway, window: usize, over: &AtomicBool, command: &dyn Fn(usize) -> String) {
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
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
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

/// Ends the hog, also if a measurement panics: the scope waits for it.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The times of others while it is calm, and while one uses a bound up.
struct Measured {
    calm: P99,
    /// That of another gateway.
    elsewhere: P99,
    busy: P99,
}

impl Measured {
    /// The times of the others with nothing of the hog in their gateway.
    fn control(&self) -> P99 {
        self.calm.max(&self.elsewhere)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { calm, elsewhere, busy } = self;
        write!(f, "calm:      {calm}\n    elsewhere: {elsewhere}\n    busy:      {busy}")
    }
}

/// The limits of the gateway for one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HogLimits {
    /// Default limits: the bound may be far away.
    Default,
    /// Those of the row, at which it fills the bound.
    OfRow,
}

/// Lets the gateway and the others go first, so that what they wait for is the gateway's doing and not the hog's use of the processor.
/// The threads that this one starts inherit it.
fn yield_processor() {
    setpriority_process(None, 15).expect("anybody may lower a priority");
}

/// The times of others at `gateway` while the hog of a row uses up its bound at `target`; `None` if it was never in effect.
fn measure_with_hog(
    row: &Row,
    limits: HogLimits,
    target: &Gateway,
    gateway: &Gateway,
    rounds: usize,
) -> Option<P99> {
    let accepted = || target.metric("seawall_connections_accepted_total");
    let (before, over) = (accepted(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _end = SetAtEnd(&over);
        scope.spawn(|| {
            if has_named_binary() {
                yield_processor();
            }
            (row.hog)(target, &over);
        });
        let is_busy = match limits {
            HogLimits::Default => comes_true(BUSY_WITHIN, || accepted() > before),
            HogLimits::OfRow => comes_true(BUSY_WITHIN, || (row.is_full)(target)),
        };
        is_busy.then(|| measure(gateway, rounds))
    })
}

/// Measures a row once; `None` if the bound was never in effect.
fn attempt(row: &Row, limits: HogLimits, rounds: usize) -> Option<Measured> {
    let setup = || match limits {
        HogLimits::Default => default_limits(),
        HogLimits::OfRow => (row.setup)(),
    };
    let gateway = setup().start();
    measure(&gateway, DEBUG_ROUNDS);
    let calm = measure(&gateway, rounds);
    let elsewhere = match has_named_binary() {
        true => measure_with_hog(row, limits, &setup().start(), &gateway, rounds)?,
        false => calm,
    };
    let busy = measure_with_hog(row, limits, &gateway, &gateway, rounds)?;
    Some(Measured { calm, elsewhere, busy })
}

/// Measures a row until it passes, a few times at most; the failure otherwise.
fn judge(row: &Row, limits: HogLimits) -> Result<(), String> {
    let is_optimised = has_named_binary();
    let rounds = if is_optimised { ROUNDS } else { DEBUG_ROUNDS };
    let short_ms = match limits {
        _ if !is_optimised => DEBUG_SHORT_MS,
        HogLimits::Default => LIMITED_MS,
        HogLimits::OfRow => row.short_ms,
    };
    let mut attempts = Vec::new();
    for _ in 0..ATTEMPTS {
        let measured =
            attempt(row, limits, rounds).ok_or_else(|| format!("{}: it was never full", row.name))?;
        if is_optimised {
            println!("{} ({limits:?})\n    {measured}", row.name);
        }
        if measured.busy.is_within(&measured.control(), Duration::from_millis(short_ms)) {
            return Ok(());
        }
        attempts.push(measured.to_string());
    }
    Err(format!("{} ({limits:?}), floor {short_ms} ms:\n    {}", row.name, attempts.join("\n    ")))
}

#[test]
fn others_do_not_notice_a_user_that_fills_a_bound() {
    // In a debug build a hog at default limits shows nothing that the other does not.
    let kinds: &[HogLimits] =
        if has_named_binary() { &[HogLimits::Default, HogLimits::OfRow] } else { &[HogLimits::OfRow] };
    let rows = TABLE.iter().flat_map(|row| kinds.iter().map(move |limits| judge(row, *limits)));
    let failures: Vec<String> = rows.filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{LATE}: {}", failures.join("\n"));
}
