//! Two gateways on one database, while the database, one gateway's path to it, or one gateway fails.
//!
//! In the end the records of all publishers agree with the log, and subscribers of the other instance have got all of
//! it, in order.

use crate::dependencies::matrix::clients::{ANSWERED_WITHIN, log};
use crate::dependencies::proxied::proxy_to;
use crate::servers::Postgres;
use crate::support::wait::{LATE, comes_true};
use crate::support::{Client, Gateway, SOON, Setup, Upgrade, until};
use seawall_fault::{Mode, Proxy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

const CHANNELS: [&str; 2] = ["a", "b"];
/// The other instance polls the heads of its subscribed channels every ten seconds; the rest is for a slow machine.
const FILLED_WITHIN: Duration = Duration::from_secs(10 + 20);
/// The time between two publications of one author.
const PAUSE: Duration = Duration::from_millis(20);

/// The state shared by all threads of a run.
struct Shared {
    server: Mutex<Postgres>,
    proxies: [Proxy; 2],
    /// The current address of each gateway.
    addresses: Mutex<[SocketAddr; 2]>,
    /// True while a connection may end without a close frame, because a gateway is killed.
    may_vanish: AtomicBool,
    /// Asks the authors to finish.
    done: AtomicBool,
    /// The last offset of each channel when it is known, 0 before.
    heads: [AtomicU64; CHANNELS.len()],
    stored: AtomicU64,
    /// Asks all threads to stop, because a check failed.
    failed: AtomicBool,
}

/// Stops all threads when the test ends early; the scope would otherwise wait for them.
struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.failed.store(thread::panicking(), Ordering::SeqCst);
        self.0.done.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn server(&self) -> MutexGuard<'_, Postgres> {
        self.server.lock().expect("no holder panics")
    }

    fn address(&self, at: usize) -> SocketAddr {
        self.addresses.lock().expect("no holder panics")[at]
    }

    fn setup(&self, at: usize) -> Setup {
        Setup::new()
            .env("SEAWALL_STORE_URL", &self.server().url_through(self.proxies[at].address()))
            .toml("[[dependency]]\nname = \"store\"\ninterval_ms = 300\ntimeout_ms = 500")
            .limit("publishes_per_s", 0)
    }

    /// Opens a connection whose `connect` is answered. `None` if it was refused with a reason or its gateway is gone.
    fn connect(&self, at: usize) -> Option<Client> {
        let vanishes = || self.may_vanish.load(Ordering::SeqCst);
        let mut client = match Client::try_open(self.address(at), &Upgrade::default()) {
            Ok(client) => client,
            Err(error) => {
                assert!(vanishes(), "no connection: {error}");
                return None;
            }
        };
        let id = client.try_send(json!({"connect": {}})).ok();
        match id.and_then(|id| client.try_reply(id)) {
            Some(reply) if reply.get("connected").is_some() => Some(client),
            other => {
                let closed = client.expect_close();
                if !vanishes() {
                    assert_eq!(other, None);
                    closed.is(1011, "unavailable");
                }
                None
            }
        }
    }

    fn rest(&self, length: Duration) {
        comes_true(length, || false);
    }
}

/// An author that publishes until it is stopped, as a correct client does: it sends a publish without a known outcome
/// again under the same key.
struct Author {
    name: String,
    channel: &'static str,
    next: u64,
    stored: BTreeMap<String, u64>,
    refused: Vec<String>,
    /// The key that was sent and whose outcome is unknown.
    open: Option<String>,
    slowest: Duration,
}

impl Author {
    fn new(name: String, channel: &'static str) -> Author {
        let (stored, refused, open) = Default::default();
        Author { name, channel, next: 0, stored, refused, open, slowest: Duration::ZERO }
    }

    fn run(mut self, shared: &Shared, at: usize) -> Author {
        let deadline = Instant::now() + SOON * 6;
        while !shared.done.load(Ordering::SeqCst) || self.open.is_some() {
            assert!(Instant::now() < deadline, "{LATE}: {} does not finish", self.name);
            match shared.connect(at) {
                Some(client) => self.publish(shared, client),
                None => shared.rest(PAUSE * 5),
            }
        }
        self
    }

    /// Publishes until the connection ends or the run is done.
    fn publish(&mut self, shared: &Shared, mut client: Client) {
        while !shared.done.load(Ordering::SeqCst) || self.open.is_some() {
            let doubted = self.open.is_some();
            let key = self.open.take().unwrap_or_else(|| {
                self.next += 1;
                format!("{}-{}", self.name, self.next)
            });
            let publish = json!({"publish": {"channel": self.channel, "key": key, "data": key}});
            let asked = Instant::now();
            let reply = client.try_send(publish).ok().and_then(|id| client.try_reply(id));
            self.slowest = self.slowest.max(asked.elapsed());
            let Some(reply) = reply else {
                self.open = Some(key);
                let closed = client.expect_close();
                assert!(
                    shared.may_vanish.load(Ordering::SeqCst),
                    "connected clients stay connected: {closed:?}"
                );
                return;
            };
            match (reply["published"]["offset"].as_u64(), reply["error"]["code"].as_str()) {
                (Some(offset), _) => {
                    self.stored.insert(key, offset);
                    shared.stored.fetch_add(1, Ordering::Relaxed);
                }
                (None, Some("unavailable")) if !doubted => self.refused.push(key),
                (None, Some("unavailable" | "unconfirmed")) => self.open = Some(key),
                _ => panic!("{reply}"),
            }
            shared.rest(if self.open.is_some() { PAUSE * 5 } else { PAUSE });
        }
    }
}

/// A subscriber that follows a channel through the whole run, and resumes where it was.
struct Follower {
    channel_index: usize,
    heard: u64,
    epoch: Value,
    /// The number of publications that it had to read from history because no gateway sent them.
    pulled: u64,
}

impl Follower {
    fn run(mut self, shared: &Shared, at: usize) -> Follower {
        let mut deadline = None;
        while !self.has_all(shared) {
            let Some(mut client) = shared.connect(at) else {
                shared.rest(PAUSE * 5);
                continue;
            };
            if !self.subscribe(&mut client) {
                continue;
            }
            while !self.has_all(shared) && client.is_open() {
                if shared.heads[self.channel_index].load(Ordering::SeqCst) > 0 {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + FILLED_WITHIN);
                    assert!(
                        Instant::now() < deadline,
                        "{LATE}: {} of {:?} at {at}",
                        self.heard,
                        shared.heads
                    );
                }
                if let Some(publication) = client.next_push_within("publication", PAUSE * 5) {
                    self.take(&publication);
                }
            }
        }
        self
    }

    fn has_all(&self, shared: &Shared) -> bool {
        let head = shared.heads[self.channel_index].load(Ordering::SeqCst);
        (head > 0 && self.heard >= head) || shared.failed.load(Ordering::SeqCst)
    }

    /// Returns false if the subscription was refused; the caller tries again.
    fn subscribe(&mut self, client: &mut Client) -> bool {
        let channel = CHANNELS[self.channel_index];
        let mut arguments = json!({"channel": channel});
        if self.heard > 0 {
            arguments["recover"] = json!({"epoch": self.epoch, "offset": self.heard});
        }
        let reply = client.try_send(json!({"subscribe": arguments})).ok().and_then(|id| client.try_reply(id));
        let Some(mut subscribed) = reply.map(|mut reply| reply["subscribed"].take()) else { return false };
        if subscribed.is_null() || subscribed.get("because") == Some(&json!("unavailable")) {
            return false;
        }
        self.epoch = subscribed["epoch"].take();
        let head = subscribed["head"].as_u64().expect("a head");
        if subscribed["recovered"] != json!(true) {
            let missed = log(client, channel).into_iter().map(|(_, offset)| offset);
            self.pulled += missed.filter(|offset| *offset > self.heard && *offset <= head).count() as u64;
            self.heard = head;
        }
        true
    }

    fn take(&mut self, publication: &Value) {
        self.heard += 1;
        assert_eq!(publication["offset"], json!(self.heard), "a gap or a duplicate: {publication}");
    }
}

/// Runs two gateways with authors and followers on both, and calls `happens` meanwhile.
fn run_two_gateways(name: &str, happens: impl FnOnce(&Shared, &mut [Option<Gateway>; 2])) {
    let server = Postgres::start();
    let proxies = [proxy_to(server.address()), proxy_to(server.address())];
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let shared = Shared {
        server: Mutex::new(server),
        proxies,
        addresses: Mutex::new([nowhere; 2]),
        may_vanish: AtomicBool::new(false),
        done: AtomicBool::new(false),
        heads: Default::default(),
        stored: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    };
    let mut gateways = [0, 1].map(|at| Some(shared.setup(at).start()));
    *shared.addresses.lock().expect("no holder panics") =
        [0, 1].map(|at| gateways[at].as_ref().expect("just started").address);
    let (authors, followers) = thread::scope(|scope| {
        let shared = &shared;
        let pairs =
            || (0..2).flat_map(|at| (0..CHANNELS.len()).map(move |channel_index| (at, channel_index)));
        let followers: Vec<_> = pairs()
            .map(|(at, channel_index)| {
                let follower = Follower { channel_index, heard: 0, epoch: Value::Null, pulled: 0 };
                scope.spawn(move || follower.run(shared, at))
            })
            .collect();
        let authors: Vec<_> = pairs()
            .map(|(at, channel_index)| {
                let author = Author::new(format!("{at}{channel_index}"), CHANNELS[channel_index]);
                scope.spawn(move || author.run(shared, at))
            })
            .collect();
        let _stop = StopOnDrop(shared);
        more(shared, 100);
        happens(shared, &mut gateways);
        more(shared, 100);
        shared.done.store(true, Ordering::SeqCst);
        let authors: Vec<Author> =
            authors.into_iter().map(|author| author.join().expect("an author")).collect();
        // The gateway that is never killed may still refuse newcomers, because the other one recovered first.
        let mut reader = None;
        until(SOON * 2, "a reader is connected", || {
            reader = shared.connect(1);
            reader.is_some()
        });
        let reader = &mut reader.expect("it was waited for");
        for (channel_index, channel) in CHANNELS.iter().enumerate() {
            let log = log(reader, channel);
            check(&log, authors.iter().filter(|author| author.channel == *channel));
            shared.heads[channel_index].store(log.len() as u64, Ordering::SeqCst);
        }
        let followers: Vec<Follower> =
            followers.into_iter().map(|follower| follower.join().expect("a follower")).collect();
        (authors, followers)
    });
    let stored: usize = authors.iter().map(|author| author.stored.len()).sum();
    let refused: usize = authors.iter().map(|author| author.refused.len()).sum();
    let slowest = authors.iter().map(|author| author.slowest).max().unwrap_or_default();
    let pulled: u64 = followers.iter().map(|follower| follower.pulled).sum();
    println!("{name}: {stored} stored, {refused} refused, slowest answer {slowest:?}, {pulled} read again");
    assert!(slowest < ANSWERED_WITHIN, "{LATE}: {slowest:?}");
}

/// Waits until `count` more publications are acknowledged.
#[track_caller]
fn more(shared: &Shared, count: u64) {
    let before = shared.stored.load(Ordering::Relaxed);
    until(SOON * 2, "publications are stored", || shared.stored.load(Ordering::Relaxed) >= before + count);
}

/// Checks that the log of a channel holds exactly what its authors got acknowledged.
#[track_caller]
fn check<'a>(log: &[(String, u64)], authors: impl Iterator<Item = &'a Author>) {
    let mut promised = BTreeMap::new();
    for author in authors {
        assert!(author.stored.len() > 10, "{LATE}: {} published {}", author.name, author.stored.len());
        promised.extend(author.stored.clone());
        for key in &author.refused {
            assert!(log.iter().all(|(stored, _)| stored != key), "{key} was refused, but is stored");
        }
    }
    let mut found = BTreeMap::new();
    for (key, offset) in log {
        assert_eq!(found.insert(key.clone(), *offset), None, "{key} is stored twice");
    }
    assert_eq!(found, promised, "stored and acknowledged publications differ");
}

fn database_killed() {
    run_two_gateways("database killed", |shared, _| {
        shared.server().kill9();
        shared.rest(Duration::from_secs(1));
        shared.server().start_again();
    });
}

fn database_frozen() {
    run_two_gateways("database frozen", |shared, _| {
        shared.server().sigstop();
        shared.rest(Duration::from_secs(5));
        shared.server().sigcont();
    });
}

fn one_cut_off() {
    run_two_gateways("one cut off", |shared, _| {
        shared.proxies[0].set(Mode::Refuse);
        shared.proxies[0].reset();
        // The other gateway continues.
        more(shared, 100);
        shared.proxies[0].set(Mode::Pass);
    });
}

fn one_gateway_killed() {
    run_two_gateways("one gateway killed", |shared, gateways| {
        shared.may_vanish.store(true, Ordering::SeqCst);
        drop(gateways[0].take().expect("it runs").kill9());
        more(shared, 50);
        let again = shared.setup(0).start();
        shared.addresses.lock().expect("no holder panics")[0] = again.address;
        gateways[0] = Some(again);
        more(shared, 50);
        shared.may_vanish.store(false, Ordering::SeqCst);
    });
}

/// Runs both at once, because they mostly wait.
fn both(one: fn(), other: fn()) {
    thread::scope(|scope| {
        scope.spawn(one);
        scope.spawn(other);
    });
}

#[test]
fn killed_or_frozen_database_loses_nothing_that_two_gateways_acknowledged() {
    both(database_killed, database_frozen);
}

#[test]
fn gateway_that_is_cut_off_or_killed_leaves_the_other_consistent() {
    both(one_cut_off, one_gateway_killed);
}
