//! The two output streams: what machines read is JSON to the last line, and a stream without a reader stops nothing.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use tempfile::TempDir;

/// A gateway without the usual support, which reads the banner.
fn command(data: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command
        .current_dir(data.path())
        .args(["--listen", "127.0.0.1:0", "--reactors", "1"])
        .args(arguments)
        .env("SEAWALL_ADMIN_LISTEN", "off")
        .env("SEAWALL_DRAIN_ACCEPT_MS", "0")
        .stdin(Stdio::null());
    command
}

fn start(data: &TempDir, arguments: &[&str]) -> Child {
    command(data, arguments)
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
fn wrong_configuration_with_a_json_log_is_one_json_line_for_each_error() {
    let data = tempfile::tempdir().expect("a folder");
    let file = data.path().join("seawall.toml");
    std::fs::write(&file, "[log]\nformat = \"json\"\n[limits]\nfrane_bytes = 1\nchannels = -1\n")
        .expect("a file");
    let output = start(&data, &[]).wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let text = String::from_utf8(output.stderr).expect("text");
    let events: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    assert_eq!(events.len(), 2, "{text}");
    for (event, part) in events.iter().zip(["frane_bytes", "limits.channels"]) {
        assert_eq!((&event["level"], &event["message"]), (&"ERROR".into(), &"configuration rejected".into()));
        assert!(event["cause"].as_str().expect("a cause").contains(part), "{event}");
    }
}

/// The message and the fields of a line for people, read as logfmt.
fn parse(line: &str) -> (String, Vec<(String, String)>) {
    let (_time, rest) = line.split_once(' ').expect("a time");
    let (_level, mut rest) = rest.trim_start().split_once(' ').expect("a level");
    let (mut message, mut fields) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let Some(value) = behind.strip_prefix('=') else {
            assert!(fields.is_empty(), "{word:?} behind the fields of {line}");
            message.push(word);
            rest = behind.trim_start();
            continue;
        };
        let length = match value.strip_prefix('"') {
            Some(text) => {
                let escaped = |at: usize| {
                    text.as_bytes()[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2
                };
                let end = text.match_indices('"').map(|(at, _)| at).find(|at| escaped(*at) == 0);
                end.unwrap_or_else(|| panic!("no end of {word} in {line}")) + 2
            }
            None => value.find(' ').unwrap_or(value.len()),
        };
        let (value, behind) = value.split_at(length);
        assert!(behind.is_empty() || behind.starts_with(' '), "{behind:?} behind {word} in {line}");
        fields.push((word.to_owned(), value.trim_matches('"').to_owned()));
        rest = behind.trim_start();
    }
    (message.join(" "), fields)
}

const DEPENDENCY: &str = "[[dependency]]\nname = \"mail\"\nkind = \"http\"\nurl = \"http://127.0.0.1:1/\"\ncriticality = \"optional\"\n";

#[test]
fn every_line_of_a_text_log_is_a_message_and_fields_over_start_outage_and_stop() {
    let data = tempfile::tempdir().expect("a folder");
    std::fs::write(data.path().join("seawall.toml"), DEPENDENCY).expect("a file");
    let mut gateway = start(&data, &[]);
    let mut log = lines(&mut gateway);
    let mut written = until(&mut log, "dependency down");
    // Before it serves, a signal ends it at once.
    if !written.iter().any(|line| line.contains(" serving ")) {
        written.extend(until(&mut log, " serving "));
    }
    terminate(&gateway);
    written.extend(log.map(|line| line.expect("a line")));
    assert!(gateway.wait().expect("it ends").success());
    let parsed: Vec<_> = written.iter().map(|line| parse(line)).collect();
    let down = parsed.iter().position(|(message, _)| message == "dependency down").expect("an outage");
    assert!(written[down].contains(" WARN "), "an optional dependency is no error: {}", written[down]);
    let cause = parsed[down].1.iter().find(|(name, _)| name == "cause").expect("a cause");
    assert!(cause.1.contains("refuses the connection"), "{cause:?}");
    for message in ["serving", "drain started", "stopped"] {
        assert!(parsed.iter().any(|(found, _)| found == message), "no {message} in {written:#?}");
    }
}

#[test]
fn line_for_the_journal_begins_with_its_priority() {
    let data = tempfile::tempdir().expect("a folder");
    std::fs::write(data.path().join("seawall.toml"), DEPENDENCY).expect("a file");
    let path = data.path().join("log");
    let log = std::fs::File::create(&path).expect("a file");
    let stat = rustix::fs::fstat(&log).expect("a status");
    let mut gateway = command(&data, &[])
        .env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the gateway starts");
    let written = || std::fs::read_to_string(&path).expect("text");
    // Before it serves, a signal ends it at once.
    crate::support::until(crate::support::SOON, "it serves, and the outage is logged", || {
        written().contains("dependency down") && written().contains("serving")
    });
    terminate(&gateway);
    assert!(gateway.wait().expect("it ends").success());
    for line in written().lines() {
        // A busy machine may cause warnings of its own.
        let expected: &[&str] = match line {
            _ if line.contains("dependency down") => &["<4>"],
            _ if line.contains("serving") => &["<6>"],
            _ => &["<4>", "<6>"],
        };
        assert!(expected.iter().any(|start| line.starts_with(start)), "{line}");
    }
}

#[test]
fn interrupt_without_clients_ends_at_once() {
    let data = tempfile::tempdir().expect("a folder");
    // Load balancers need it.
    let mut gateway = command(&data, &[])
        .env("SEAWALL_DRAIN_ACCEPT_MS", "90000")
        .env("SEAWALL_DRAIN_CLOSE_MS", "120000")
        .env("SEAWALL_DRAIN_EXIT_MS", "125000")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway starts");
    let mut log = lines(&mut gateway);
    until(&mut log, " serving ");
    let pid = rustix::process::Pid::from_child(&gateway);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    let stopped = until(&mut log, " stopped ").pop().expect("a line");
    let took = parse(&stopped).1.into_iter().find(|(name, _)| name == "took_ms").expect("a time").1;
    assert!(took.parse::<u64>().expect("a number") < 60_000, "{stopped}");
    assert!(gateway.wait().expect("it ends").success());
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
    // Commands of other users find the gateway by it, and it holds no secret.
    for file in files.iter().filter(|file| file.file_name() != "gateway.json") {
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
