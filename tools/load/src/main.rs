//! Load for a WebSocket chat gateway, with every reply checked.
//!
//! One thread, one epoll, framing of its own: what a run measures is the server's CPU and memory, and how long its
//! answers took, never how fast this program is. A figure from a run that saw anything unexpected is no figure, so
//! such a run says what it saw and exits with 1.

mod arguments;
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
mod process;
mod progress;
mod report;
mod tls;
mod window;

use arguments::{Arguments, Mode};
use clap::Parser as _;
use process::Process;
use seawall_load::{frame, socket, upgrade};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { common, mode } = Arguments::parse();
    let report = common.pid.map(Process::new).transpose().and_then(|process| match mode {
        Mode::Connect(arguments) => modes::connect::run(&common, &arguments, process),
        Mode::Idle(arguments) => modes::idle::run(&common, &arguments, process),
        Mode::Echo(arguments) => modes::echo::run(&common, &arguments, process),
        Mode::Chat(arguments) => modes::chat::run(&common, &arguments, process),
        Mode::Fanout(arguments) => modes::fanout::run(&common, &arguments, process),
        Mode::Publish(arguments) => modes::publish::run(&common, &arguments, process),
        Mode::Signal(arguments) => modes::signal::run(&common, &arguments, process),
        Mode::Storm(arguments) => modes::storm::run(&common, &arguments, process),
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
