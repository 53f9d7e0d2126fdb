//! A test in a network namespace of its own, where it may drop packets and disturbs no other program.

use crate::servers::process::{is_root, program};
use crate::servers::skipped::skip;
use crate::support::wait::LATE;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Set in the process that runs in the namespace.
const INSIDE: &str = "SEAWALL_TEST_IN_NAMESPACE";
const SBIN: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Runs `body` in a network namespace with a loopback of its own, in a process of its own. Where that is not allowed, it says so on
/// stderr and the test passes.
#[track_caller]
pub fn inside(body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", "iproute2", "link set lo up");
        return body();
    }
    if !allowed() {
        return skip(
            "no direction is cut: network namespaces are not allowed here, or this user is not root",
        );
    }
    // Missing packages are named before anything starts.
    let _found = (tool("ip", "iproute2"), tool("nft", "nftables"));
    let name = std::thread::current().name().expect("a test has a name").to_owned();
    let ran = Command::new("unshare")
        .arg("--net")
        .arg("--")
        .arg(std::env::current_exe().expect("a test is a file"))
        .args(["--exact", &name, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts");
    let [said, faults] = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // Indented, because they are not the results of this run.
    said.lines().for_each(|line| println!("    {line}"));
    eprintln!("{faults}");
    let has_passed = ran.status.success() && said.contains("1 passed");
    // Its panics are the cause; this one is as late as they are.
    let late = if faults.contains(LATE) { LATE } else { "failed" };
    assert!(has_passed, "{late}: {name} in a namespace: {}", ran.status);
}

fn allowed() -> bool {
    let tried = Command::new("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
    is_root() && tried.is_ok_and(|status| status.success())
}

fn tool(name: &str, package: &str) -> PathBuf {
    program(name, &SBIN.map(PathBuf::from), package)
}

/// Runs a tool of the network with these words.
#[track_caller]
fn run(name: &str, package: &str, words: &str) {
    let ran = Command::new(tool(name, package)).args(words.split(' ')).output().expect("it runs");
    assert!(ran.status.success(), "{name} {words}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Rules of the namespace that drop packets. Only in [`inside`].
pub struct Cuts;

impl Cuts {
    /// Passes everything.
    pub fn none() -> Cuts {
        run("nft", "nftables", "add table inet cuts");
        run("nft", "nftables", "add chain inet cuts out { type filter hook output priority 0 ; }");
        Cuts
    }

    /// Drops what is sent to this address and port of loopback.
    pub fn requests(&self, address: &str, port: u16) {
        run("nft", "nftables", &format!("add rule inet cuts out ip daddr {address} tcp dport {port} drop"));
    }

    /// Drops what is sent from this address and port of loopback.
    pub fn answers(&self, address: &str, port: u16) {
        run("nft", "nftables", &format!("add rule inet cuts out ip saddr {address} tcp sport {port} drop"));
    }

    /// Passes everything again.
    pub fn heal(&self) {
        run("nft", "nftables", "flush chain inet cuts out");
    }
}
