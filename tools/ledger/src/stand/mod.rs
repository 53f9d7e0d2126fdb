//! What a scenario runs on: gateways as processes, the database and the bus behind them, and proxies in between.

pub mod metrics;
pub mod reader;

use crate::clock::{self, Micros, comes_true};
use crate::servers::process::{User, command};
use metrics::{Page, Scraper};
use rustix::process::{Pid, Signal, kill_process};
use seawall_fault::{HeldPort, Proxy};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a gateway may take to say where it listens.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How long connections that were left may take to be gone from `/metrics`.
const ALONE_WITHIN: Duration = Duration::from_secs(15);

/// The program, and what every gateway of a run is told.
#[derive(Clone, Debug)]
pub struct Program {
    /// The binary.
    pub path: PathBuf,
    /// Settings as variables.
    pub settings: Vec<(String, String)>,
    /// It knows `[drain]`.
    pub drains: bool,
}

impl Program {
    /// Looks whether the binary is there, and what it knows.
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
        Ok(Program { path: path.to_owned(), settings: Vec::new(), drains })
    }

    /// One more setting.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.settings.push((format!("SEAWALL_{name}"), value.to_string()));
    }

    /// The timetable of a drain, in milliseconds, if the program knows one.
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

/// Whoever runs this may have settings of their own; a run has its own ones.
fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SEAWALL_")) {
        command.env_remove(name);
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It did not.
    No,
    /// By kill -9, or by itself.
    Killed,
    /// In order, with this exit code, after so long.
    InOrder {
        /// `None`: by a signal.
        code: Option<i32>,
        /// From the signal to the end.
        took: Micros,
    },
}

/// One process, from its start to its end.
#[derive(Clone, Debug)]
pub struct Life {
    /// How it ended.
    pub ended: Ended,
    /// Its `/metrics`, the last time they were read.
    pub page: Option<Page>,
    /// Nothing more was counted after that page.
    pub is_page_final: bool,
}

/// A place for a gateway: its port and data stay while processes come and go.
pub struct Place {
    /// Its number.
    pub slot: u8,
    /// Between the clients and the gateway, where there is one.
    pub proxy: Option<Proxy>,
    program: Program,
    port: HeldPort,
    folder: PathBuf,
    process: Option<(Child, u16)>,
}

impl Place {
    /// A place whose data are in a folder of their own, with what its gateways are told beside what all are.
    pub fn new(slot: u8, program: &Program, folder: &Path) -> Result<Place, String> {
        let port = HeldPort::loopback().map_err(|error| format!("no port: {error}"))?;
        let folder = folder.join(format!("gateway-{slot}"));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Place { slot, proxy: None, program: program.clone(), port, folder, process: None })
    }

    /// A setting for the gateways of this place.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.program.set(name, value);
    }

    /// Puts a proxy between the clients and the gateway.
    pub fn with_proxy(mut self) -> Result<Place, String> {
        let proxy = Proxy::start(self.port.address()).map_err(|error| format!("no proxy: {error}"))?;
        self.proxy = Some(proxy);
        Ok(self)
    }

    /// Where clients dial.
    pub fn address(&self) -> SocketAddr {
        self.proxy.as_ref().map_or(self.port.address(), Proxy::address)
    }

    /// Where the gateway itself is.
    pub fn direct(&self) -> SocketAddr {
        self.port.address()
    }

    /// The process that runs here.
    pub fn life(&self) -> Option<u16> {
        self.process.as_ref().map(|(_, life)| *life)
    }

    /// Starts one and waits until it listens.
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
            return Err(format!("gateway {} ended at once:\n{}", self.slot, self.log()));
        }
        self.process = Some((child, life));
        lives.push(Life { ended: Ended::No, page: None, is_page_final: false });
        Ok(())
    }

    fn spawn(&self, life: u16) -> Result<Child, String> {
        let log = self.folder.join("log");
        let log =
            File::options().create(true).append(true).open(&log).map_err(|error| format!("log: {error}"))?;
        let mut command = command(&self.program.path, User::Own);
        without_settings(&mut command);
        command.envs([("SEAWALL_ADMIN_LISTEN", "off"), ("SEAWALL_LOG_LEVEL", "info")]);
        command.env("SEAWALL_SERVER_INSTANCE", format!("place-{}-life-{life}", self.slot));
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
        // Its output stays open as long as it runs.
        let mut line = String::new();
        let read = child.stdout.as_mut().map(|out| BufReader::with_capacity(1, out).read_line(&mut line));
        if matches!(read, Some(Ok(_))) && line.contains("ws://") {
            return Ok(child);
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("gateway {} did not say where it listens:\n{}", self.slot, self.log()))
    }

    /// The last lines it wrote.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }

    fn signal(&self, signal: Signal) {
        if let Some((child, _)) = &self.process {
            // It may have ended by itself; it was not waited for, so the number is still its own.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// Freezes it.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it as a crash does.
    pub fn kill9(&mut self, lives: &mut [Life]) {
        self.signal(Signal::KILL);
        if let Some((mut child, life)) = self.process.take() {
            let _ = child.wait();
            if let Some(it) = lives.get_mut(usize::from(life)) {
                it.ended = Ended::Killed;
            }
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Its exit, once it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(|(child, _)| child.try_wait().ok().flatten())
    }

    /// Asks it to end, reads `/metrics` for as long as they can be read, and waits for the end.
    ///
    /// # Errors
    ///
    /// It lives on after `within`; it is killed then.
    pub fn drain(&mut self, lives: &mut [Life], within: Duration) -> Result<(), String> {
        let mut scraper = Scraper::new(self.direct());
        // The connection is there before nobody is accepted any more.
        let mut last = scraper.page().ok();
        let began = clock::now();
        self.terminate();
        let mut status = None;
        comes_true(within, || {
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
            return Err(format!("gateway {} did not end within {within:?}:\n{}", self.slot, self.log()));
        };
        life.ended = Ended::InOrder { code: status.code(), took };
        self.process = None;
        Ok(())
    }

    /// Reads `/metrics` once nobody is connected any more: they are the last of this process.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn read_final_page(&self, lives: &mut [Life]) -> Result<(), String> {
        let Some(life) = self.life().and_then(|life| lives.get_mut(usize::from(life))) else { return Ok(()) };
        let mut scraper = Scraper::new(self.direct());
        comes_true(ALONE_WITHIN, || {
            life.page = scraper.page().ok();
            life.is_page_final = life.page.as_ref().is_some_and(|page| page.sessions() == 0.0);
            life.is_page_final
        });
        if life.page.is_some() { Ok(()) } else { Err(format!("gateway {} shows no /metrics", self.slot)) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() && !clock::is_interrupted() {
            eprintln!("gateway {}: its last lines:\n{}", self.slot, self.log());
        }
        self.signal(Signal::KILL);
        if let Some((mut child, _)) = self.process.take() {
            let _ = child.wait();
        }
    }
}
