//! Connections that are spread over the instances again, through a load balancer that follows hints.

use crate::cluster::rig::{Rig, cluster, settled};
use crate::servers::process::{Process, User, command, program};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, Operator, Upgrade};
use seawall_fault::HeldPort;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Connections of an instance if all have the same number.
const MEAN: usize = 200;
/// All instances are within a tenth of the mean after this time: about a minute on a quiet machine. While turns are slow, no client is asked.
const EVEN: Duration = Duration::from_secs(300);
/// The time between two looks at the clients of a thread: each costs several system calls for each client.
const LOOK: Duration = Duration::from_millis(100);

/// HAProxy that chooses at random, except where a client asks for an instance.
struct Balancer {
    _process: Process,
    port: HeldPort,
    _folder: TempDir,
}

impl Balancer {
    fn before(gateways: &[Gateway]) -> Balancer {
        let port = HeldPort::loopback().expect("a free port");
        let servers: String = (1..)
            .zip(gateways)
            .map(|(number, gateway)| {
                let address = gateway.address;
                format!(
                    "    use-server gw-{number} if {{ url_param(to) -m str gw-{number} }}\n    server gw-{number} {address}\n"
                )
            })
            .collect();
        let text = format!(
            "global\n    maxconn 8000\ndefaults\n    mode http\n    timeout connect 2s\n    timeout client 75s\n    timeout server 75s\n    \
             timeout tunnel 75s\nfrontend chat\n    bind {}\n    default_backend gateways\nbackend gateways\n    balance random(1)\n{servers}",
            port.address()
        );
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, text).expect("written");
        let mut run = command(&program("haproxy", &["/usr/sbin".into()], "haproxy"), User::Own);
        run.arg("-db").arg("-f").arg(&file);
        let process = Process::start("haproxy", run, &folder.path().join("log"));
        let address = port.address();
        until(SOON, "the balancer reaches a gateway", || {
            Client::try_open(address, &Upgrade::default()).is_ok()
        });
        Balancer { _process: process, port, _folder: folder }
    }
}

/// A client that moves when it is asked to, as the client library does.
struct Mover {
    client: Client,
    /// The epoch of the channel, if it is subscribed to, and the offsets that arrived.
    epoch: Option<Value>,
    offsets: Vec<u64>,
    due: Option<(Instant, String)>,
}

impl Mover {
    fn at(gateway: SocketAddr) -> Mover {
        let client = Client::open_with(gateway, &Upgrade::default()).with_connect(json!({}));
        Mover { client, epoch: None, offsets: Vec::new(), due: None }
    }

    fn subscribed(mut self) -> Mover {
        self.epoch = Some(self.client.subscribe("c")["epoch"].clone());
        self
    }

    fn look(&mut self, balancer: SocketAddr, over: &Receiver<()>) {
        if !self.client.is_open() {
            // The gateways end when the test has failed.
            if over.recv_timeout(Duration::from_secs(5)) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            let closed = self.client.expect_close();
            panic!("a connection was closed: {} {}", closed.code, closed.reason);
        }
        self.read();
        if let Some(drain) = self.client.next_push_within("drain", Duration::ZERO) {
            assert_eq!(drain["reason"], "rebalance");
            let slot = Duration::from_millis(drain["slot_ms"].as_u64().expect("a time"));
            self.due = Some((Instant::now() + slot, drain["to"].as_str().expect("an instance").into()));
        }
        if let Some((_, to)) = self.due.take_if(|(at, _)| *at <= Instant::now()) {
            let upgrade = Upgrade::default().path(&format!("/ws?to={to}"));
            let last = self.offsets.last().copied().unwrap_or(0);
            let recover: Vec<Value> = self
                .epoch
                .iter()
                .map(|epoch| json!({"channel": "c", "epoch": epoch, "offset": last}))
                .collect();
            let next = Client::open_with(balancer, &upgrade).with_connect(json!({"recover": recover}));
            assert_eq!(next.connected["instance"], to, "the hint is followed");
            std::mem::replace(&mut self.client, next).close();
        }
    }

    fn read(&mut self) {
        while let Some(push) = self.client.next_push_within("publication", Duration::ZERO) {
            self.offsets.push(push["offset"].as_u64().expect("an offset"));
        }
    }
}

/// Runs clients until the other end of the channel is gone, and returns them.
fn run(mut movers: Vec<Mover>, balancer: SocketAddr, over: &Receiver<()>) -> Vec<Mover> {
    while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        movers.iter_mut().for_each(|mover| mover.look(balancer, over));
    }
    movers
}

fn connections(gateway: &Gateway) -> usize {
    gateway.metric("seawall_connections") as usize
}

#[test]
fn five_instances_are_even_again_without_a_close_or_a_loss() {
    let rig = Rig::start();
    let gateways: Vec<Gateway> = (1..=5)
        .map(|number| {
            let setup = rig.setup(&format!("gw-{number}")).unlimited().with_slow_store();
            // A thread looks after hundreds of clients, which answer pings late on a busy machine.
            setup.limit("pong_ms", 60_000).env("SEAWALL_CLUSTER_REBALANCE", "auto").start()
        })
        .collect();
    settled(&gateways.iter().collect::<Vec<_>>());
    let balancer = Balancer::before(&gateways);
    let address = balancer.port.address();
    // All clients are at the first four, as if the last one had just restarted. One of twenty subscribes.
    let many = MEAN * gateways.len() / 4;
    let threads: Vec<_> = gateways[..4]
        .iter()
        .map(|gateway| {
            let mover = |index: usize| {
                let mover = Mover::at(gateway.address);
                if index.is_multiple_of(20) { mover.subscribed() } else { mover }
            };
            let movers: Vec<Mover> = (0..many).map(mover).collect();
            let (alive, over) = sync_channel(0);
            (alive, std::thread::spawn(move || run(movers, address, &over)))
        })
        .collect();
    let mut publisher = Client::connect(&gateways[0]);
    let begun = Instant::now();
    until(EVEN, "all instances are within a tenth of the mean", || {
        publisher.publish("c", json!("x"));
        let fair = (MEAN * 9 / 10)..=(MEAN * 11 / 10);
        gateways.iter().all(|gateway| fair.contains(&connections(gateway)))
    });
    println!("even after {:?}", begun.elapsed());
    let published = publisher.publish("c", json!("last"));
    let mut movers = Vec::new();
    for (alive, thread) in threads {
        drop(alive);
        movers.extend(thread.join().expect("no connection was closed"));
    }
    for mover in movers.iter_mut().filter(|mover| mover.epoch.is_some()) {
        until(SOON, "the last publication has arrived", || {
            mover.read();
            mover.offsets.last() == Some(&published)
        });
        assert_eq!(mover.offsets, (1..=published).collect::<Vec<_>>(), "each once, in order");
    }
    let sum = |series: &str| gateways.iter().map(|gateway| gateway.metrics()[series]).sum::<f64>();
    // A move is counted where the client came, and then where it left.
    until(SOON, "the last moves are counted", || {
        sum("seawall_returns_total{to=\"hinted\"}") == sum("seawall_rebalance_moves_total{outcome=\"moved\"}")
    });
    let moved = sum("seawall_rebalance_moves_total{outcome=\"moved\"}");
    assert!(moved >= (MEAN * 9 / 10) as f64 && moved <= (MEAN * 3 / 2) as f64, "{moved} moved");
    assert_eq!(sum("seawall_rebalance_moves_total{outcome=\"returned\"}"), 0.0);
    for code in ["1012", "1013", "4408"] {
        assert_eq!(sum(&format!("seawall_closes_total{{code=\"{code}\"}}")), 0.0, "no close with {code}");
    }
}

#[test]
fn order_at_an_empty_instance_makes_the_full_one_ask_its_clients() {
    let rig = Rig::start();
    let gateways = rig.gateways(["gw-1", "gw-2"]);
    let [full, empty] = &gateways;
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(full)).collect();
    until(SOON * 6, "the load is known", || cluster(empty)["totals"]["connections"] == 40);
    let address = Operator::of(empty).address.to_string();
    let run = |arguments: &[&str]| {
        let ran = empty.setup().run_with(arguments, &[("SEAWALL_ADMIN_LISTEN", &address)]);
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    let said = run(&["rebalance", "--within", "20", "--dry-run"]);
    assert!(said.contains("gw-1  40 connections, asks ") && said.contains(" to gw-2; then "), "{said}");
    assert!(
        said.contains("gw-2  0 connections, asks none; then ") && said.contains("20 % of the mean of 20"),
        "{said}"
    );
    let ordered = |gateway| cluster(gateway)["instances"][1]["rebalance"]["ordered_s"].clone();
    assert_eq!(ordered(empty), 0, "a dry run orders nothing");
    let said = run(&["rebalance"]);
    assert!(said.contains("10 % over the mean"), "{said}");
    let mut drain = None;
    until(SOON * 6, "a client is asked", || {
        drain = clients.iter_mut().find_map(|client| client.next_push_within("drain", Duration::ZERO));
        drain.is_some()
    });
    let drain = drain.expect("just seen");
    assert_eq!((&drain["reason"], &drain["to"]), (&json!("rebalance"), &json!("gw-2")));
    assert!(clients.iter_mut().all(Client::is_open), "none is closed");
    until(SOON, "it says that it moves clients", || {
        let states = cluster(full);
        let mut instances = states["instances"].as_array().expect("a list").iter();
        instances.any(|one| one["name"] == "gw-1" && one["rebalance"]["state"] == "moving")
    });
}
