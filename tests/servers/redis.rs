//! A real Redis for each test, and the states in which it answers but does not work.

use super::process::{self, Process, User};
use super::wait::{SOON, named};
use rustix::process::Signal;
use seawall_fault::HeldPort;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use tempfile::TempDir;

/// A script that publishes bytes, given in hexadecimal.
const PUBLISH: &str = "return redis.call('PUBLISH', KEYS[1], (ARGV[1]:gsub('..', function(h) return string.char(tonumber(h, 16)) end)))";

/// A reply of Redis (RESP 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A short text: `OK`, `PONG`.
    Status(String),
    /// An error, beginning with its kind: `LOADING …`, `READONLY …`, `OOM …`.
    Error(String),
    Number(i64),
    Text(String),
    Nothing,
    List(Vec<Reply>),
}

impl Reply {
    /// Returns true for an error of this kind.
    pub fn is_error(&self, word: &str) -> bool {
        matches!(self, Reply::Error(text) if text.split(' ').next() == Some(word))
    }

    pub fn is_ok(&self) -> bool {
        matches!(self, Reply::Status(text) if text.split(' ').next() == Some("OK"))
    }
}

/// A Redis server. It keeps its port until it is dropped; it loses its data when it ends, unless it saved.
pub struct Redis {
    process: Option<Process>,
    port: HeldPort,
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Redis {
    #[track_caller]
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// Starts a server with settings of `redis.conf`, which override those of all tests.
    #[track_caller]
    pub fn start_with(settings: &[(&str, &str)]) -> Redis {
        let folder = tempfile::Builder::new().prefix("seawall-redis-").tempdir().expect("a temporary folder");
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let port = HeldPort::loopback().expect("a free port");
        let mut redis = Redis { process: None, port, folder, settings };
        redis.start_again();
        redis
    }

    /// Starts it on the same port and waits until it accepts writes.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.launch(&[]);
        self.until("it answers", |reply| *reply == Reply::Status("PONG".into()));
    }

    /// Kills it and starts it with data that it loads so slowly that it answers `LOADING` for about `keys` times 10 ms.
    ///
    /// It reads commands only after every dozen keys, so its answers are late too.
    #[track_caller]
    pub fn restart_loading(&mut self, keys: usize) {
        let fill = "for key = 0, ARGV[1] - 1 do redis.call('SET', 'loading:' .. key, ARGV[2]) end";
        let filled = self.command(&["EVAL", fill, "0", &keys.to_string(), &"x".repeat(64)]);
        assert!(!matches!(filled, Reply::Error(_)), "{filled:?}");
        assert!(self.command(&["SAVE"]).is_ok());
        self.kill9();
        // The delay for each key in microseconds, and the bytes between two reads of the network, here the minimum.
        self.launch(&["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"]);
        self.until("it is loading", |reply| reply.is_error("LOADING"));
    }

    #[track_caller]
    fn launch(&mut self, arguments: &[&str]) {
        assert!(!self.is_running(), "Redis runs already");
        let mut command = process::command(&process::program("redis-server", &[], "redis-server"), User::Own);
        command.args(["--port", &self.port.number().to_string(), "--bind", "127.0.0.1"]);
        command.args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
            "--enable-debug-command",
            "yes",
        ]);
        command.arg("--dir").arg(self.folder.path()).args(arguments);
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        let log = self.folder.path().join("log");
        self.process = Some(Process::start("Redis", command, &log));
    }

    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&Reply) -> bool) {
        let address = self.address();
        let process = self.process.as_mut().expect("just started");
        process.until(what, || ask(address, &["PING"]).is_ok_and(|reply| holds(&reply)));
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub fn url(&self) -> String {
        self.url_through(self.address())
    }

    /// The URL for clients that connect through a proxy at `address`.
    pub fn url_through(&self, address: SocketAddr) -> String {
        format!("redis://{address}/0")
    }

    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Sets a setting from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(own, _)| own != name);
        self.settings.push((name.into(), value.into()));
    }

    /// Runs one command on its own connection.
    ///
    /// # Errors
    ///
    /// No connection, or no answer in time. An error from Redis is a [`Reply`].
    pub fn try_command(&self, words: &[&str]) -> io::Result<Reply> {
        ask(self.address(), words)
    }

    #[track_caller]
    pub fn command(&self, words: &[&str]) -> Reply {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}\n{}", self.log()))
    }

    /// Publishes bytes. Redis makes them, because the commands of tests are text.
    #[track_caller]
    pub fn publish(&self, topic: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let said = self.command(&["EVAL", PUBLISH, "1", topic, &hex]);
        assert!(matches!(said, Reply::Number(_)), "{said:?}");
    }

    #[track_caller]
    fn must(&self, words: &[&str]) {
        let reply = self.command(words);
        assert!(reply.is_ok(), "{words:?}: {reply:?}");
    }

    /// Stops it in order.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process.take().expect("Redis runs").end(Signal::TERM);
    }

    #[track_caller]
    pub fn kill9(&mut self) {
        self.process.take().expect("Redis runs").kill9();
    }

    /// Freezes it.
    #[track_caller]
    pub fn sigstop(&self) {
        self.process.as_ref().expect("Redis runs").sigstop();
    }

    #[track_caller]
    pub fn sigcont(&self) {
        self.process.as_ref().expect("Redis runs").sigcont();
    }

    /// Makes it refuse commands that need memory with `OOM`; reads and pub/sub continue.
    #[track_caller]
    pub fn out_of_memory(&self) {
        self.must(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        self.must(&["CONFIG", "SET", "maxmemory", "1"]);
    }

    #[track_caller]
    pub fn enough_memory(&self) {
        self.must(&["CONFIG", "SET", "maxmemory", "0"]);
    }

    /// Makes it a replica of an absent primary: writes are refused with `READONLY`, reads are served.
    #[track_caller]
    pub fn read_only(&self) {
        // Nothing listens on port 1.
        self.must(&["REPLICAOF", "127.0.0.1", "1"]);
    }

    /// As [`Redis::read_only`], and reads are refused with `MASTERDOWN` too.
    #[track_caller]
    pub fn without_primary(&self) {
        self.must(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
        self.read_only();
    }

    /// Makes it a primary again.
    #[track_caller]
    pub fn read_write(&self) {
        self.must(&["REPLICAOF", "NO", "ONE"]);
        self.must(&["CONFIG", "SET", "replica-serve-stale-data", "yes"]);
    }

    /// Forbids all channels: PING is answered and keys can be written, but pub/sub is refused with `NOPERM`.
    #[track_caller]
    pub fn deny_channels(&self) {
        self.must(&["ACL", "SETUSER", "default", "resetchannels"]);
    }

    #[track_caller]
    pub fn allow_channels(&self) {
        self.must(&["ACL", "SETUSER", "default", "allchannels"]);
    }

    /// Closes all connections with subscriptions, and returns their number.
    #[track_caller]
    pub fn end_subscriptions(&self) -> i64 {
        match self.command(&["CLIENT", "KILL", "TYPE", "pubsub"]) {
            Reply::Number(count) => count,
            other => panic!("{other:?}"),
        }
    }

    /// Serves no client for this time, or until [`Redis::unpause`].
    #[track_caller]
    pub fn pause(&self, for_ms: u64) {
        self.must(&["CLIENT", "PAUSE", &for_ms.to_string(), "ALL"]);
    }

    #[track_caller]
    pub fn unpause(&self) {
        self.must(&["CLIENT", "UNPAUSE"]);
    }
}

/// Runs one command on its own connection to `address`, that of a server or of a proxy in front of it.
///
/// # Errors
///
/// As [`Redis::try_command`].
pub fn ask(address: SocketAddr, words: &[&str]) -> io::Result<Reply> {
    ask_once(address, words).map_err(named)
}

fn ask_once(address: SocketAddr, words: &[&str]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    read_reply(&mut BufReader::new(stream))
}

fn read_reply(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("not a reply of Redis: {line:?}"));
    let text = line.strip_suffix("\r\n").ok_or_else(bad)?;
    let (kind, text) = text.split_at_checked(1).ok_or_else(bad)?;
    let number = || text.parse::<i64>().map_err(|_| bad());
    Ok(match kind {
        "+" => Reply::Status(text.into()),
        "-" => Reply::Error(text.into()),
        ":" => Reply::Number(number()?),
        "$" | "*" if number()? < 0 => Reply::Nothing,
        "$" => {
            let mut bytes = vec![0; usize::try_from(number()?).map_err(|_| bad())? + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => Reply::List((0..number()?).map(|_| read_reply(from)).collect::<io::Result<_>>()?),
        _ => return Err(bad()),
    })
}
