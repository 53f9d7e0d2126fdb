//! The real binary as a child process, on a free port, with its own data folder.

use super::line::{self, Certificate};
use super::raw::{RawClient, Response};
use super::wait::{LATE, SOON, comes_true, until};
use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The number of output lines that are kept: what a test waits for must not be lost among what a long outage logs meanwhile.
const KEPT_LINES: usize = 2_000;
/// The number of output lines in the message of a failed test.
const TAIL_LINES: usize = 60;

const ADMIN_LISTEN: &str = "SEAWALL_ADMIN_LISTEN";
const CANARY_MS: &str = "SEAWALL_SLO_CANARY_MS";
/// A drain that takes almost no time, for tests of everything else. Its end is a deadline for clients that do not take their close, and for
/// a store that does not answer.
const SHORT_DRAIN: [(&str, u64); 4] = [("accept", 0), ("spread", 20), ("close", 50), ("exit", 7_950)];

/// The options of a gateway to start.
#[derive(Clone)]
pub struct Setup {
    listen: SocketAddr,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    toml: String,
    descriptors: Option<u32>,
    tmpfs: Option<String>,
    elsewhere: Option<PathBuf>,
    certificate: Option<Certificate>,
    folder: Arc<TempDir>,
    program: Option<PathBuf>,
}

impl Setup {
    /// A gateway on a free loopback port, over TLS if `SEAWALL_TEST_TLS` is set, so that every test can run both ways.
    pub fn new() -> Setup {
        let setup = Setup {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            arguments: Vec::new(),
            environment: environment(),
            toml: String::new(),
            descriptors: None,
            tmpfs: None,
            elsewhere: None,
            certificate: None,
            folder: Arc::new(tempfile::tempdir().expect("a temporary folder")),
            program: None,
        };
        if std::env::var_os("SEAWALL_TEST_TLS").is_some() { setup.tls(Certificate::new()) } else { setup }
    }

    /// Sets a key of `[limits]`.
    pub fn limit(self, name: &str, value: u64) -> Setup {
        self.env(&format!("SEAWALL_LIMITS_{}", name.to_uppercase()), &value.to_string())
    }

    /// Turns off the rates of a connection and allows many pending commands, for tests with load.
    pub fn unlimited(self) -> Setup {
        ["publishes_per_s", "commands_per_s", "signals_per_s", "read_bytes_per_s"]
            .into_iter()
            .fold(self, |setup, rate| setup.limit(rate, 0))
            .limit("pending", 1_000)
            .env("SEAWALL_PRESENCE_COMMANDS_PER_S", "0")
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Sets a key of `[drain]`, named without its unit.
    pub fn drain(self, name: &str, ms: u64) -> Setup {
        self.env(&drain_variable(name), &ms.to_string())
    }

    /// Serves over TLS with this certificate.
    pub fn tls(mut self, certificate: Certificate) -> Setup {
        certificate.write(self.folder.path());
        self.certificate = Some(certificate);
        self.env("SEAWALL_TLS_CERTIFICATE", "tls.crt").env("SEAWALL_TLS_KEY", "tls.key")
    }

    /// Serves without TLS even under `SEAWALL_TEST_TLS`, for tests of plain sockets.
    pub fn plain(mut self) -> Setup {
        self.certificate = None;
        self.environment.retain(|name, _| !name.starts_with("SEAWALL_TLS_"));
        self
    }

    /// The working directory, to which relative paths in the configuration refer.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Enables the admin listener on a free port.
    pub fn with_admin(self) -> Setup {
        self.env(ADMIN_LISTEN, "127.0.0.1:0")
    }

    /// Enables the admin listener on its default address.
    pub fn with_default_admin(mut self) -> Setup {
        self.environment.remove(ADMIN_LISTEN);
        self
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Setup {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Adds lines to the configuration file.
    pub fn toml(mut self, text: &str) -> Setup {
        self.toml.push_str(text);
        self.toml.push('\n');
        self
    }

    /// For tests in which PostgreSQL does not fail, but may be slow: a machine that is busy for seconds is no outage.
    pub fn with_slow_store(self) -> Setup {
        self.toml("[[dependency]]\nname = \"store\"\ntimeout_ms = 10000\nfailures = 10\n")
    }

    /// Sets the address of the listener; the default is a free port of loopback.
    pub fn listen(mut self, address: SocketAddr) -> Setup {
        self.listen = address;
        self
    }

    /// Sets `ulimit -n` of the process.
    pub fn descriptors(mut self, count: u32) -> Setup {
        self.descriptors = Some(count);
        self
    }

    /// Mounts a small filesystem on the data folder, visible only to the gateway; `options` as for mount.
    pub fn tmpfs(mut self, options: &str) -> Setup {
        self.tmpfs = Some(options.into());
        self
    }

    /// The data folder. It exists before the start unless another path was set.
    pub fn data(&self) -> PathBuf {
        self.elsewhere.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    pub fn data_at(mut self, path: PathBuf) -> Setup {
        self.elsewhere = Some(path);
        self
    }

    /// Runs this program in place of the binary under test.
    pub fn program(mut self, path: &Path) -> Setup {
        self.program = Some(path.to_owned());
        self
    }

    /// The program that is run.
    pub fn binary(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(|| binary().into())
    }

    fn command(&self) -> Command {
        let mut script = String::new();
        if let Some(options) = &self.tmpfs {
            script.push_str(&format!("mount -t tmpfs -o {options} none \"$DATA\" && "));
        }
        if let Some(count) = self.descriptors {
            script.push_str(&format!("ulimit -n {count} && "));
        }
        script.push_str("exec \"$0\" \"$@\"");
        let mut command = match self.tmpfs {
            Some(_) => Command::new("unshare"),
            None => Command::new("sh"),
        };
        if self.tmpfs.is_some() {
            command.args(["-rm", "sh"]);
        }
        command.args(["-c", &script]).arg(self.binary()).args(["serve", "--listen"]);
        command.arg(self.listen.to_string()).arg("--data").arg(self.data()).env("DATA", self.data());
        if !self.toml.is_empty() {
            let path = self.folder.path().join("seawall.toml");
            std::fs::write(&path, &self.toml).expect("the configuration is written");
            command.arg("--config").arg(path);
        }
        forget_settings(&mut command);
        command.current_dir(self.folder.path()).args(&self.arguments).envs(&self.environment);
        if self.program.is_some() {
            // The previous release has no canary, and refuses settings that it does not know.
            command.env_remove(CANARY_MS);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs another command of the binary on the same data until it exits.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        self.run_with(arguments, &[])
    }

    /// The same, with these environment variables.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> std::process::Output {
        let mut command = Command::new(self.binary());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SEAWALL_")) {
            command.env_remove(name);
        }
        command.args(arguments).arg("--data").arg(self.data()).current_dir(self.folder.path());
        forget_settings(&mut command);
        command.envs(variables.iter().copied());
        command.output().expect("the gateway's binary starts")
    }

    /// Starts the process and waits for nothing; its output is dropped.
    pub fn spawn(&self) -> Child {
        std::fs::create_dir_all(self.data()).expect("the data folder is made");
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the gateway's binary starts")
    }

    /// Starts the gateway and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Gateway {
        match self.try_start() {
            Ok(gateway) => gateway,
            Err(Refused { status, output }) => panic!("the gateway did not start ({status}):\n{output}"),
        }
    }

    /// Starts the gateway, or returns its status and output if it refuses to start.
    pub fn try_start(self) -> Result<Gateway, Refused> {
        if self.elsewhere.is_none() {
            std::fs::create_dir_all(self.data()).expect("the data folder is made");
        }
        let mut child = self.command().spawn().expect("the gateway's binary starts");
        let output = Output::default();
        let (sender, lines) = channel();
        output.drain(child.stdout.take().expect("piped"), Some(sender));
        output.drain(child.stderr.take().expect("piped"), None);
        let address = listening(&lines);
        match address {
            Ok(address) => {
                let client = self.certificate.as_ref().map(|certificate| Arc::new(certificate.client()));
                line::trust(address, client.clone());
                Ok(Gateway { child, address, client, setup: self, output })
            }
            Err(error) => {
                let _ = child.kill();
                let status = child.wait().expect("a child can be waited for");
                output.ended();
                let is_late = error == RecvTimeoutError::Timeout;
                assert!(
                    !is_late,
                    "{LATE}: the gateway listens, after {SOON:?}:\n{}",
                    output.last(TAIL_LINES)
                );
                Err(Refused { status, output: output.text() })
            }
        }
    }
}

/// The environment of every gateway, unless a test overrides it.
fn environment() -> BTreeMap<String, String> {
    let drain = SHORT_DRAIN.map(|(name, ms)| (drain_variable(name), ms.to_string()));
    // All tests share one default admin address, so a test that needs the admin listener enables it.
    let admin = (ADMIN_LISTEN.into(), "off".into());
    // A client answers pings only while its test reads it, which on a busy machine may do something else for long.
    let pong = ("SEAWALL_LIMITS_PONG_MS".into(), "60000".into());
    // The same for its first request, its `connect`, and what it is sent while it does not read.
    let late =
        ["HEAD_MS", "CONNECT_MS", "STALL_MS"].map(|name| (format!("SEAWALL_LIMITS_{name}"), "60000".into()));
    // Tests count connections and publications.
    let canary = (CANARY_MS.into(), "0".into());
    drain.into_iter().chain(late).chain([admin, pong, canary]).collect()
}

/// Removes all `SEAWALL_` variables, because the gateway refuses those it does not know, such as those of the tests.
fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SEAWALL_")) {
        command.env_remove(name);
    }
}

fn drain_variable(name: &str) -> String {
    format!("SEAWALL_DRAIN_{}_MS", name.to_uppercase())
}

/// The binary under test: the one that cargo built with the tests, or the one in `SEAWALL_TEST_BINARY`.
fn binary() -> String {
    std::env::var("SEAWALL_TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_seawall").into())
}

/// True if `SEAWALL_TEST_BINARY` names the binary, which is then an optimised one.
pub fn has_named_binary() -> bool {
    std::env::var_os("SEAWALL_TEST_BINARY").is_some()
}

/// A gateway that exited before it listened.
pub struct Refused {
    pub status: ExitStatus,
    pub output: String,
}

fn listening(lines: &Receiver<String>) -> Result<SocketAddr, RecvTimeoutError> {
    let deadline = Instant::now() + SOON;
    loop {
        let line = lines.recv_timeout(super::wait::left(deadline))?;
        let address = line.split("://").nth(1).and_then(|rest| rest.split('/').next());
        if let Some(address) = address.filter(|_| line.contains("listening on")) {
            return Ok(address.parse().expect("an address"));
        }
    }
}

/// The output of a child process, without the oldest lines of very much.
#[derive(Clone, Default)]
struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
    open: Arc<()>,
}

impl Output {
    fn drain(&self, from: impl Read + Send + 'static, copy: Option<Sender<String>>) {
        let lines = Arc::clone(&self.lines);
        let open = Arc::clone(&self.open);
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut lines = lines.lock().expect("no holder panics");
                if lines.len() == KEPT_LINES {
                    lines.pop_front();
                }
                lines.push_back(line.clone());
                if let Some(copy) = &copy {
                    // The receiver is gone once the address is known.
                    let _ = copy.send(line);
                }
            }
            drop(open);
        });
    }

    fn ended(&self) {
        until(SOON, "the output of an ended process ends", || Arc::strong_count(&self.open) == 1);
    }

    fn text(&self) -> String {
        self.last(KEPT_LINES)
    }

    fn last(&self, count: usize) -> String {
        let lines = self.lines.lock().expect("no holder panics");
        lines.iter().skip(lines.len().saturating_sub(count)).map(|line| format!("    {line}\n")).collect()
    }
}

/// A running gateway; dropping it kills it.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    /// The TLS configuration of its clients.
    client: Option<Arc<ClientConfig>>,
    setup: Setup,
    output: Output,
}

impl Gateway {
    #[track_caller]
    pub fn start() -> Gateway {
        Setup::new().start()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Its output, without the oldest lines of very much.
    pub fn output(&self) -> String {
        self.output.text()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the gateway still runs");
    }

    /// Kills the process as a crash would, and returns the setup to start it again on the same data.
    pub fn kill9(mut self) -> Setup {
        self.child.kill().expect("the gateway still runs");
        self.child.wait().expect("a child can be waited for");
        self.setup.clone()
    }

    /// Sends a signal, waits for the exit, and returns the exit code and the time it took.
    pub fn ends_after(&mut self, signal: Signal) -> (Option<i32>, Duration) {
        let start = Instant::now();
        self.signal(signal);
        (self.ends_within(SOON), start.elapsed())
    }

    /// Waits for the exit and returns the exit code.
    pub fn ends_within(&mut self, within: Duration) -> Option<i32> {
        let mut status = None;
        until(within, "the gateway ends", || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        // Then its last output has been read.
        self.output.ended();
        status.and_then(|status| status.code())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    pub fn fetch(&self, path: &str) -> Response {
        RawClient::to(self).fetch("GET", path)
    }

    /// Every sample of `/metrics`, by its name and labels as written there.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let page = self.fetch("/metrics");
        assert_eq!(page.status, 200, "{page:?}");
        let samples = page.body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        samples
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').expect("a sample is a name and a value");
                (name.to_string(), value.parse().expect("a value is a number"))
            })
            .collect()
    }

    /// The sum of all samples of one metric, whatever their labels.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let samples = self.metrics();
        let own = samples.iter().filter(|(key, _)| key.split('{').next() == Some(name));
        let values: Vec<f64> = own.map(|(_, value)| *value).collect();
        assert!(!values.is_empty(), "no metric {name} among {:?}", samples.keys());
        values.iter().sum()
    }

    /// Waits until the sum of all samples of a metric is `value`: the counts of a turn are added up at its end, when clients may have been
    /// answered.
    #[track_caller]
    pub fn shows(&self, name: &str, value: f64) {
        let mut last = f64::NAN;
        let equal = comes_true(SOON, || {
            last = self.metric(name);
            last == value
        });
        // A counter that is too high has counted something twice.
        let fault = if name.ends_with("_total") && last > value { "a wrong count" } else { LATE };
        assert!(equal, "{fault}: {name} is {last} and not {value}");
    }

    /// Waits until a text is in the output: the log has a thread of its own.
    #[track_caller]
    pub fn logs(&self, text: &str) {
        let found = comes_true(SOON, || self.output().contains(text));
        assert!(found, "{LATE}: {text} is not in\n{}", self.output.last(TAIL_LINES));
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.output()))
    }

    pub fn rss_bytes(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kilobytes") << 10
    }

    /// The number of open sockets. Files of the store are not counted, because it opens them on demand.
    pub fn open_sockets(&self) -> usize {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the gateway still runs");
        // A descriptor may be closed meanwhile.
        let targets = folder.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Bytes in the kernel's send queues of the gateway's sockets: written, but not acknowledged by the peer.
    pub fn kernel_bytes(&self) -> u64 {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux lists its sockets");
        let own = format!(":{:04X}", self.address.port());
        let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let queues = lines.filter(|cells| cells.get(1).is_some_and(|local| local.ends_with(&own)));
        queues
            .filter_map(|cells| cells.get(4).and_then(|queue| queue.split(':').next()).map(String::from))
            .map(|hex| u64::from_str_radix(&hex, 16).expect("a number in base 16"))
            .sum()
    }

    /// The processor time used so far, in user and kernel mode.
    pub fn processor_time(&self) -> Duration {
        let stat = self.proc("stat");
        let after_name = stat.rsplit(") ").next().expect("a name in brackets");
        let ticks: u64 =
            after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Before its port is free for others, which may be without TLS.
        if let Some(client) = &self.client {
            line::forget(self.address, client);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the gateway's last lines:\n{}", self.output.last(TAIL_LINES));
        }
    }
}
