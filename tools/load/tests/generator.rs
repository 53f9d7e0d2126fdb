//! Runs modes against a gateway, with small numbers: what they report is checked, and no time is judged.
//!
//! The gateway is the one that was built with this program, or the one in `SEAWALL_TEST_BINARY`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic")]

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_seawall-load");
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAA";
/// The limits that a generator needs off, or higher: after a stall of the machine, many publications wait for their replies.
const LIMITS: [(&str, &str); 3] = [
    ("SEAWALL_LIMITS_PUBLISHES_PER_S", "0"),
    ("SEAWALL_LIMITS_COMMANDS_PER_S", "0"),
    ("SEAWALL_LIMITS_PENDING", "8192"),
];

/// A gateway with a route, and the address that its backend is to have.
struct Gateway {
    child: Child,
    target: String,
    backend: SocketAddr,
    /// Keeps the port for the backend: it is bound, and nothing listens at it.
    _port: Socket,
    _folder: TempDir,
}

impl Gateway {
    fn start(pattern: &str, members: &str) -> Gateway {
        let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        port.set_reuse_address(true).unwrap();
        port.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let backend = port.local_addr().unwrap().as_socket().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("gateway.toml");
        let route = format!(
            "[[relay]]\nname = \"load\"\npattern = \"{pattern}\"\nurl = \"http://{backend}/\"\nsecrets = [\"{SECRET}\"]\n\
             user = \"backend\"\ntimeout_ms = 60000\n{members}\n"
        );
        std::fs::write(&config, route).unwrap();
        let program = program();
        let mut command = Command::new(&program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SEAWALL_")) {
            command.env_remove(name);
        }
        command.args(["--listen", "127.0.0.1:0", "--reactors", "1", "--log-level", "error", "--data"]);
        command
            .arg(folder.path().join("data"))
            .arg("--config")
            .arg(&config)
            .envs(LIMITS)
            .stdin(Stdio::null());
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{}: {error}; build it with: cargo build --workspace --bin seawall", program.display())
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let target = lines.find_map(|line| {
            let line = line.unwrap();
            let from = line.find("ws://")?;
            line[from..].split_whitespace().next().map(str::to_owned)
        });
        // A gateway whose output is not read would wait.
        std::thread::spawn(move || lines.for_each(drop));
        Gateway {
            child,
            target: target.expect("it prints its address"),
            backend,
            _port: port,
            _folder: folder,
        }
    }

    /// Runs a mode. Returns its report, and true if everything was as expected.
    fn run(&self, arguments: &str) -> (Value, bool) {
        let mut command = Command::new(PROGRAM);
        command.args(["--target", &self.target, "--patience", "120", "--warmup", "0.1", "--duration", "0.5"]);
        command.args(arguments.split(' ')).args(["--backend", &self.backend.to_string()]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let report = serde_json::from_slice(&output.stdout);
        (report.unwrap_or_else(|_| panic!("{output:?}")), output.status.success())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program of the gateway, in the folder of this one.
fn program() -> PathBuf {
    match std::env::var_os("SEAWALL_TEST_BINARY") {
        Some(path) => path.into(),
        None => PathBuf::from(PROGRAM).with_file_name("seawall"),
    }
}

#[test]
fn each_question_reaches_a_backend_once() {
    let gateway = Gateway::start("load-*", "answers = false");
    let (report, is_clean) = gateway.run("relay --channels 5 --publishers 2 --depth 2");
    assert!(is_clean, "{report}");
    assert!(report["all"].as_u64() >= Some(5 + 2 * 5), "{report}");
    assert!(report.get("publish_to_end_us").is_none(), "{report}");
}

#[test]
fn questions_at_a_rate_are_answered_with_a_word_that_readers_get() {
    let gateway = Gateway::start("load-*", "answers = true");
    let (report, is_clean) = gateway.run("relay --channels 3 --publishers 1 --rate 30 --answers");
    assert!(is_clean, "{report}");
    // The first ones, and those of 0.6 s; at the end of the window it may be late.
    assert!(report["all"].as_u64() > Some(3), "{report}");
    assert!(report.get("publish_to_text_us").is_some_and(Value::is_object), "{report}");
}

#[test]
fn mode_that_does_not_fit_the_route_says_so() {
    let gateway = Gateway::start("load-*", "answers = true");
    let (report, is_clean) = gateway.run("relay --channels 2 --publishers 1");
    let first = report["errors"]["answers"]["first"].as_str().unwrap_or_default();
    assert!(!is_clean && first.contains("answers = false"), "{report}");
}

#[test]
fn slices_with_a_slow_backend_and_without_alternate() {
    let gateway = Gateway::start("ask-*", "answers = false");
    let (report, is_clean) = gateway.run("slow-backend --pairs 2 --channels 3 --rate 50 --asked 4 --asks 10");
    assert!(is_clean, "{report}");
    assert_eq!(report["commit_ratios"]["p99"].as_array().map(Vec::len), Some(2), "{report}");
    // The first ones, and those at the begin of each of two slices.
    assert!(report["questions"].as_u64() >= Some(4 + 2 * 4), "{report}");
}
