//! The protocol of sd_notify(3), between the gateway and a real socket.

use crate::support::wait::{LATE, left, resumed};
use crate::support::{Client, Gateway, SOON, Setup};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The supervisor's end of the socket.
struct Supervisor {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Supervisor {
    fn new() -> Supervisor {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
        Supervisor { socket, folder }
    }

    fn start(&self, setup: Setup) -> Gateway {
        let path = self.folder.path().join("notify");
        setup.env("NOTIFY_SOCKET", path.to_str().expect("text")).start()
    }

    /// The lines of the next message, or `None` if none arrives in time.
    fn next(&self, within: Duration) -> Option<Vec<String>> {
        let mut buffer = [0; 4_096];
        let deadline = Instant::now() + within;
        let length = resumed(|| {
            self.socket.set_read_timeout(Some(left(deadline)))?;
            self.socket.recv(&mut buffer)
        });
        let length = length.ok()?;
        let text = std::str::from_utf8(&buffer[..length]).expect("text");
        Some(text.lines().map(str::to_owned).collect())
    }

    /// Waits for a line with this prefix.
    #[track_caller]
    fn until(&self, start: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut heard = Vec::new();
        while let Some(lines) = self.next(left(deadline)) {
            if let Some(line) = lines.iter().find(|line| line.starts_with(start)) {
                return line.clone();
            }
            heard.extend(lines);
        }
        panic!("{LATE}: {start} among {heard:?}");
    }
}

#[test]
fn supervisor_is_notified_of_start_status_reload_and_stop() {
    let supervisor = Supervisor::new();
    let mut gateway = supervisor.start(Setup::new());
    supervisor.until("READY=1");
    supervisor.until("STATUS=serving; 0 connections; health ok");
    let client = Client::connect(&gateway);
    supervisor.until("STATUS=serving; 1 connection; health ok");
    gateway.signal(Signal::HUP);
    let since = supervisor.until("RELOADING=1");
    assert_eq!(since, "RELOADING=1");
    supervisor.until("READY=1");
    drop(client);
    let (code, _) = gateway.ends_after(Signal::TERM);
    assert_eq!(code, Some(0));
    supervisor.until("STOPPING=1");
}

#[test]
fn reload_reports_its_start_on_the_monotonic_clock() {
    let supervisor = Supervisor::new();
    let gateway = supervisor.start(Setup::new());
    supervisor.until("READY=1");
    let monotonic_us = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
    };
    let before = monotonic_us();
    gateway.signal(Signal::HUP);
    let line = supervisor.until("MONOTONIC_USEC=");
    let said: i64 = line["MONOTONIC_USEC=".len()..].parse().expect("a number");
    assert!((before..=monotonic_us()).contains(&said), "{before} {said}");
}

/// Begins the status of a gateway with a reactor that hangs.
const NO_TURN: &str = "STATUS=reactor 1 made no turn for";

/// Ten times as long as systemd would wait.
const SILENCE: Duration = Duration::from_secs(6);

/// A thread of the gateway that is stopped while this exists. Only ptrace(2) can stop a single thread.
pub struct Held(Child);

impl Held {
    #[track_caller]
    pub fn thread(gateway: &Gateway, name: &str) -> Held {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("it runs");
        let task = tasks
            .map(|task| task.expect("it runs").path())
            .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
            .unwrap_or_else(|| panic!("no thread {name}"));
        let id = task.file_name().and_then(|name| name.to_str()).expect("a number").to_owned();
        let script = "import ctypes, os, sys\n\
            libc = ctypes.CDLL(None, use_errno=True)\n\
            libc.ptrace.argtypes = [ctypes.c_long] * 4\n\
            for request in (0x4206, 0x4207):\n\
            \x20   if libc.ptrace(request, int(sys.argv[1]), 0, 0):\n\
            \x20       sys.exit('ptrace: ' + os.strerror(ctypes.get_errno()) + '; it takes root, or kernel.yama.ptrace_scope=0')\n\
            print('held', flush=True)\n\
            sys.stdin.read()\n";
        let mut child = Command::new("python3")
            .args(["-c", script, &id])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line of output");
        assert_eq!(line, "held\n");
        Held(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A thread continues when its tracer ends.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watchdog_is_fed_only_while_every_reactor_turns() {
    let supervisor = Supervisor::new();
    let setup = Setup::new().arguments(&["--reactors", "2"]).env("WATCHDOG_USEC", "600000");
    let gateway = supervisor.start(setup);
    for _ in 0..3 {
        supervisor.until("WATCHDOG=1");
    }
    let held = Held::thread(&gateway, "reactor-1");
    supervisor.until(NO_TURN);
    // No WATCHDOG=1 may arrive while the thread is stopped; this waits ten times as long as systemd would. On a busy machine, the thread
    // may have made no turn before as well: then a report says that it serves again, and the next one is about the stop.
    let mut is_reported = true;
    let mut deadline = Instant::now() + SILENCE;
    while let Some(lines) = supervisor.next(left(deadline)) {
        for line in &lines {
            if line.starts_with("STATUS=serving") {
                is_reported = false;
                deadline = Instant::now() + SOON;
            } else if line.starts_with(NO_TURN) && !is_reported {
                is_reported = true;
                deadline = Instant::now() + SILENCE;
            }
            assert!(line != "WATCHDOG=1" || !is_reported, "{lines:?}");
        }
    }
    assert!(is_reported, "{LATE}: {NO_TURN}");
    drop(held);
    supervisor.until("STATUS=serving");
    supervisor.until("WATCHDOG=1");
}
