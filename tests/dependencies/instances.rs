//! Two gateways on one database, while the database, the way of one to it, or one of them fails: the accounts of all who publish
//! agree with the log in the end, and who listens on the other instance gets all of it, in order.

use crate::dependencies::matrix::people::log;
use crate::dependencies::stand::way_to;
use crate::servers::Postgres;
use crate::support::wait::comes_true;
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
/// The other instance reads the heads of what is subscribed there every ten seconds; the rest is for the machine.
const FILLED_WITHIN: Duration = Duration::from_secs(10 + 5);
/// Between two publications of one author.
const PAUSE: Duration = Duration::from_millis(20);

/// What everybody of a run shares.
struct Stage {
    server: Mutex<Postgres>,
    ways: [Proxy; 2],
    /// Where each gateway is now.
    addresses: Mutex<[SocketAddr; 2]>,
    /// A connection may end without a word: a gateway is killed.
    may_vanish: AtomicBool,
    /// Authors come to an end.
    done: AtomicBool,
    /// The last offset of each channel once that is known; 0 before.
    heads: [AtomicU64; CHANNELS.len()],
    stored: AtomicU64,
    /// Something does not hold: everybody goes home.
    failed: AtomicBool,
}

/// Sends everybody home when the test ends early, which else would wait for them.
struct Fails<'a>(&'a Stage);

impl Drop for Fails<'_> {
    fn drop(&mut self) {
        self.0.failed.store(thread::panicking(), Ordering::SeqCst);
        self.0.done.store(true, Ordering::SeqCst);
    }
}

impl Stage {
    fn server(&self) -> MutexGuard<'_, Postgres> {
        self.server.lock().expect("no holder panics")
    }

    fn address(&self, at: usize) -> SocketAddr {
        self.addresses.lock().expect("no holder panics")[at]
    }

    fn setup(&self, at: usize) -> Setup {
        Setup::new()
            .env("SEAWALL_STORE_URL", &self.server().url_through(self.ways[at].address()))
            .toml("[[dependency]]\nname = \"store\"\ninterval_ms = 300\ntimeout_ms = 500")
            .limit("publishes_per_s", 0)
    }

    /// A connection whose `connect` was answered; `None` when it was turned away, with a reason, or its gateway is gone.
    fn come(&self, at: usize) -> Option<Client> {
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

/// One who publishes without end, as a good client does: what is open is sent again under the same key.
struct Author {
    name: String,
    channel: &'static str,
    next: u64,
    stored: BTreeMap<String, u64>,
    refused: Vec<String>,
    /// Sent, and it is not known what became of it.
    open: Option<String>,
    slowest: Duration,
}

impl Author {
    fn new(name: String, channel: &'static str) -> Author {
        let (stored, refused, open) = Default::default();
        Author { name, channel, next: 0, stored, refused, open, slowest: Duration::ZERO }
    }

    fn run(mut self, stage: &Stage, at: usize) -> Author {
        let deadline = Instant::now() + SOON * 6;
        while !stage.done.load(Ordering::SeqCst) || self.open.is_some() {
            assert!(Instant::now() < deadline, "{} never comes to an end", self.name);
            match stage.come(at) {
                Some(client) => self.publish(stage, client),
                None => stage.rest(PAUSE * 5),
            }
        }
        self
    }

    /// Until the connection ends, or all is done.
    fn publish(&mut self, stage: &Stage, mut client: Client) {
        while !stage.done.load(Ordering::SeqCst) || self.open.is_some() {
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
                assert!(stage.may_vanish.load(Ordering::SeqCst), "who is connected stays: {closed:?}");
                return;
            };
            match (reply["published"]["offset"].as_u64(), reply["error"]["code"].as_str()) {
                (Some(offset), _) => {
                    self.stored.insert(key, offset);
                    stage.stored.fetch_add(1, Ordering::Relaxed);
                }
                (None, Some("unavailable")) if !doubted => self.refused.push(key),
                (None, Some("unavailable" | "unconfirmed")) => self.open = Some(key),
                _ => panic!("{reply}"),
            }
            stage.rest(if self.open.is_some() { PAUSE * 5 } else { PAUSE });
        }
    }
}

/// One who listens to a channel through all of it, and comes back where it was.
struct Follower {
    place: usize,
    heard: u64,
    epoch: Value,
    /// How many it had to ask for, since nobody brought them.
    pulled: u64,
}

impl Follower {
    fn run(mut self, stage: &Stage, at: usize) -> Follower {
        let mut deadline = None;
        while !self.has_all(stage) {
            let Some(mut client) = stage.come(at) else {
                stage.rest(PAUSE * 5);
                continue;
            };
            if !self.subscribe(&mut client) {
                continue;
            }
            while !self.has_all(stage) && client.is_open() {
                if stage.heads[self.place].load(Ordering::SeqCst) > 0 {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + FILLED_WITHIN);
                    assert!(Instant::now() < deadline, "{} of {:?} at {at}", self.heard, stage.heads);
                }
                if let Some(publication) = client.next_push_within("publication", PAUSE * 5) {
                    self.take(&publication);
                }
            }
        }
        self
    }

    fn has_all(&self, stage: &Stage) -> bool {
        let head = stage.heads[self.place].load(Ordering::SeqCst);
        (head > 0 && self.heard >= head) || stage.failed.load(Ordering::SeqCst)
    }

    /// False when it was refused; it tries again.
    fn subscribe(&mut self, client: &mut Client) -> bool {
        let channel = CHANNELS[self.place];
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
        assert_eq!(publication["offset"], json!(self.heard), "a gap, or one twice: {publication}");
    }
}

/// Two gateways, authors and followers on both, and what happens to them meanwhile.
fn play(name: &str, happens: impl FnOnce(&Stage, &mut [Option<Gateway>; 2])) {
    let server = Postgres::start();
    let ways = [way_to(server.address()), way_to(server.address())];
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let stage = Stage {
        server: Mutex::new(server),
        ways,
        addresses: Mutex::new([nowhere; 2]),
        may_vanish: AtomicBool::new(false),
        done: AtomicBool::new(false),
        heads: Default::default(),
        stored: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    };
    let mut gateways = [0, 1].map(|at| Some(stage.setup(at).start()));
    *stage.addresses.lock().expect("no holder panics") =
        [0, 1].map(|at| gateways[at].as_ref().expect("just started").address);
    let (authors, followers) = thread::scope(|scope| {
        let stage = &stage;
        let everybody = || (0..2).flat_map(|at| (0..CHANNELS.len()).map(move |place| (at, place)));
        let followers: Vec<_> = everybody()
            .map(|(at, place)| {
                let follower = Follower { place, heard: 0, epoch: Value::Null, pulled: 0 };
                scope.spawn(move || follower.run(stage, at))
            })
            .collect();
        let authors: Vec<_> = everybody()
            .map(|(at, place)| {
                let author = Author::new(format!("{at}{place}"), CHANNELS[place]);
                scope.spawn(move || author.run(stage, at))
            })
            .collect();
        let _ends = Fails(stage);
        more(stage, 100);
        happens(stage, &mut gateways);
        more(stage, 100);
        stage.done.store(true, Ordering::SeqCst);
        let authors: Vec<Author> =
            authors.into_iter().map(|author| author.join().expect("an author")).collect();
        for (place, channel) in CHANNELS.iter().enumerate() {
            let reader = &mut Client::connect(gateways[1].as_ref().expect("this one is not killed"));
            let log = log(reader, channel);
            check(&log, authors.iter().filter(|author| author.channel == *channel));
            stage.heads[place].store(log.len() as u64, Ordering::SeqCst);
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
    assert!(slowest < Duration::from_millis(5_500), "{slowest:?}");
}

/// Waits until so many more are acknowledged.
#[track_caller]
fn more(stage: &Stage, count: u64) {
    let before = stage.stored.load(Ordering::Relaxed);
    until(SOON * 2, "publications are stored", || stage.stored.load(Ordering::Relaxed) >= before + count);
}

/// The log of a channel is what its authors were told, no more and no less.
#[track_caller]
fn check<'a>(log: &[(String, u64)], authors: impl Iterator<Item = &'a Author>) {
    let mut promised = BTreeMap::new();
    for author in authors {
        assert!(author.stored.len() > 10, "{} published {}", author.name, author.stored.len());
        promised.extend(author.stored.clone());
        for key in &author.refused {
            assert!(log.iter().all(|(stored, _)| stored != key), "{key} was refused, and is stored");
        }
    }
    let mut found = BTreeMap::new();
    for (key, offset) in log {
        assert_eq!(found.insert(key.clone(), *offset), None, "{key} is stored twice");
    }
    assert_eq!(found, promised, "what is stored and what was acknowledged differ");
}

fn database_killed() {
    play("database killed", |stage, _| {
        stage.server().kill9();
        stage.rest(Duration::from_secs(1));
        stage.server().start_again();
    });
}

fn database_frozen() {
    play("database frozen", |stage, _| {
        stage.server().sigstop();
        stage.rest(Duration::from_secs(5));
        stage.server().sigcont();
    });
}

fn one_cut_off() {
    play("one cut off", |stage, _| {
        stage.ways[0].set(Mode::Refuse);
        stage.ways[0].reset();
        // The other goes on.
        more(stage, 100);
        stage.ways[0].set(Mode::Pass);
    });
}

fn one_gateway_killed() {
    play("one gateway killed", |stage, gateways| {
        stage.may_vanish.store(true, Ordering::SeqCst);
        drop(gateways[0].take().expect("it runs").kill9());
        more(stage, 50);
        let again = stage.setup(0).start();
        stage.addresses.lock().expect("no holder panics")[0] = again.address;
        gateways[0] = Some(again);
        more(stage, 50);
        stage.may_vanish.store(false, Ordering::SeqCst);
    });
}

/// They wait more than they work.
fn both(one: fn(), other: fn()) {
    thread::scope(|scope| {
        scope.spawn(one);
        scope.spawn(other);
    });
}

#[test]
fn a_database_that_is_killed_or_freezes_under_two_gateways() {
    both(database_killed, database_frozen);
}

#[test]
fn one_of_two_gateways_that_is_cut_off_or_killed() {
    both(one_cut_off, one_gateway_killed);
}
