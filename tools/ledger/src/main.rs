//! Keeps account of what a chat gateway promised while it is restarted, killed and cut off.
//!
//! Many clients that do what an SDK does publish, subscribe, recover and move while faults happen. Every attempt, answer,
//! delivery and end is taken down in a ledger, and at the end the ledger is held against the store.

mod arguments;
mod clock;
mod crowd;
mod ledger;
mod report;
mod scenario;
#[path = "../../../tests/servers/mod.rs"]
mod servers;
mod stand;

use arguments::{Arguments, Common, Scenario};
use clap::Parser as _;
use report::Report;
use seawall_load::socket;
use stand::Program;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { common, scenario } = Arguments::parse();
    clock::now();
    socket::raise_descriptors();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Without it the signal ends us at once, and only our folders stay.
        let _ = signal_hook::flag::register(signal, std::sync::Arc::clone(&clock::INTERRUPTED));
    }
    let played = std::panic::catch_unwind(|| play(&common, &scenario));
    match played.unwrap_or_else(|panic| Err(interrupted(panic))) {
        Ok(report) => {
            println!("{}", report.text());
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("seawall-ledger: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What to say when the run was unwound; a panic goes on.
fn interrupted(panic: Box<dyn std::any::Any + Send>) -> String {
    if panic.is::<clock::Interrupted>() {
        return "interrupted; all that was started has ended".to_owned();
    }
    std::panic::resume_unwind(panic)
}

fn play(common: &Common, scenario: &Scenario) -> Result<Report, String> {
    let program = Program::new(&binary(common)?)?;
    fastrand::seed(common.seed);
    let report = match scenario {
        Scenario::Faults(arguments) => scenario::faults::run(common, program, arguments),
        Scenario::Drain(arguments) => scenario::drain::run(common, program, arguments),
        Scenario::Crash(arguments) => scenario::crash::run(common, &program, arguments),
        Scenario::Storm(arguments) => scenario::storm::run(common, &program, arguments),
    }?;
    if let Some(path) = &common.json {
        let text = format!("{}\n", report.json());
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report)
}

/// The gateway that was named, else the one beside this program.
fn binary(common: &Common) -> Result<PathBuf, String> {
    let named = common.gateway.clone().or_else(|| std::env::var_os("SEAWALL_TEST_BINARY").map(PathBuf::from));
    let beside = || std::env::current_exe().ok()?.parent().map(|folder| folder.join("seawall"));
    let path =
        named.or_else(beside).ok_or("--gateway FILE is needed: this program does not know where it is")?;
    path.canonicalize()
        .map_err(|error| format!("{}: {error}: build it first, or name it by --gateway", path.display()))
}
