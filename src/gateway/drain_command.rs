//! `seawall drain`: begins or watches a drain of the running gateway with this configuration, through its admin listener.

use super::admin::{self, TokenPlace};
use super::config::Config;
use super::output;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Time between two requests while watching.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// Timeout to connect, and of one response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A response is a few hundred bytes.
const RESPONSE_BYTES_MAX: u64 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainAction {
    Begin,
    /// Watch the drain until the process is gone.
    Watch,
}

/// Runs the command. The exit code is 1 if it fails, or if a watched drain leaves work unfinished.
pub(super) fn drain(config: &Config, action: DrainAction) -> ExitCode {
    let done = Remote::of(config).and_then(|remote| match action {
        DrainAction::Begin => remote.begin(),
        DrainAction::Watch => remote.watch(),
    });
    match done {
        Ok(code) => code,
        Err(message) => {
            output::fail(&message);
            ExitCode::FAILURE
        }
    }
}

/// The admin listener of a gateway.
struct Remote {
    address: SocketAddr,
    token: String,
    place: TokenPlace,
}

/// The response of `/drain`: the progress of a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DrainReport {
    phase: String,
    /// Unix milliseconds; `None` if there is no drain.
    since: Option<u64>,
    elapsed_ms: u64,
    exit_ms: u64,
    connections: u64,
    moved: u64,
    stragglers: u64,
    /// Abandoned publishes, closes and bytes.
    unfinished: [u64; 3],
}

/// A request without a report.
enum NoReport {
    /// No process listens at the address, or it has exited.
    Gone,
    /// The error to print.
    Failed(String),
}

impl Remote {
    fn of(config: &Config) -> Result<Remote, String> {
        let listen = config.admin.listen.ok_or(
            "admin.listen is \"off\", so the gateway cannot be reached: send its process SIGTERM, which also drains it",
        )?;
        if listen.port() == 0 {
            return Err(
                "admin.listen has port 0, so the port of the gateway is unknown: set a fixed port".into()
            );
        }
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let (token, place) = admin::token_of(config)?;
        let token = String::from_utf8_lossy(&token).into_owned();
        Ok(Remote { address: SocketAddr::new(ip, listen.port()), token, place })
    }

    fn begin(&self) -> Result<ExitCode, String> {
        let before = self.ask("GET").map_err(|failure| self.message(failure))?;
        let report = self.ask("POST").map_err(|failure| self.message(failure))?;
        let (connections, left_s) = (report.connections, report.left_s());
        let began = if before.since.is_some() { "already draining" } else { "draining" };
        Ok(output::print(&format!(
            "{began}: {}, {connections} connections; exits within {left_s} s, earlier if all clients leave\n\
             to watch: seawall drain --status\n",
            report.phase
        )))
    }

    fn watch(&self) -> Result<ExitCode, String> {
        let mut last = self.ask("GET").map_err(|failure| self.message(failure))?;
        if last.since.is_none() {
            let connections = last.connections;
            return Ok(output::print(&format!(
                "serving, {connections} connections; not draining (seawall drain begins a drain)\n"
            )));
        }
        let mut display = ProgressDisplay::new(last.connections + last.moved + last.stragglers);
        loop {
            display.show(&last);
            std::thread::park_timeout(LOOK_PERIOD);
            match self.ask("GET") {
                Ok(next) if next.since == last.since => last = next,
                // The process has exited, or another one has replaced it.
                Ok(_) | Err(NoReport::Gone) => break,
                Err(failure) => {
                    display.end();
                    return Err(self.message(failure));
                }
            }
        }
        display.end();
        Ok(last.verdict())
    }

    fn ask(&self, method: &str) -> Result<DrainReport, NoReport> {
        let response = self.call(method).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => NoReport::Gone,
            _ => NoReport::Failed(format!(
                "cannot reach the gateway at {} (admin.listen): {error}",
                self.address
            )),
        })?;
        let (head, body) = response.split_once("\r\n\r\n").ok_or(NoReport::Gone)?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        match status {
            "200" => DrainReport::read(body).ok_or_else(|| self.not_a_gateway()),
            "401" => Err(NoReport::Failed(format!(
                "the gateway at {} rejects this token ({}): use the store.data or admin.token that it was started with",
                self.address,
                self.place.describe()
            ))),
            _ => Err(self.not_a_gateway()),
        }
    }

    fn not_a_gateway(&self) -> NoReport {
        NoReport::Failed(format!(
            "the process at {} (admin.listen) is not a gateway, or is an older version without /drain",
            self.address
        ))
    }

    fn call(&self, method: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, RESPONSE_TIMEOUT)?;
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        stream.set_write_timeout(Some(RESPONSE_TIMEOUT))?;
        let (address, token) = (self.address, &self.token);
        let head = format!(
            "{method} /drain HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut response = String::new();
        stream.take(RESPONSE_BYTES_MAX).read_to_string(&mut response)?;
        Ok(response)
    }

    fn message(&self, failure: NoReport) -> String {
        match failure {
            NoReport::Gone => format!(
                "no process answers at {} (admin.listen): no gateway runs here, or its configuration is different",
                self.address
            ),
            NoReport::Failed(message) => message,
        }
    }
}

impl DrainReport {
    fn read(body: &str) -> Option<DrainReport> {
        let body: Value = serde_json::from_str(body).ok()?;
        let number = |path: &str| body.pointer(path).and_then(Value::as_u64);
        Some(DrainReport {
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

    /// The most seconds until the exit.
    fn left_s(&self) -> u64 {
        self.exit_ms.saturating_sub(self.elapsed_ms).div_ceil(1_000)
    }

    fn line(&self) -> String {
        let DrainReport { phase, connections, moved, stragglers, .. } = self;
        format!(
            "{phase}: {connections} connections left, {moved} moved, {stragglers} closed; exits within {} s",
            self.left_s()
        )
    }

    /// Prints the outcome, as of the last report.
    fn verdict(&self) -> ExitCode {
        let (moved, stragglers) = (self.moved, self.stragglers);
        let seconds = self.elapsed_ms as f64 / 1_000.0;
        let exited = format!("exited after {seconds:.1} s: {moved} moved, {stragglers} closed\n");
        match self.unfinished {
            [0, 0, 0] => output::print(&exited),
            [appends, closes, bytes] => {
                let _ = output::print(&exited);
                output::fail(&format!(
                    "work was unfinished: {appends} publishes without a reply, {closes} closes, {bytes} bytes"
                ));
                ExitCode::FAILURE
            }
        }
    }
}

/// Shows the progress: a bar on a terminal, else a line for each change.
enum ProgressDisplay {
    Bar(ProgressBar),
    Lines { shown: String },
}

impl ProgressDisplay {
    fn new(connections: u64) -> ProgressDisplay {
        if !io::stderr().is_terminal() {
            return ProgressDisplay::Lines { shown: String::new() };
        }
        let bar = ProgressBar::new(connections.max(1));
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} clients left, {msg}") {
            bar.set_style(style);
        }
        ProgressDisplay::Bar(bar)
    }

    fn show(&mut self, report: &DrainReport) {
        match self {
            ProgressDisplay::Bar(bar) => {
                let len = bar.length().unwrap_or(1).max(report.connections);
                bar.set_length(len);
                bar.set_position(len - report.connections);
                bar.set_message(report.line());
            }
            ProgressDisplay::Lines { shown } => {
                let line = report.line();
                let of = |line: &str| line.split_once("; exits").map(|(counts, _)| counts.to_owned());
                if of(&line) != of(shown) {
                    let _ = output::print(&format!("{line}\n"));
                    *shown = line;
                }
            }
        }
    }

    fn end(&self) {
        match self {
            ProgressDisplay::Bar(bar) => bar.finish_and_clear(),
            ProgressDisplay::Lines { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::progress::{Progress, Unfinished};
    use crate::drain::{DrainCause, DrainPhase, Plan};

    #[test]
    fn report_of_a_gateway_is_read() {
        let progress = Progress {
            phase: DrainPhase::Moving,
            began: Some((DrainCause::Operator, 1_763_770_000_000)),
            plan: Plan::default(),
            elapsed: Duration::from_millis(4_200),
            connections: 9,
            notified: 8,
            moved: 7,
            stragglers: 6,
            unfinished: Unfinished { appends: 5, closes: 4, bytes: 3 },
        };
        let report = DrainReport::read(&progress.json()).expect("its own report");
        assert_eq!(report.line(), "moving: 9 connections left, 7 moved, 6 closed; exits within 24 s");
        assert_eq!((report.since, report.unfinished), (Some(1_763_770_000_000), [5, 4, 3]));
        assert_eq!(DrainReport::read("<html>"), None);
    }
}
