//! The two output streams: what machines read is JSON to the last line, and a stream without a reader stops nothing.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use tempfile::TempDir;

/// A gateway started without the usual support, which reads the banner.
fn start(data: &TempDir, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_seawall"))
        .current_dir(data.path())
        .args(["--listen", "127.0.0.1:0", "--reactors", "1"])
        .args(arguments)
        .env("SEAWALL_ADMIN_LISTEN", "off")
        .env("SEAWALL_DRAIN_ACCEPT_MS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway starts")
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
}

/// Reads lines up to the one that contains `word`.
fn until(lines: &mut impl Iterator<Item = std::io::Result<String>>, word: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for line in lines {
        let line = line.expect("a line");
        let last = line.contains(word);
        seen.push(line);
        if last {
            return seen;
        }
    }
    panic!("no line with {word}: {seen:#?}");
}

fn lines(child: &mut Child) -> std::io::Lines<BufReader<ChildStderr>> {
    BufReader::new(child.stderr.take().expect("a pipe")).lines()
}

#[test]
fn json_log_leaves_stdout_empty_and_every_line_parses() {
    let data = tempfile::tempdir().expect("a folder");
    let mut gateway = start(&data, &["--log-format", "json"]);
    let mut log = lines(&mut gateway);
    let mut written = until(&mut log, "\"serving\"");
    terminate(&gateway);
    written.extend(log.map(|line| line.expect("a line")));
    let mut out = String::new();
    gateway.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
    assert!(gateway.wait().expect("it ends").success());
    assert_eq!(out, "");
    let events: Vec<Value> =
        written.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let serving = events.iter().find(|event| event["message"] == "serving").expect("the line");
    for field in ["address", "store", "auth", "admin", "connections"] {
        assert!(!serving[field].is_null(), "no {field} in {serving}");
    }
}

#[test]
fn failed_start_with_a_json_log_is_one_json_line() {
    let data = tempfile::tempdir().expect("a folder");
    std::fs::write(data.path().join("file"), "").expect("a file");
    let gateway = start(&data, &["--log-format", "json", "--data", "file/data"]);
    let output = gateway.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("text");
    let event: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!((&event["level"], &event["message"]), (&"ERROR".into(), &"gateway failed".into()));
    assert!(event["cause"].as_str().expect("a cause").contains("file/data"), "{event}");
}

#[test]
fn gateway_serves_when_the_reader_of_stdout_is_gone() {
    let data = tempfile::tempdir().expect("a folder");
    let mut gateway = start(&data, &[]);
    drop(gateway.stdout.take());
    let mut log = lines(&mut gateway);
    let serving = until(&mut log, " serving ").pop().expect("a line");
    let address =
        serving.split("address=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
    TcpStream::connect(address).expect("it accepts");
    terminate(&gateway);
    assert!(gateway.wait().expect("it ends").success());
}

#[test]
fn files_are_for_their_owner_even_in_a_folder_that_others_may_enter() {
    let data = tempfile::tempdir().expect("a folder");
    let store = data.path().join("data");
    std::fs::create_dir(&store).expect("a folder");
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let mut gateway = start(&data, &[]);
    let mut log = lines(&mut gateway);
    let warned = until(&mut log, " serving ");
    assert!(!warned.iter().any(|line| line.contains("open to other users")), "{warned:#?}");
    let files: Vec<_> =
        std::fs::read_dir(&store).expect("a folder").map(|file| file.expect("a file")).collect();
    assert!(files.len() > 1);
    for file in &files {
        let mode = file.metadata().expect("a mode").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} {mode:o}", file.path());
    }
    terminate(&gateway);
    assert!(gateway.wait().expect("it ends").success());
    let database = store.join("seawall.db");
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let mut gateway = start(&data, &[]);
    let warned = until(&mut lines(&mut gateway), " serving ");
    assert!(warned.iter().any(|line| line.contains("store open to other users")), "{warned:#?}");
    terminate(&gateway);
    assert!(gateway.wait().expect("it ends").success());
}
