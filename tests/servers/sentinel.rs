//! A Redis master with a replica, and the Sentinels that watch both.

use super::process::{self, Process, User};
use super::redis::{Redis, Reply, ask};
use super::wait::{SOON, until};
use seawall_fault::HeldPort;
use std::net::SocketAddr;
use tempfile::TempDir;

/// The name of the master.
pub const MASTER: &str = "chat";

/// One Sentinel.
pub struct Sentinel {
    process: Process,
    port: HeldPort,
    _folder: TempDir,
}

impl Sentinel {
    /// Starts a Sentinel that calls the server at `master` down after four seconds of silence: a busy machine is no failure.
    #[track_caller]
    fn start(master: SocketAddr, quorum: usize) -> Sentinel {
        let folder = tempfile::Builder::new().prefix("seawall-sentinel-").tempdir().expect("a folder");
        let port = HeldPort::loopback().expect("a free port");
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds {MASTER} 4000\nsentinel failover-timeout {MASTER} 4000\n",
            port.number(),
            folder.path().display(),
            master.port(),
        );
        std::fs::write(&file, text).expect("a file");
        let mut command = process::command(&process::program("redis-server", &[], "redis-server"), User::Own);
        command.arg(&file).arg("--sentinel");
        let mut process = Process::start("Sentinel", command, &folder.path().join("log"));
        let address = port.address();
        let answers = || ask(address, &["PING"]).is_ok_and(|reply| reply == Reply::Status("PONG".into()));
        process.until("it answers", answers);
        Sentinel { process, port, _folder: folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub fn sigstop(&self) {
        self.process.sigstop();
    }

    pub fn sigcont(&self) {
        self.process.sigcont();
    }

    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// A value of `SENTINEL MASTER`.
    fn value(&self, name: &str) -> Option<String> {
        let Ok(Reply::List(parts)) = ask(self.address(), &["SENTINEL", "MASTER", MASTER]) else {
            return None;
        };
        let texts: Vec<String> = parts
            .into_iter()
            .filter_map(|part| if let Reply::Text(text) = part { Some(text) } else { None })
            .collect();
        texts.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone())
    }

    /// The port of the master that it names.
    pub fn master_port(&self) -> Option<u16> {
        match ask(self.address(), &["SENTINEL", "get-master-addr-by-name", MASTER]) {
            Ok(Reply::List(parts)) => match parts.as_slice() {
                [_, Reply::Text(port)] => port.parse().ok(),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Two servers and three Sentinels, of which two decide.
pub struct Watched {
    pub servers: [Redis; 2],
    pub sentinels: [Sentinel; 3],
}

impl Watched {
    /// Starts all; the first server is the master. Returns when every Sentinel knows both servers and the others.
    #[track_caller]
    pub fn start() -> Watched {
        // Without it, a replica waits for others for five seconds before it is copied to.
        let server = || Redis::start_with(&[("repl-diskless-sync-delay", "0")]);
        let servers = [server(), server()];
        let master = servers[0].address();
        let port = master.port().to_string();
        assert!(servers[1].command(&["REPLICAOF", "127.0.0.1", &port]).is_ok());
        until(
            SOON,
            "the replica is connected",
            || matches!(servers[1].command(&["ROLE"]), Reply::List(parts) if parts.contains(&Reply::Text("connected".into()))),
        );
        let sentinels = std::array::from_fn(|_| Sentinel::start(master, 2));
        let knows = |sentinel: &Sentinel| {
            sentinel.value("num-slaves").as_deref() == Some("1")
                && sentinel.value("num-other-sentinels").as_deref() == Some("2")
        };
        until(SOON * 3, "each Sentinel knows all", || sentinels.iter().all(knows));
        Watched { servers, sentinels }
    }

    /// The URL of a master of this name.
    pub fn url_of(&self, master: &str) -> String {
        let all: Vec<String> = self.sentinels.iter().map(|each| each.address().to_string()).collect();
        format!("redis+sentinel://{}/{master}", all.join(","))
    }

    pub fn url(&self) -> String {
        self.url_of(MASTER)
    }
}
