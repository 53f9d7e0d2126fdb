//! HAProxy and nginx in front of real gateways, with the files from docs/deploy; only the ports are replaced.

use crate::servers::Postgres;
use crate::servers::process::{Process, User, command, program};
use crate::support::wait::{LATE, left};
use crate::support::{Client, Gateway, SOON, Setup, Upgrade, until};
use rustix::process::{Pid, Signal, kill_process};
use seawall_fault::HeldPort;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    HaProxy,
    Nginx,
}

/// A running proxy; dropping it ends the process.
pub(super) struct Proxy {
    /// In the test's own process group, so that it ends with an aborted run.
    process: Process,
    pub(super) port: HeldPort,
    folder: TempDir,
}

impl Proxy {
    #[track_caller]
    pub(super) fn start(kind: Kind, gateways: [SocketAddr; 2]) -> Proxy {
        let (file, own, name) = match kind {
            Kind::HaProxy => ("haproxy.cfg", "127.0.0.1:9001", "haproxy"),
            Kind::Nginx => ("nginx.conf", "127.0.0.1:9000", "nginx"),
        };
        let program = program(name, &["/usr/sbin".into()], name);
        let port = HeldPort::loopback().expect("a port is free");
        let address = port.address();
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/deploy").join(file);
        let mut text = std::fs::read_to_string(&path).expect("the documented file");
        let ports = [(own, address), ("127.0.0.1:8080", gateways[0]), ("127.0.0.1:8090", gateways[1])];
        for (documented, here) in ports {
            assert!(text.contains(documented), "{documented} in {}", path.display());
            text = text.replace(documented, &here.to_string());
        }
        let folder = tempfile::tempdir().expect("a folder");
        if kind == Kind::Nginx {
            // Folders that nginx creates although they are unused; the defaults need root.
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let lines = temporary.map(|of| format!("{of}_temp_path {}/{of};", folder.path().display()));
            text = text.replace("access_log off;", &format!("access_log off; {}", lines.join(" ")));
        }
        let configuration = folder.path().join(file);
        std::fs::write(&configuration, text).expect("written");
        let mut command = command(&program, User::Own);
        match kind {
            Kind::HaProxy => command.arg("-db").arg("-f").arg(&configuration),
            Kind::Nginx => {
                let here = folder.path().display();
                let apart = format!("daemon off; pid {here}/pid; error_log {here}/error.log info;");
                command.arg("-p").arg(folder.path()).arg("-c").arg(&configuration).args(["-g", &apart])
            }
        };
        let process = Process::start(name, command, &folder.path().join("log"));
        let proxy = Proxy { process, port, folder };
        until(SOON, "the proxy reaches a gateway", || Client::try_open(address, &Upgrade::default()).is_ok());
        proxy
    }
}

pub(super) fn setup(kind: Kind, server: &Postgres) -> Setup {
    let protocol = if kind == Kind::HaProxy { "required" } else { "off" };
    Setup::new()
        .env("SEAWALL_STORE_URL", &server.url())
        .with_slow_store()
        .env("SEAWALL_SERVER_TRUSTED_PROXIES", "127.0.0.0/8")
        .env("SEAWALL_SERVER_PROXY_PROTOCOL", protocol)
        .limit("connections_per_address", 1)
        // Newcomers come one after the other for seconds. At the rate that a debug build measures on a busy machine, some would be
        // sent a time to return at.
        .limit("admissions_per_s", 10_000)
        // HAProxy's health check takes two polls, a second apart, and a busy machine more.
        .drain("accept", 9_000)
        .drain("spread", 1_000)
        .drain("close", 12_000)
        .drain("exit", 25_000)
        .with_admin()
}

fn gateway(kind: Kind, server: &Postgres) -> Gateway {
    setup(kind, server).start()
}

/// A client with its own address.
pub(super) fn from(number: u16) -> Upgrade {
    let [high, low] = number.to_be_bytes();
    Upgrade::default().from(Ipv4Addr::new(127, 9, high, low))
}

/// The name of the instance that serves a client.
pub(super) fn instance(client: &Client) -> String {
    client.connected["instance"].as_str().expect("a name").to_owned()
}

fn connect(proxy: &Proxy, number: u16) -> Client {
    Client::open_with(proxy.port.address(), &from(number)).with_connect(json!({}))
}

fn chat_passes_and_a_gateway_drains(kind: Kind) {
    let server = Postgres::start();
    let (mut one, two) = (gateway(kind, &server), gateway(kind, &server));
    let proxy = Proxy::start(kind, [one.address, two.address]);

    // Publications pass, and each client has its own address: each gateway allows one connection for each address.
    let mut clients: Vec<Client> = (1..=6).map(|number| connect(&proxy, number)).collect();
    let names: BTreeSet<String> = clients.iter().map(instance).collect();
    assert_eq!(names.len(), 2, "both gateways have clients: {names:?}");
    for client in &mut clients {
        client.publish("c", json!("hello"));
    }
    let again: Vec<_> = (0..2).map(|_| Client::try_open(proxy.port.address(), &from(1))).collect();
    assert!(
        again.iter().any(Result::is_err),
        "two gateways accept two of three connections from one address"
    );
    let path = from(7).path("/metrics");
    assert!(Client::try_open(proxy.port.address(), &path).is_err(), "operators' paths are not forwarded");
    drop(again);

    // One gateway drains. Every connection from the signal on is accepted at the first attempt.
    let leaving = instance_of(&one);
    one.signal(Signal::TERM);
    let (began, mut number) = (Instant::now(), 1_000);
    while one.is_running() {
        let client = Client::try_open(proxy.port.address(), &from(number));
        let took = began.elapsed();
        client.unwrap_or_else(|error| panic!("newcomer {number}, {took:?} after the signal: {error}"));
        number += 1;
        assert!(took < 2 * SOON, "{LATE}: the gateway does not exit");
    }
    assert!(number > 1_020, "{LATE}: more newcomers than {}", number - 1_000);
    assert_ne!(instance(&connect(&proxy, 99)), leaving);
    // Clients of the draining gateway were sent `drain` through the proxy, and not disconnected.
    let moving = clients.iter_mut().filter(|client| instance(client) == leaving);
    assert!(moving.map(|client| client.next_push("drain")).count() > 0);
}

fn instance_of(gateway: &Gateway) -> String {
    let operator = crate::support::Operator::of(gateway);
    let health = operator.get("/health").json();
    health["instance"].as_str().expect("a name").to_owned()
}

#[test]
fn haproxy_forwards_addresses_by_proxy_protocol_and_avoids_a_draining_gateway() {
    chat_passes_and_a_gateway_drains(Kind::HaProxy);
}

#[test]
fn nginx_forwards_addresses_by_header_and_avoids_a_draining_gateway() {
    chat_passes_and_a_gateway_drains(Kind::Nginx);
}
