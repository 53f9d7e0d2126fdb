//! The processes of a scenario: gateways, and the proxies between them and their database, bus and clients.

pub mod admin;
pub mod metrics;
pub mod reader;

use crate::clock::{self, Micros, wait_until};
use crate::servers::process::{User, command};
use admin::{Admin, TOKEN};
use metrics::{MetricsPage, Scraper};
use rustix::process::{Pid, Signal, kill_process};
use seawall_fault::{HeldPort, Proxy};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The time limit for a gateway to print its address.
const START_WITHIN: Duration = Duration::from_secs(30);

/// The time limit for closed connections to disappear from `/metrics`.
const ALONE_WITHIN: Duration = Duration::from_secs(15);

/// The gateway program, and the settings of every gateway of a run.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    /// Settings as environment variables.
    pub settings: Vec<(String, String)>,
    /// True if it knows `[drain]`.
    pub drains: bool,
}

impl Program {
    /// Checks that the binary works, and which settings it knows.
    pub fn new(path: &Path) -> Result<Program, String> {
        let knows = |name: &str, value: &str| {
            let mut command = Command::new(path);
            without_settings(&mut command);
            command.arg("check-config").env(name, value).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().map(|status| status.success())
        };
        knows("SEAWALL_ADMIN_LISTEN", "off").map_err(|error| format!("{}: {error}", path.display()))?;
        let drains = knows("SEAWALL_DRAIN_SPREAD_MS", "2000").unwrap_or(false);
        let mut program = Program { path: path.to_owned(), settings: Vec::new(), drains };
        // The gateway's own client would be in its counters and not in the ledger. Earlier releases have none.
        if knows("SEAWALL_SLO_CANARY_MS", "0").unwrap_or(false) {
            program.set("SLO_CANARY_MS", 0);
        }
        Ok(program)
    }

    /// Adds a setting.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.settings.push((format!("SEAWALL_{name}"), value.to_string()));
    }

    /// Sets the timetable of a drain, in milliseconds, if the program knows `[drain]`.
    pub fn drain(&mut self, [accept, spread, close, exit, back]: [u32; 5]) {
        if !self.drains {
            return;
        }
        self.set("DRAIN_ACCEPT_MS", accept);
        self.set("DRAIN_SPREAD_MS", spread);
        self.set("DRAIN_CLOSE_MS", close);
        self.set("DRAIN_EXIT_MS", exit);
        self.set("DRAIN_RETURN_MS", back);
    }
}

/// Removes the settings in this program's own environment, because a run has its own.
fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SEAWALL_")) {
        command.env_remove(name);
    }
}

/// The name of an instance: no two processes of a run have the same.
fn instance_name(slot: u8, life: u16) -> String {
    format!("place-{slot}-life-{life}")
}

/// The place of the instance with this name.
pub fn slot_of(instance: &str) -> Option<u8> {
    instance.strip_prefix("place-")?.split('-').next()?.parse().ok()
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It still runs.
    Running,
    /// By kill -9, or by itself.
    Killed,
    /// By a shutdown in order.
    InOrder {
        /// The exit code; `None` if a signal ended it.
        code: Option<i32>,
        /// From the signal to the exit.
        took: Micros,
    },
}

/// One process, from start to end.
#[derive(Clone, Debug)]
pub struct Life {
    pub ended: Ended,
    /// The last `/metrics` read.
    pub page: Option<MetricsPage>,
    /// True if nothing was counted after that page.
    pub is_page_final: bool,
}

/// A place for a gateway. Its port and data stay while processes are replaced.
pub struct Place {
    pub slot: u8,
    /// The proxy between the clients and the gateway, if any.
    pub proxy: Option<Proxy>,
    program: Program,
    port: HeldPort,
    admin: HeldPort,
    folder: PathBuf,
    process: Option<(Child, u16)>,
}

impl Place {
    /// Creates a place with its own data folder. Its settings extend those of all gateways.
    pub fn new(slot: u8, program: &Program, folder: &Path) -> Result<Place, String> {
        let port = || HeldPort::loopback().map_err(|error| format!("no port: {error}"));
        let (port, admin) = (port()?, port()?);
        let folder = folder.join(format!("gateway-{slot}"));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Place { slot, proxy: None, program: program.clone(), port, admin, folder, process: None })
    }

    /// Adds a setting for the gateways of this place.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.program.set(name, value);
    }

    /// Puts a proxy between the clients and the gateway.
    pub fn with_proxy(mut self) -> Result<Place, String> {
        let proxy = Proxy::start(self.port.address()).map_err(|error| format!("no proxy: {error}"))?;
        self.proxy = Some(proxy);
        Ok(self)
    }

    /// True if its gateways want a token from each client.
    pub fn has_auth(&self) -> bool {
        self.program.settings.iter().any(|(name, _)| name == "SEAWALL_AUTH_SECRET")
    }

    /// The address that clients dial.
    pub fn address(&self) -> SocketAddr {
        self.proxy.as_ref().map_or(self.port.address(), Proxy::address)
    }

    /// The gateway's own address.
    pub fn direct(&self) -> SocketAddr {
        self.port.address()
    }

    /// The admin listener of the process that runs here.
    pub fn admin(&self) -> Admin {
        Admin::at(self.admin.address())
    }

    /// The id of the process that runs here.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|(child, _)| child.id())
    }

    /// The name by which the process that runs here is known to the others.
    pub fn instance(&self) -> Option<String> {
        self.life().map(|life| instance_name(self.slot, life))
    }

    /// The number of the process that runs here.
    pub fn life(&self) -> Option<u16> {
        self.process.as_ref().map(|(_, life)| *life)
    }

    /// Starts a gateway and waits until it listens.
    pub fn start(&mut self, lives: &mut Vec<Life>) -> Result<(), String> {
        let life = lives.len() as u16;
        let until = clock::now() + clock::micros(START_WITHIN);
        let mut child = loop {
            match self.spawn(life) {
                Ok(child) => break child,
                Err(error) if clock::now() > until => return Err(error),
                Err(_) => clock::rest(Duration::from_millis(100)),
            }
        };
        if !matches!(child.try_wait(), Ok(None)) {
            return Err(format!("gateway {} exited at once:\n{}", self.slot, self.log()));
        }
        self.process = Some((child, life));
        lives.push(Life { ended: Ended::Running, page: None, is_page_final: false });
        Ok(())
    }

    fn spawn(&self, life: u16) -> Result<Child, String> {
        let log = self.folder.join("log");
        let log =
            File::options().create(true).append(true).open(&log).map_err(|error| format!("log: {error}"))?;
        let mut command = command(&self.program.path, User::Own);
        without_settings(&mut command);
        command.envs([("SEAWALL_ADMIN_TOKEN", TOKEN), ("SEAWALL_LOG_LEVEL", "info")]);
        command.env("SEAWALL_ADMIN_LISTEN", self.admin.address().to_string());
        command.env("SEAWALL_SERVER_INSTANCE", instance_name(self.slot, life));
        command.envs(self.program.settings.iter().map(|(name, value)| (name, value)));
        command
            .arg("--listen")
            .arg(self.port.address().to_string())
            .arg("--data")
            .arg(self.folder.join("data"));
        command.current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child =
            command.spawn().map_err(|error| format!("{}: {error}", self.program.path.display()))?;
        // The pipe stays open while the gateway runs.
        let mut line = String::new();
        let read = child.stdout.as_mut().map(|out| BufReader::with_capacity(1, out).read_line(&mut line));
        if matches!(read, Some(Ok(_))) && line.contains("ws://") {
            return Ok(child);
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("gateway {} did not print its address:\n{}", self.slot, self.log()))
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }

    fn signal(&self, signal: Signal) {
        if let Some((child, _)) = &self.process {
            // It may have exited by itself; the PID is still its own, because it was not waited for.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// Stops it with SIGSTOP.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes it with SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it, as a crash would.
    pub fn kill9(&mut self, lives: &mut [Life]) {
        self.signal(Signal::KILL);
        if let Some((mut child, life)) = self.process.take() {
            let _ = child.wait();
            if let Some(it) = lives.get_mut(usize::from(life)) {
                it.ended = Ended::Killed;
            }
        }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Its exit status, if it has exited.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(|(child, _)| child.try_wait().ok().flatten())
    }

    /// Sends SIGTERM, reads `/metrics` while that is possible, and waits for the exit.
    ///
    /// # Errors
    ///
    /// Returns an error if it still runs after `within`; then it is killed.
    pub fn drain(&mut self, lives: &mut [Life], within: Duration) -> Result<(), String> {
        let mut scraper = Scraper::new(self.direct());
        // Connects before the gateway stops accepting.
        let mut last = scraper.page().ok();
        let began = clock::now();
        self.terminate();
        let mut status = None;
        wait_until(within, || {
            if let Ok(page) = scraper.page() {
                last = Some(page);
            }
            status = self.exited();
            status.is_some()
        });
        let took = clock::now() - began;
        let Some(life) = self.life().and_then(|life| lives.get_mut(usize::from(life))) else {
            return Err(format!("no gateway runs at place {}", self.slot));
        };
        life.is_page_final = last.as_ref().is_some_and(|page| page.sessions() == 0.0);
        life.page = last;
        let Some(status) = status else {
            self.kill9(lives);
            return Err(format!("gateway {} did not exit within {within:?}:\n{}", self.slot, self.log()));
        };
        life.ended = Ended::InOrder { code: status.code(), took };
        self.process = None;
        Ok(())
    }

    /// Reads `/metrics` once no client is connected, so that it is the final page of this process.
    ///
    /// # Errors
    ///
    /// Returns an error if the page cannot be read.
    pub fn read_final_page(&self, lives: &mut [Life]) -> Result<(), String> {
        let Some(life) = self.life().and_then(|life| lives.get_mut(usize::from(life))) else { return Ok(()) };
        let mut scraper = Scraper::new(self.direct());
        wait_until(ALONE_WITHIN, || {
            life.page = scraper.page().ok();
            life.is_page_final = life.page.as_ref().is_some_and(|page| page.sessions() == 0.0);
            life.is_page_final
        });
        if life.page.is_some() { Ok(()) } else { Err(format!("gateway {} serves no /metrics", self.slot)) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() && !clock::is_interrupted() {
            eprintln!("gateway {}, last lines of its log:\n{}", self.slot, self.log());
        }
        self.signal(Signal::KILL);
        if let Some((mut child, _)) = self.process.take() {
            let _ = child.wait();
        }
    }
}
