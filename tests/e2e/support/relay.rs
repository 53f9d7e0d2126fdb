//! A backend of the relay as a process of its own, which writes down each request before it answers.

use super::client::Client;
use super::gateway::Setup;
use super::stream::{self, View};
use super::wait::{SOON, until};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// That of `tests/rig/backend.py`.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAA";
/// The channels of the route.
pub const PATTERN: &str = "thread.*";
/// The author of answers.
pub const ASSISTANT: &str = "assistant";

/// A backend.
pub struct RelayBackend {
    folder: TempDir,
    port: HeldPort,
    process: RefCell<Option<Child>>,
}

impl RelayBackend {
    /// Starts one that takes all and answers nothing.
    pub fn start() -> RelayBackend {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let backend = RelayBackend { folder, port: HeldPort::new(), process: RefCell::default() };
        backend.mode(json!({"mode": "ok"}));
        backend.spawn();
        backend
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns once it listens.
    fn spawn(&self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rig/backend.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(self.folder.path()).arg(self.port().to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("python3 runs");
        *self.process.borrow_mut() = Some(child);
        until(SOON, "the backend listens", || self.path("port").exists());
    }

    /// Changes how it answers from the next request on.
    pub fn mode(&self, mode: Value) {
        let new = self.path("mode.new");
        std::fs::write(&new, mode.to_string()).expect("written");
        std::fs::rename(new, self.path("mode")).expect("renamed");
    }

    /// Stops it where it is: its connections stay open, and nothing is answered any more.
    pub fn freeze(&self) {
        let process = self.process.borrow();
        let pid = process.as_ref().and_then(|child| Pid::from_raw(child.id() as i32)).expect("it runs");
        kill_process(pid, Signal::STOP).expect("it is stopped");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        let process = self.process.borrow();
        let pid = process.as_ref().and_then(|child| Pid::from_raw(child.id() as i32)).expect("it runs");
        kill_process(pid, Signal::CONT).expect("it goes on");
    }

    /// `kill -9`.
    pub fn kill(&self) {
        if let Some(mut child) = self.process.borrow_mut().take() {
            child.kill().expect("it is killed");
            child.wait().expect("it ends");
        }
    }

    /// Starts it again at its port.
    pub fn restart(&self) {
        std::fs::remove_file(self.path("port")).expect("it has listened");
        self.spawn();
    }

    /// All that it was sent, in order.
    pub fn ledger(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("ledger")).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The requests for publications.
    pub fn requests(&self) -> Vec<Value> {
        self.ledger().into_iter().filter(|line| line["type"] == "publication").collect()
    }

    /// Waits until it was sent this many publications, repeats included.
    #[track_caller]
    pub fn has_requests(&self, count: usize) -> Vec<Value> {
        until(SOON, "the backend was sent the publications", || self.requests().len() >= count);
        self.requests()
    }

    /// A gateway with a route to it, and these members more.
    pub fn setup(&self, members: &str) -> Setup {
        self.with_route(stream::setup(), members)
    }

    /// Adds a route to it. A request waits as long as it may, because a repeat that a busy machine causes would be counted as one of the test.
    pub fn with_route(&self, setup: Setup, members: &str) -> Setup {
        setup.toml(&format!(
            "[[relay]]\nname = \"assistant\"\npattern = \"{PATTERN}\"\nurl = \"http://127.0.0.1:{}/seawall\"\nsecrets = [\"{SECRET}\"]\n\
             user = \"{ASSISTANT}\"\ntimeout_ms = 60000\n{members}\n",
            self.port()
        ))
    }

    /// Checks R1 to R3 and the signatures for the questions of one channel: each was delivered, first in the order of the log, and a
    /// repeat has the same id. Returns the requests.
    #[track_caller]
    pub fn kept_order(&self, channel: &str, offsets: &[u64]) -> Vec<Value> {
        let requests: Vec<Value> =
            self.requests().into_iter().filter(|request| request["channel"] == channel).collect();
        let mut first: Vec<(u64, String)> = Vec::new();
        for request in &requests {
            assert_eq!(request["is_signed"], true, "{request}");
            let offset = request["offset"].as_u64().expect("an offset");
            let id = request["id"].as_str().expect("an id").to_owned();
            match first.iter().find(|(known, _)| *known == offset) {
                Some((_, known)) => assert_eq!(*known, id, "the id of offset {offset}"),
                None => first.push((offset, id)),
            }
        }
        let order: Vec<u64> = first.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(order, offsets, "first deliveries of {channel}");
        requests
    }
}

/// A port that a backend may listen at, now and again, and no other process is given meanwhile.
struct HeldPort {
    number: u16,
    _socket: OwnedFd,
}

impl HeldPort {
    /// Binds without listening: connections are refused, and a listener that sets `SO_REUSEADDR` may have the port.
    fn new() -> HeldPort {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_reuseaddr(&socket, true).expect("an option");
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = SocketAddr::try_from(getsockname(&socket).expect("an address")).expect("of IPv4");
        HeldPort { number: address.port(), _socket: socket }
    }
}

impl Drop for RelayBackend {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An answer as a reader shows it.
pub fn view(channel: &str, answer: u64) -> View {
    View { channel: channel.to_owned(), offset: answer, ..View::default() }
}

/// Asks, and returns the offsets of the question and of its answer.
#[track_caller]
pub fn ask(client: &mut Client, channel: &str, text: &str) -> (u64, u64) {
    let key = text.replace(' ', "_");
    let published =
        client.ask_again(&json!({"publish": {"channel": channel, "key": key, "data": text}}), "published");
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number in {published}"));
    (number(&published["offset"]), number(&published["answer"]))
}

/// Waits until the log has the end of an answer, for a reader that may have come after it. Returns the end.
#[track_caller]
pub fn ended_in_log(client: &mut Client, channel: &str, answer: u64) -> Value {
    let mut end = None;
    until(SOON, "the answer ends", || {
        let page = client.ask(json!({"history": {"channel": channel}}), "history");
        let publications = page["publications"].as_array().expect("a page");
        end = publications.iter().find(|it| it["edits"] == answer && it.get("stream").is_some()).cloned();
        end.is_some()
    });
    end.expect("just found")
}

/// Reads up to the end of an answer, which may come without a piece before it, and returns its text.
#[track_caller]
pub fn ended(client: &mut Client, view: &mut View, state: &str) -> String {
    view.read(client, "the end", |view| view.end.is_some());
    let end = view.end.as_ref().expect("just read");
    assert_eq!(end["stream"], state, "cause {}", end["data"]["cause"]);
    let text = end["data"]["text"].as_str().unwrap_or_default().to_owned();
    assert!(text.starts_with(&view.text), "{} bytes were shown of {}", view.text.len(), text.len());
    text
}
