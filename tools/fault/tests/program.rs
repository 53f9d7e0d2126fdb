//! Tests the program: its orders, schedules and exits.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_seawall-fault");

struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Running {
    fn start(to: SocketAddr, arguments: &[&str]) -> Running {
        let mut command = Command::new(PROGRAM);
        command.args(["--to", &to.to_string()]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let address = first.strip_prefix("listening on ").unwrap().trim().parse().unwrap();
        Running { child, lines, address }
    }

    fn order(&mut self, line: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn orders_are_executed_and_counters_printed_at_the_end() {
    let (listener, to) = server();
    let mut proxy = Running::start(to, &[]);
    let mut client = TcpStream::connect(proxy.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut served, _) = listener.accept().unwrap();
    served.write_all(b"hi").unwrap();
    client.read_exact(&mut [0; 2]).unwrap();
    assert!(proxy.order("refuse").ends_with(" refuse"));
    assert_eq!(TcpStream::connect(proxy.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(proxy.order("stats").contains("accepted=1 open=1 "));
    assert!(proxy.order("reset now").ends_with(" reset now"));
    assert_eq!(client.read_exact(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(proxy.order("quit").contains("reset=1 "));
    assert!(proxy.child.wait().unwrap().success());
}

#[test]
fn schedule_runs_to_its_end() {
    let (_listener, to) = server();
    let file = std::env::temp_dir().join(format!("seawall-fault-{}", std::process::id()));
    std::fs::write(&file, "20 stall # silent\n20 pass\n").unwrap();
    let mut proxy = Running::start(to, &["--schedule", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
    drop(proxy.child.stdin.take());
    let stalled = proxy.line();
    assert!(stalled.ends_with(" stall"), "{stalled}");
    assert!(stalled.split(' ').next().unwrap().parse::<u64>().unwrap() >= 20);
    assert!(proxy.line().ends_with(" pass"));
    assert!(proxy.line().starts_with("accepted=0 "));
    assert!(proxy.child.wait().unwrap().success());
}

#[test]
fn print_writes_the_schedule_of_a_seed() {
    let print = |seed| run(&["--to", "127.0.0.1:1", "--seed", seed, "--faults", "9", "--print"]);
    let (one, again, other) = (print("1"), print("1"), print("2"));
    assert!(one.status.success());
    assert_eq!(one.stdout, again.stdout);
    assert_ne!(one.stdout, other.stdout);
    assert_eq!(String::from_utf8(one.stdout).unwrap().lines().count(), 18);
}

#[test]
fn wrong_arguments_exit_with_2_and_say_what_to_write() {
    let output = run(&["--to", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("write HOST:PORT"));
    assert_eq!(run(&["--to", "127.0.0.1:1", "--schedule", "/nonexistent/file"]).status.code(), Some(2));
}

#[test]
fn help_lists_every_order() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for order in ["reset-once", "half-open", "black-hole", "garble", "cut now", "quit"] {
        assert!(help.contains(&format!("\n{order} ")), "{order}: {help}");
    }
}
