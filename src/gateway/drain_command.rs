//! `seawall drain`: begins or watches a drain of the running gateway, through its admin listener.

use super::config::Config;
use super::output::{self, counted};
use super::remote::{Remote, RemoteFailure};
use super::running::RunningGateway;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

/// Time between two requests while watching.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
const PATH: &str = "/drain";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainAction {
    Begin,
    /// Watch the drain until the process is gone.
    Watch,
}

/// Runs the command. The exit code is 1 if it fails, or if a watched drain leaves work unfinished.
pub(super) fn drain(config: &Config, running: Option<&RunningGateway>, action: DrainAction) -> ExitCode {
    let done = Remote::of(config, running).and_then(|remote| match action {
        DrainAction::Begin => begin(&remote),
        DrainAction::Watch => watch(&remote),
    });
    match done {
        Ok(code) => code,
        Err(message) => {
            output::fail(&message);
            ExitCode::FAILURE
        }
    }
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

fn begin(remote: &Remote) -> Result<ExitCode, String> {
    let before = ask(remote, "GET").map_err(|failure| remote.message(failure))?;
    let report = ask(remote, "POST").map_err(|failure| remote.message(failure))?;
    let (connections, left_s) = (counted(report.connections, "connection"), report.left_s());
    let began = if before.since.is_some() { "already draining" } else { "draining" };
    Ok(output::print(&format!(
        "{began}: {}, {connections}; exits within {left_s} s, earlier if all clients leave\n\
         to watch: seawall drain --status\n",
        report.phase
    )))
}

fn watch(remote: &Remote) -> Result<ExitCode, String> {
    let mut last = ask(remote, "GET").map_err(|failure| remote.message(failure))?;
    if last.since.is_none() {
        let connections = counted(last.connections, "connection");
        return Ok(output::print(&format!(
            "serving, {connections}; not draining (seawall drain begins a drain)\n"
        )));
    }
    let mut display = ProgressDisplay::new(last.connections + last.moved + last.stragglers);
    loop {
        display.show(&last);
        std::thread::park_timeout(LOOK_PERIOD);
        match ask(remote, "GET") {
            Ok(next) if next.since == last.since => last = next,
            // The process has exited, or another one has replaced it.
            Ok(_) | Err(RemoteFailure::Gone) => break,
            Err(failure) => {
                display.end();
                return Err(remote.message(failure));
            }
        }
    }
    display.end();
    Ok(last.verdict())
}

fn ask(remote: &Remote, method: &str) -> Result<DrainReport, RemoteFailure> {
    let answer = remote.ask(method, PATH)?;
    let report = if answer.status == 200 { DrainReport::read(&answer.body) } else { None };
    report.ok_or_else(|| remote.not_a_gateway(PATH))
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
        let DrainReport { phase, moved, stragglers, .. } = self;
        let connections = counted(self.connections, "connection");
        format!(
            "{phase}: {connections} left, {moved} moved, {stragglers} closed; exits within {} s",
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
