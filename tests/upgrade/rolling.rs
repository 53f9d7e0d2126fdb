//! A rolling upgrade and a roll-back, with clients on both programs.

use crate::checks::{RETAINED, crosses, works};
use crate::clients::{Author, CHANNELS, Follower, Side, StopOnDrop, World};
use crate::previous;
use crate::servers::{Postgres, Redis};
use crate::support::{Client, Gateway, Operator, SOON, Setup, until};
use seawall::store::postgres::VERSION;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::Ordering;
use std::thread;

/// Connections of a gateway's workers to the store, without a bus.
const CONNECTIONS: usize = 5;

/// Connections that are ended at random, each time.
const CUTS: usize = 10;

/// Waits until the workers of a gateway are connected, and returns their processes.
fn connected(store: &Postgres, name: &str) -> BTreeSet<String> {
    let sql = format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{name}'");
    let mut processes = BTreeSet::new();
    until(SOON, "it is connected", || {
        processes = store.sql(&sql).lines().map(String::from).collect();
        processes.len() >= CONNECTIONS
    });
    processes
}

/// Ends all connections of a gateway to the store, as a failover does, and waits until it is connected again.
fn cut(store: &Postgres, name: &str) {
    let before = connected(store, name);
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name";
    assert_ne!(store.sql(&format!("{cut} = '{name}'")), "0");
    until(SOON, "its connections have ended", || connected(store, name).is_disjoint(&before));
}

/// Ends single connections of both programs at random, while the authors go on.
fn cut_at_random(store: &Postgres, world: &World) {
    for _ in 0..CUTS {
        store.sql(
            "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity
                 WHERE application_name IN ('Old', 'New') ORDER BY random() LIMIT 1) one",
        );
        world.more(4);
    }
}

struct Rig {
    store: Postgres,
    bus: Redis,
    /// The previous program.
    old: PathBuf,
}

impl Rig {
    fn setup(&self, side: Side) -> Setup {
        let setup = Setup::new()
            .env("SEAWALL_STORE_URL", &format!("{}?application_name={side:?}", self.store.url()))
            .env("SEAWALL_BUS_URL", &self.bus.url())
            .env("SEAWALL_RETENTION_PUBLICATIONS", &RETAINED.to_string())
            // Not `unlimited`, which sets limits that the old program does not know.
            .limit("pending", 2_000)
            .limit("publishes_per_s", 0)
            .limit("commands_per_s", 0)
            .with_admin();
        match side {
            Side::Old => setup.program(&self.old),
            Side::New => setup,
        }
    }

    fn start(&self, world: &World, side: Side) -> Gateway {
        let gateway = self.setup(side).start();
        connected(&self.store, &format!("{side:?}"));
        world.serve(side, Some(gateway.address));
        gateway
    }

    /// Drains a gateway with the `drain` command of the other program.
    fn drain(&self, world: &World, side: Side, gateway: &mut Gateway) {
        world.serve(side, None);
        let address = Operator::of(gateway).address.to_string();
        let operator = Setup::new().data_at(gateway.setup().data());
        let operator = if side == Side::New { operator.program(&self.old) } else { operator };
        let run = |arguments: &[&str]| {
            let ran = operator.run_with(arguments, &[("SEAWALL_ADMIN_LISTEN", &address)]);
            assert!(ran.status.success(), "{ran:?}");
            String::from_utf8_lossy(&ran.stdout).into_owned()
        };
        let status = run(&["drain", "--status"]);
        assert!(status.starts_with("serving, "), "{status}");
        run(&["drain"]);
        assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
    }

    fn store_version(&self) -> String {
        let printed =
            Setup::new().run_with(&["store", "version"], &[("SEAWALL_STORE_URL", &self.store.url())]);
        assert!(printed.status.success(), "{printed:?}");
        String::from_utf8_lossy(&printed.stdout).into_owned()
    }
}

/// The previous program has no lease, and its row shows that it lives.
fn lists_the_old_one(new: &Gateway) {
    until(SOON, "the old instance is alive by its row", || {
        let report = Operator::of(new).get("/cluster").json();
        let instances = report["instances"].as_array().expect("a list");
        let alive = instances.iter().filter(|instance| instance["state"] == "alive");
        alive.count() == 2 && instances.iter().any(|instance| instance["connections"].is_null())
    });
}

/// Upgrades and rolls back. Returns the gateway that serves in the end.
fn roll(rig: &Rig, world: &World, mut old: Gateway) -> Gateway {
    world.more(40);
    works(&old, &old, "before");
    assert!(rig.store_version().contains("migrates the store"), "{}", rig.store_version());

    let mut new = rig.start(world, Side::New);
    assert!(rig.store_version().contains("uses the store as it is"), "{}", rig.store_version());
    lists_the_old_one(&new);
    world.more(40);
    cut(&rig.store, "Old");
    world.more(20);
    cut(&rig.store, "New");
    cut_at_random(&rig.store, world);
    works(&old, &new, "both");
    works(&new, &old, "back");
    world.more(40);
    let took = [crosses(&old, &new, "forth"), crosses(&new, &old, "and-back")];
    let garbled = [&old, &new].map(|gateway| gateway.metric("seawall_bus_messages_garbled_total"));
    println!("between the programs: {took:?}; bus messages that were not understood (old, new): {garbled:?}");

    rig.drain(world, Side::Old, &mut old);
    works(&new, &new, "after");
    world.more(40);
    rig.drain(world, Side::New, &mut new);
    let old = rig.start(world, Side::Old);
    cut_at_random(&rig.store, world);
    works(&old, &old, "rolled-back");
    world.more(40);
    assert!(rig.store_version().contains("uses the store as it is"), "{}", rig.store_version());
    old
}

#[test]
fn upgrade_and_roll_back_lose_and_double_nothing() {
    let Some(program) = previous::program() else { return };
    let rig = Rig { store: Postgres::start(), bus: Redis::start(), old: program };
    let world = World::default();
    let old = rig.start(&world, Side::Old);
    let (authors, followers) = thread::scope(|scope| {
        let _stop = StopOnDrop(&world);
        let world = &world;
        let pairs = || [Side::Old, Side::New].into_iter().flat_map(|side| [(side, 0), (side, 1)]);
        let followers: Vec<_> = pairs()
            .map(|(side, channel)| scope.spawn(move || Follower::new(side, channel).run(world)))
            .collect();
        until(SOON, "all followers are subscribed", || world.followers.load(Ordering::SeqCst) == 4);
        let authors: Vec<_> = pairs()
            .map(|(side, channel)| scope.spawn(move || Author::new(side, CHANNELS[channel]).run(world)))
            .collect();
        let last = roll(&rig, world, old);
        world.done.store(true, Ordering::SeqCst);
        let authors: Vec<Author> =
            authors.into_iter().map(|author| author.join().expect("an author")).collect();
        for (channel, head) in CHANNELS.iter().zip(&world.heads) {
            let page =
                Client::connect(&last).ask(json!({"history": {"channel": channel, "limit": 1}}), "history");
            head.store(page["head"].as_u64().expect("a head"), Ordering::SeqCst);
        }
        let followers: Vec<Follower> =
            followers.into_iter().map(|follower| follower.join().expect("a follower")).collect();
        (authors, followers)
    });
    check(&authors, &followers);
    println!(
        "{} publications, {} moves, {} refused for a moment and repeated",
        world.stored.load(Ordering::SeqCst),
        world.moves.load(Ordering::SeqCst),
        world.refusals.load(Ordering::SeqCst)
    );
    // Each client of the old gateway moves, then all move back.
    assert!(world.moves.load(Ordering::SeqCst) >= 8);
}

/// Every follower got exactly what was acknowledged, at the acknowledged offsets.
fn check(authors: &[Author], followers: &[Follower]) {
    for follower in followers {
        let heard: BTreeMap<&str, u64> =
            follower.heard.iter().zip(1..).map(|(key, offset)| (key.as_str(), offset)).collect();
        assert_eq!(heard.len(), follower.heard.len(), "a publication is doubled");
        let acknowledged: BTreeMap<&str, u64> = authors
            .iter()
            .filter(|author| author.channel == CHANNELS[follower.channel])
            .flat_map(|author| author.stored.iter().map(|(key, offset)| (key.as_str(), *offset)))
            .collect();
        assert!(acknowledged.len() > 50, "{}", acknowledged.len());
        assert_eq!(heard, acknowledged, "what {:?} got and what was acknowledged differ", follower.side);
    }
}

#[test]
fn program_on_a_newer_schema_logs_it_once() {
    let store = Postgres::start();
    let setup = || Setup::new().env("SEAWALL_STORE_URL", &store.url());
    drop(setup().start());
    store.sql("UPDATE seawall.meta SET value = value + 1 WHERE name = 'schema'");
    let gateway = setup().start();
    cut(&store, "seawall");
    cut(&store, "seawall");
    until(SOON, "it is logged", || gateway.output().contains("store schema newer and compatible"));
    assert_eq!(
        gateway.output().matches("store schema newer and compatible").count(),
        1,
        "{}",
        gateway.output()
    );
    assert!(gateway.output().contains(&format!("found={} known={VERSION} oldest=3", VERSION + 1)));
}
