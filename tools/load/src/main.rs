//! Load for a WebSocket chat gateway, with every reply checked.
//!
//! One thread, one epoll and its own framing: a run measures the server's CPU, memory and response times, never the
//! speed of this program. Figures from a run that saw anything unexpected are worthless, so such a run reports what it
//! saw and exits with 1.

mod arguments;
mod backend;
mod clock;
mod counts;
mod crowd;
mod cursor;
mod dial;
mod faults;
mod leave;
mod member;
mod message;
mod modes;
mod pacer;
mod process;
mod progress;
mod questions;
mod report;
mod tls;
mod token;
mod window;

use arguments::{Arguments, Command};
use clap::Parser as _;
use process::Process;
use seawall_load::{frame, socket, upgrade};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    let report = common.pid.map(Process::new).transpose().and_then(|process| match command {
        Command::Connect(arguments) => modes::connect::run(&common, &arguments, process),
        Command::Idle(arguments) => modes::idle::run(&common, &arguments, process),
        Command::Echo(arguments) => modes::echo::run(&common, &arguments, process),
        Command::Chat(arguments) => modes::chat::run(&common, &arguments, process),
        Command::Fanout(arguments) => modes::fanout::run(&common, &arguments, process),
        Command::Publish(arguments) => modes::publish::run(&common, &arguments, process),
        Command::Signal(arguments) => modes::signal::run(&common, &arguments, process),
        Command::Api(arguments) => modes::api::run(&common, &arguments, process),
        Command::Roster(arguments) => modes::roster::run(&common, &arguments, process),
        Command::Storm(arguments) => modes::storm::run(&common, &arguments, process),
        Command::Tokens(arguments) => modes::tokens::run(&common, &arguments, process),
        Command::Relay(arguments) => modes::relay::run(&common, &arguments, process),
        Command::SlowBackend(arguments) => modes::slow_backend::run(&common, &arguments),
    });
    match report {
        Ok(report) => {
            let clean = report.clean;
            println!("{}", report.line());
            if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("seawall-load: {message}");
            ExitCode::from(2)
        }
    }
}
