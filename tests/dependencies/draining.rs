//! A gateway that drains while its store does not answer, and one whose clients move to another instance.

use crate::servers::{Postgres, Redis};
use crate::support::wait::{LATE, SOON, comes_true, until};
use crate::support::{Client, Gateway, Setup, Upgrade};
use rustix::process::Signal;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The exit timeout of the first test, well before the store gives up what it does not get an answer to.
const EXIT: Duration = Duration::from_secs(2);
/// The exit timeout of all tests, and time for a busy machine. A gateway that waited for its store would not end at all.
const EXIT_MAX: Duration = Duration::from_secs(8 + 20);

/// Publishes to a store that works: a worker of it may still be connecting.
fn publishes(client: &mut Client) {
    let publish = json!({"publish": {"channel": "c", "data": "it works"}});
    until(SOON, "the store takes publications", || {
        client.command(publish.clone()).get("published").is_some()
    });
}

#[test]
fn hanging_store_leaves_publishes_unconfirmed_but_does_not_delay_the_exit() {
    let server = Postgres::start();
    let setup = Setup::new().env("SEAWALL_STORE_URL", &server.url()).drain("exit", EXIT.as_millis() as u64);
    let mut gateway = setup.start();
    let (mut client, mut idle) = (Client::connect(&gateway), Client::connect(&gateway));
    client.subscribe("c");
    publishes(&mut client);
    let publishes = || gateway.metric("seawall_publishes_total");
    let mut before = 0.0;
    until(SOON, "all of them are counted", || {
        before = publishes();
        !comes_true(Duration::from_millis(200), || publishes() > before)
    });
    server.sigstop();
    let sent = Instant::now();
    let id = client.send(json!({"publish": {"channel": "c", "key": "k", "data": "into the ice"}}));
    until(SOON, "the publish is counted", || publishes() > before);
    let began = Instant::now();
    gateway.signal(Signal::TERM);
    assert!(sent.elapsed() < EXIT, "{LATE}: the store gives up before the gateway exits");
    // A client without a pending request is not kept waiting.
    idle.expect_close().is(1012, "restart");
    let idle_after = began.elapsed();
    let reply = client.try_reply(id).expect("a reply before the exit");
    assert_eq!(reply["error"]["code"], "unconfirmed", "{reply}");
    client.expect_close().is(1012, "restart");
    assert!(
        idle_after < EXIT - Duration::from_millis(200),
        "{LATE}: the idle client was closed late: {idle_after:?}"
    );
    assert_eq!(gateway.ends_within(SOON), Some(1), "{}", gateway.output());
    assert!(began.elapsed() < EXIT_MAX, "{LATE}: {:?}", began.elapsed());
    let said = gateway.output();
    assert!(said.contains("stopped with unfinished work unanswered_publishes=1 unsent_closes=0"), "{said}");
    server.sigcont();
}

#[test]
fn drain_with_store_and_bus_down_closes_clients_and_ends_in_time() {
    let (mut server, mut bus) = (Postgres::start(), Redis::start());
    let setup = Setup::new().env("SEAWALL_STORE_URL", &server.url()).env("SEAWALL_BUS_URL", &bus.url());
    let mut gateway = setup.start();
    let mut client = Client::connect(&gateway);
    client.subscribe("c");
    publishes(&mut client);
    server.kill9();
    bus.kill9();
    let refused = client.command(json!({"publish": {"channel": "c", "data": "lost"}}));
    assert!(refused["error"]["retry_ms"].is_u64(), "{refused}");
    let began = Instant::now();
    gateway.signal(Signal::TERM);
    client.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
    assert!(began.elapsed() < EXIT_MAX, "{LATE}: {:?}", began.elapsed());
}

const LISTENERS: usize = 20;
const PUBLISHERS: usize = 2;
/// Publications of each publisher once it has moved.
const AFTERWARDS: u64 = 20;

/// A client that moves as the protocol asks: it opens a new connection before it closes the old one.
struct Mover {
    client: Client,
    to: SocketAddr,
    /// The epoch of the log, and the last offset that was applied.
    epoch: String,
    last: u64,
    /// The time to move, once the server has sent it.
    slot: Option<Instant>,
    moved: bool,
}

impl Mover {
    fn start(from: &Gateway, to: SocketAddr) -> Mover {
        let mut client = Client::connect(from);
        let subscribed = client.subscribe("c");
        let epoch = subscribed["epoch"].as_str().expect("an epoch").to_owned();
        Mover {
            client,
            to,
            epoch,
            last: subscribed["head"].as_u64().expect("a head"),
            slot: None,
            moved: false,
        }
    }

    /// Reads what has arrived. Nothing may be missing; a repeated offset is one that both connections brought.
    fn listen(&mut self) {
        while let Some(publication) = self.client.next_push_within("publication", Duration::from_millis(5)) {
            let offset = publication["offset"].as_u64().expect("an offset");
            assert!(offset <= self.last + 1, "{offset} after {}", self.last);
            self.last = self.last.max(offset);
        }
        if let Some(drain) = self.client.next_push_within("drain", Duration::from_millis(1)) {
            let slot_ms = drain["slot_ms"].as_u64().expect("a slot");
            self.slot = Some(Instant::now() + Duration::from_millis(slot_ms));
        }
        if self.slot.is_some_and(|slot| slot <= Instant::now()) {
            self.slot = None;
            self.go();
        }
    }

    fn go(&mut self) {
        let cursor = json!({"channel": "c", "epoch": self.epoch, "offset": self.last});
        let arguments = json!({"recover": [cursor]});
        let next = Client::open_with(self.to, &Upgrade::default()).with_connect(arguments);
        assert_eq!(next.connected["recovered"][0]["recovered"], true, "{}", next.connected);
        let mut old = std::mem::replace(&mut self.client, next);
        old.close();
        self.moved = true;
    }

    /// Publishes one by one until it has moved and published `AFTERWARDS` more. Returns the number of publications.
    fn publish(mut self, own: usize) -> (u64, Mover) {
        let (mut count, mut rest) = (0, AFTERWARDS);
        while rest > 0 {
            let key = format!("{own}-{count}");
            let reply = self.client.command(json!({"publish": {"channel": "c", "key": key, "data": count}}));
            assert_eq!(reply["published"]["duplicate"], false, "{reply}");
            count += 1;
            rest -= u64::from(self.moved);
            self.listen();
        }
        (count, self)
    }

    fn reach(mut self, head: u64) {
        let deadline = Instant::now() + SOON * 2;
        while self.last < head || !self.moved {
            self.listen();
            assert!(Instant::now() < deadline, "{LATE}: has {} of {head}, moved: {}", self.last, self.moved);
        }
        assert_eq!(self.last, head);
    }
}

#[test]
fn moving_clients_miss_nothing_while_others_publish() {
    let (server, bus) = (Postgres::start(), Redis::start());
    let setup = || {
        let setup = Setup::new().unlimited().env("SEAWALL_STORE_URL", &server.url());
        let setup = setup.env("SEAWALL_BUS_URL", &bus.url());
        setup.drain("accept", 300).drain("spread", 2_000).drain("close", 20_000).drain("exit", 30_000)
    };
    let (mut leaves, stays) = (setup().start(), setup().start());
    let start = |_| Mover::start(&leaves, stays.address);
    let listeners: Vec<Mover> = (0..LISTENERS).map(start).collect();
    let publishers: Vec<Mover> = (0..PUBLISHERS).map(start).collect();
    let (head, began) = (&OnceLock::new(), Instant::now());
    std::thread::scope(|scope| {
        let begin = |(own, mover): (usize, Mover)| scope.spawn(move || mover.publish(own));
        let publishers: Vec<_> = publishers.into_iter().enumerate().map(begin).collect();
        let listeners: Vec<_> = listeners
            .into_iter()
            .map(|mut mover| {
                scope.spawn(move || {
                    while head.get().is_none() {
                        assert!(began.elapsed() < SOON * 6, "{LATE}: the publishers do not finish");
                        mover.listen();
                    }
                    mover.reach(*head.get().expect("just seen"));
                })
            })
            .collect();
        leaves.signal(Signal::TERM);
        let published: Vec<_> = publishers.into_iter().map(|one| one.join().expect("no panic")).collect();
        let total: u64 = published.iter().map(|(count, _)| count).sum();
        head.set(total).expect("once");
        for (_, mover) in published {
            mover.reach(total);
        }
        listeners.into_iter().for_each(|one| one.join().expect("no panic"));
        let mut reader = Client::connect(&stays);
        let page = reader.ask(json!({"history": {"channel": "c", "limit": 1}}), "history");
        assert_eq!(page["head"], total, "each was stored once");
    });
    assert_eq!(leaves.ends_within(SOON), Some(0), "{}", leaves.output());
    let moved = format!("stopped moved={} stragglers=0", LISTENERS + PUBLISHERS);
    assert!(leaves.output().contains(&moved), "{}", leaves.output());
}
