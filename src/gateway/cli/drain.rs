//! `seawall drain`: begins a drain of the gateway that runs with this configuration, or watches one, through its admin listener.

use super::say;
use crate::gateway::admin::{self, Kept};
use crate::gateway::config::Config;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// To connect, and of one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer: one is a few hundred.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Begin one.
    Begin,
    /// Watch it until the process is gone.
    Watch,
}

/// Does it; 1 when it cannot be done, or when what was watched left something unfinished.
pub(super) fn drain(config: &Config, wanted: Wanted) -> ExitCode {
    let done = Remote::of(config).and_then(|remote| match wanted {
        Wanted::Begin => remote.begin(),
        Wanted::Watch => remote.watch(),
    });
    match done {
        Ok(code) => code,
        Err(message) => {
            // With stderr closed the exit code still tells.
            let _unheard = writeln!(io::stderr(), "seawall: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The admin listener of a gateway.
struct Remote {
    address: SocketAddr,
    token: String,
    kept: Kept,
}

/// What it answers: how far a drain has come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    phase: String,
    /// Unix milliseconds; `None` while there is no drain.
    since: Option<u64>,
    elapsed_ms: u64,
    exit_ms: u64,
    connections: u64,
    moved: u64,
    stragglers: u64,
    /// Publishes, closes and bytes that were given up.
    unfinished: [u64; 3],
}

/// Why there is no answer.
enum Silence {
    /// Nobody is there, or nobody any more.
    Gone,
    /// Something else: for people.
    Trouble(String),
}

impl Remote {
    fn of(config: &Config) -> Result<Remote, String> {
        let listen = config.admin.listen.ok_or(
            "admin.listen is \"off\", so the gateway cannot be asked: send its process SIGTERM, which drains it as well",
        )?;
        if listen.port() == 0 {
            return Err(
                "admin.listen has port 0, so nobody knows which one the gateway got: give it a port".into()
            );
        }
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let (token, kept) = admin::token_of(config)?;
        let token = String::from_utf8_lossy(&token).into_owned();
        Ok(Remote { address: SocketAddr::new(ip, listen.port()), token, kept })
    }

    fn begin(&self) -> Result<ExitCode, String> {
        let before = self.ask("GET").map_err(|silence| self.told(silence))?;
        let standing = self.ask("POST").map_err(|silence| self.told(silence))?;
        let (connections, left_s) = (standing.connections, standing.left_s());
        let began = if before.since.is_some() { "drains already" } else { "drains" };
        Ok(say(&format!(
            "{began}: {}, {connections} connections; gone in {left_s} s at most, or when nobody is left\n\
             watch it: seawall drain --status\n",
            standing.phase
        )))
    }

    fn watch(&self) -> Result<ExitCode, String> {
        let mut last = self.ask("GET").map_err(|silence| self.told(silence))?;
        if last.since.is_none() {
            let connections = last.connections;
            return Ok(say(&format!(
                "serving, {connections} connections; no drain goes on (seawall drain begins one)\n"
            )));
        }
        let mut board = Board::new(last.connections + last.moved + last.stragglers);
        loop {
            board.show(&last);
            std::thread::park_timeout(LOOK_PERIOD);
            match self.ask("GET") {
                Ok(next) if next.since == last.since => last = next,
                // Gone, and another process has its place.
                Ok(_) | Err(Silence::Gone) => break,
                Err(silence) => {
                    board.end();
                    return Err(self.told(silence));
                }
            }
        }
        board.end();
        Ok(last.verdict())
    }

    fn ask(&self, method: &str) -> Result<Standing, Silence> {
        let answer = self.call(method).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Silence::Gone,
            _ => Silence::Trouble(format!("cannot ask the gateway at {}: {error}", self.address)),
        })?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(Silence::Gone)?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        match status {
            "200" => Standing::read(body).ok_or_else(|| self.stranger()),
            "401" => Err(Silence::Trouble(format!(
                "the gateway at {} does not take this token ({}): it was started with another store.data or admin.token",
                self.address,
                self.kept.describe()
            ))),
            _ => Err(self.stranger()),
        }
    }

    fn stranger(&self) -> Silence {
        Silence::Trouble(format!(
            "what answers at {} (admin.listen) is no gateway, or one of an older version without /drain",
            self.address
        ))
    }

    fn call(&self, method: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let (address, token) = (self.address, &self.token);
        let head = format!(
            "{method} /drain HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn told(&self, silence: Silence) -> String {
        match silence {
            Silence::Gone => format!(
                "nobody answers at {} (admin.listen): no gateway runs here, or it has another configuration",
                self.address
            ),
            Silence::Trouble(message) => message,
        }
    }
}

impl Standing {
    fn read(body: &str) -> Option<Standing> {
        let body: Value = serde_json::from_str(body).ok()?;
        let number = |path: &str| body.pointer(path).and_then(Value::as_u64);
        Some(Standing {
            phase: body.pointer("/phase")?.as_str()?.to_owned(),
            since: number("/since"),
            elapsed_ms: number("/elapsed_ms").unwrap_or(0),
            exit_ms: number("/plan/exit_ms")?,
            connections: number("/connections")?,
            moved: number("/moved")?,
            stragglers: number("/stragglers")?,
            unfinished: [
                number("/unfinished/appends")?,
                number("/unfinished/closes")?,
                number("/unfinished/bytes")?,
            ],
        })
    }

    /// Seconds to the exit, at most.
    fn left_s(&self) -> u64 {
        self.exit_ms.saturating_sub(self.elapsed_ms).div_ceil(1_000)
    }

    fn line(&self) -> String {
        let Standing { phase, connections, moved, stragglers, .. } = self;
        format!(
            "{phase}: {connections} connections left, {moved} moved, {stragglers} closed; gone in {} s at most",
            self.left_s()
        )
    }

    /// The last words, of what was seen last.
    fn verdict(&self) -> ExitCode {
        let (moved, stragglers) = (self.moved, self.stragglers);
        let seconds = self.elapsed_ms as f64 / 1_000.0;
        let gone = format!("gone after {seconds:.1} s: {moved} moved, {stragglers} closed\n");
        match self.unfinished {
            [0, 0, 0] => say(&gone),
            [appends, closes, bytes] => {
                let _unheard = say(&gone);
                let _unheard = writeln!(
                    io::stderr(),
                    "seawall: it left unfinished: {appends} publishes without an answer, {closes} closes, {bytes} bytes"
                );
                ExitCode::FAILURE
            }
        }
    }
}

/// Shows the course: a bar for people, a line a change for files.
enum Board {
    Bar(ProgressBar),
    Lines { shown: String },
}

impl Board {
    fn new(connections: u64) -> Board {
        if !io::stderr().is_terminal() {
            return Board::Lines { shown: String::new() };
        }
        let bar = ProgressBar::new(connections.max(1));
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} left it, {msg}") {
            bar.set_style(style);
        }
        Board::Bar(bar)
    }

    fn show(&mut self, standing: &Standing) {
        match self {
            Board::Bar(bar) => {
                let len = bar.length().unwrap_or(1).max(standing.connections);
                bar.set_length(len);
                bar.set_position(len - standing.connections);
                bar.set_message(standing.line());
            }
            Board::Lines { shown } => {
                // Each second that brought something new.
                let line = standing.line();
                let of = |line: &str| line.split_once("; gone").map(|(counts, _)| counts.to_owned());
                if of(&line) != of(shown) {
                    let _unheard = say(&format!("{line}\n"));
                    *shown = line;
                }
            }
        }
    }

    fn end(&self) {
        match self {
            Board::Bar(bar) => bar.finish_and_clear(),
            Board::Lines { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::progress::{Progress, Unfinished};
    use crate::drain::{Cause, Phase, Plan};

    #[test]
    fn what_a_gateway_reports_is_read() {
        let progress = Progress {
            phase: Phase::Moving,
            began: Some((Cause::Operator, 1_763_770_000_000)),
            plan: Plan::default(),
            elapsed: Duration::from_millis(4_200),
            connections: 9,
            told: 8,
            moved: 7,
            stragglers: 6,
            unfinished: Unfinished { appends: 5, closes: 4, bytes: 3 },
        };
        let standing = Standing::read(&progress.json()).expect("its own report");
        assert_eq!(standing.line(), "moving: 9 connections left, 7 moved, 6 closed; gone in 24 s at most");
        assert_eq!((standing.since, standing.unfinished), (Some(1_763_770_000_000), [5, 4, 3]));
        assert_eq!(Standing::read("<html>"), None);
    }
}
