//! Clients that stay through the whole upgrade, as correct clients do, with a record of what each was promised and got.

use crate::support::wait::comes_true;
use crate::support::{Client, SOON, Upgrade};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const CHANNELS: [&str; 2] = ["a", "b"];
/// The time between two publications of one author.
const PAUSE: Duration = Duration::from_millis(100);
/// Instances of two versions may not read each other's messages on the bus. Then an instance reads the logs of its channels
/// every ten seconds; the rest is for a slow machine.
pub const FROM_THE_LOG_WITHIN: Duration = Duration::from_secs(10 + 30);

/// Which of the two programs a client prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Old,
    New,
}

/// The state shared by all threads.
#[derive(Default)]
pub struct World {
    /// The gateways that serve: old and new. One that begins to drain is removed first.
    serving: Mutex<[Option<SocketAddr>; 2]>,
    /// Asks the authors to finish.
    pub done: AtomicBool,
    /// The last offset of each channel when it is known, 0 before.
    pub heads: [AtomicU64; CHANNELS.len()],
    /// Followers that have subscribed.
    pub followers: AtomicU64,
    /// Publications acknowledged so far.
    pub stored: AtomicU64,
    /// Closes of a gateway that drained.
    pub moves: AtomicU64,
    /// Publishes and connections that were refused for a moment, and repeated.
    pub refusals: AtomicU64,
    failed: AtomicBool,
}

impl World {
    pub fn serve(&self, side: Side, address: Option<SocketAddr>) {
        self.serving.lock().expect("no holder panics")[side as usize] = address;
    }

    fn address(&self, side: Side) -> Option<SocketAddr> {
        let serving = self.serving.lock().expect("no holder panics");
        serving[side as usize].or(serving[1 - side as usize])
    }

    fn serves(&self, address: SocketAddr) -> bool {
        self.serving.lock().expect("no holder panics").contains(&Some(address))
    }

    /// True if a client of `side` at this address should move, because the program it prefers serves now.
    fn has_better(&self, side: Side, address: SocketAddr) -> bool {
        let serving = self.serving.lock().expect("no holder panics");
        serving[side as usize].is_some_and(|preferred| preferred != address)
    }

    /// Waits; true if the run has failed meanwhile.
    pub fn rest(&self, length: Duration) -> bool {
        comes_true(length, || self.failed.load(Ordering::SeqCst))
    }

    /// Waits until the authors have stored `count` more publications.
    #[track_caller]
    pub fn more(&self, count: u64) {
        let enough = self.stored.load(Ordering::SeqCst) + count;
        let comes = comes_true(SOON * 2, || {
            self.failed.load(Ordering::SeqCst) || self.stored.load(Ordering::SeqCst) >= enough
        });
        assert!(comes && !self.failed.load(Ordering::SeqCst), "the authors do not go on");
    }
}

/// Stops all threads when the test ends early; their scope would otherwise wait for them.
pub struct StopOnDrop<'a>(pub &'a World);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.failed.store(true, Ordering::SeqCst);
        }
        self.0.done.store(true, Ordering::SeqCst);
    }
}

/// A connection to one of the gateways.
struct Connection {
    client: Client,
    address: SocketAddr,
}

impl Connection {
    /// `None` if there is none now. A refusal must have a reason.
    fn open(world: &World, side: Side) -> Option<Connection> {
        let address = world.address(side)?;
        let mut client = match Client::try_open(address, &Upgrade::default()) {
            Ok(client) => client,
            Err(error) => {
                assert!(!world.serves(address), "no connection to a gateway that serves: {error}");
                return None;
            }
        };
        let id = client.try_send(json!({"connect": {}})).ok();
        match id.and_then(|id| client.try_reply(id)) {
            Some(reply) if reply.get("connected").is_some() => Some(Connection { client, address }),
            other => {
                assert_eq!(other, None);
                let closed = client.expect_close();
                if world.serves(address) {
                    closed.is(1011, "unavailable");
                    world.refusals.fetch_add(1, Ordering::Relaxed);
                }
                None
            }
        }
    }

    /// A connection ends only because its gateway drains, and the gateway says so.
    fn has_ended(&mut self, world: &World) {
        let closed = self.client.expect_close();
        assert!(!world.serves(self.address), "unexplained close: {closed:?}");
        closed.is(1012, "restart");
        world.moves.fetch_add(1, Ordering::Relaxed);
    }
}

/// An author that repeats a publish under its key until it is acknowledged.
pub struct Author {
    name: String,
    side: Side,
    pub channel: &'static str,
    /// The acknowledged keys with their offsets.
    pub stored: BTreeMap<String, u64>,
    /// The key that was sent and is not acknowledged.
    open: Option<String>,
}

impl Author {
    pub fn new(side: Side, channel: &'static str) -> Author {
        Author { name: format!("{side:?}-{channel}"), side, channel, stored: BTreeMap::new(), open: None }
    }

    pub fn run(mut self, world: &World) -> Author {
        while !world.failed.load(Ordering::SeqCst)
            && (!world.done.load(Ordering::SeqCst) || self.open.is_some())
        {
            match Connection::open(world, self.side) {
                Some(connection) => self.publish(world, connection),
                None => _ = world.rest(PAUSE),
            }
        }
        self
    }

    fn publish(&mut self, world: &World, mut connection: Connection) {
        while !world.done.load(Ordering::SeqCst) || self.open.is_some() {
            let key = self.open.take().unwrap_or_else(|| format!("{}-{}", self.name, self.stored.len() + 1));
            let publish = json!({"publish": {"channel": self.channel, "key": key, "data": key}});
            let reply =
                connection.client.try_send(publish).ok().and_then(|id| connection.client.try_reply(id));
            let Some(reply) = reply else {
                self.open = Some(key);
                return connection.has_ended(world);
            };
            match (reply["published"]["offset"].as_u64(), reply["error"]["code"].as_str()) {
                (Some(offset), _) => {
                    self.stored.insert(key, offset);
                    world.stored.fetch_add(1, Ordering::Relaxed);
                }
                (None, Some("unavailable" | "unconfirmed")) => {
                    world.refusals.fetch_add(1, Ordering::Relaxed);
                    self.open = Some(key);
                }
                _ => panic!("{reply}"),
            }
            let moves = self.open.is_none() && world.has_better(self.side, connection.address);
            if world.rest(PAUSE) || moves {
                return;
            }
        }
    }
}

/// A subscriber that follows a channel through the whole run, and resumes where it was.
pub struct Follower {
    pub side: Side,
    /// Its place in `CHANNELS`.
    pub channel: usize,
    /// The key of each publication it got, by offset from 1.
    pub heard: Vec<String>,
    epoch: Value,
}

impl Follower {
    pub fn new(side: Side, channel: usize) -> Follower {
        Follower { side, channel, heard: Vec::new(), epoch: Value::Null }
    }

    pub fn run(mut self, world: &World) -> Follower {
        let mut deadline = None;
        while !self.is_done(world) {
            let Some(mut connection) = Connection::open(world, self.side) else {
                world.rest(PAUSE);
                continue;
            };
            if !self.subscribe(world, &mut connection.client) {
                continue;
            }
            while !self.is_done(world) && !world.has_better(self.side, connection.address) {
                if world.heads[self.channel].load(Ordering::SeqCst) > 0 {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + FROM_THE_LOG_WITHIN);
                    assert!(
                        Instant::now() < deadline,
                        "{:?} has {} of {:?}",
                        self.side,
                        self.heard.len(),
                        world.heads
                    );
                }
                match connection.client.next_push_within("publication", PAUSE) {
                    Some(publication) => self.take(&publication),
                    None if connection.client.is_open() => {}
                    None => {
                        connection.has_ended(world);
                        break;
                    }
                }
            }
        }
        self
    }

    fn is_done(&self, world: &World) -> bool {
        let head = world.heads[self.channel].load(Ordering::SeqCst);
        (head > 0 && self.heard.len() as u64 >= head) || world.failed.load(Ordering::SeqCst)
    }

    /// Returns false if the subscription was refused for a moment.
    fn subscribe(&mut self, world: &World, client: &mut Client) -> bool {
        let mut arguments = json!({"channel": CHANNELS[self.channel]});
        if !self.epoch.is_null() {
            arguments["recover"] = json!({"epoch": self.epoch, "offset": self.heard.len()});
        }
        let reply = client.try_send(json!({"subscribe": arguments})).ok().and_then(|id| client.try_reply(id));
        let Some(mut subscribed) = reply.map(|mut reply| reply["subscribed"].take()) else { return false };
        if subscribed.is_null() || subscribed["because"] == json!("unavailable") {
            return false;
        }
        if self.epoch.is_null() {
            assert_eq!(subscribed["head"], json!(0), "it is there before the first publication");
            world.followers.fetch_add(1, Ordering::SeqCst);
        } else {
            assert_eq!(subscribed["recovered"], json!(true), "{subscribed}");
        }
        self.epoch = subscribed["epoch"].take();
        true
    }

    fn take(&mut self, publication: &Value) {
        let offset = self.heard.len() + 1;
        assert_eq!(publication["offset"], json!(offset), "a gap or a duplicate: {publication}");
        self.heard.push(publication["data"].as_str().expect("a text").to_owned());
    }
}
