//! Composition: configuration, threads, signals, drain.

pub mod cli;
pub mod config;

use config::Config;
use std::process::ExitCode;

/// Serves until a signal ends it.
pub fn run(_config: Config) -> ExitCode {
    eprintln!("seawall: serve is not built yet");
    ExitCode::FAILURE
}

/// Gives every log of the store a new epoch: for after a restore.
pub fn new_epoch(_config: Config) -> ExitCode {
    eprintln!("seawall: store new-epoch is not built yet");
    ExitCode::FAILURE
}
