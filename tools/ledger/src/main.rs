//! Checks the promises of a chat gateway while it is restarted, killed and disconnected.
//!
//! Many clients behave as an SDK does: they publish, subscribe, recover and move while faults happen. Every attempt,
//! answer, delivery and end is recorded in a ledger, which is compared with the store at the end.

mod arguments;
mod clock;
mod crowd;
mod gateway;
mod ledger;
mod report;
mod scenario;
#[path = "../../../tests/servers/mod.rs"]
mod servers;

use arguments::{Arguments, Common, Scenario};
use clap::Parser as _;
use gateway::Program;
use report::Report;
use seawall_load::socket;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { common, scenario } = Arguments::parse();
    clock::now();
    socket::raise_descriptors();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // If this fails, the signal ends the program at once, and only its folders stay behind.
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

/// The message for an interrupted run; other panics continue.
fn interrupted(panic: Box<dyn std::any::Any + Send>) -> String {
    if panic.is::<clock::Interrupted>() {
        return "interrupted; everything that was started has been stopped".to_owned();
    }
    std::panic::resume_unwind(panic)
}

fn play(common: &Common, scenario: &Scenario) -> Result<Report, String> {
    let program = Program::new(&binary(common)?)?;
    fastrand::seed(common.seed);
    let report = match scenario {
        Scenario::Faults(arguments) => scenario::faults::run(common, program, arguments),
        Scenario::Cluster(arguments) => scenario::cluster::run(common, program, arguments),
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

/// The gateway's binary: the one given, else the one next to this program.
fn binary(common: &Common) -> Result<PathBuf, String> {
    let named = common.gateway.clone().or_else(|| std::env::var_os("SEAWALL_TEST_BINARY").map(PathBuf::from));
    let sibling = || std::env::current_exe().ok()?.parent().map(|folder| folder.join("seawall"));
    let path = named
        .or_else(sibling)
        .ok_or("--gateway FILE is needed, because this program does not know its own location")?;
    path.canonicalize()
        .map_err(|error| format!("{}: {error}; build it first, or set --gateway", path.display()))
}
