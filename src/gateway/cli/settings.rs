//! The flags that set the configuration.

use crate::gateway::config::sources::{ConfigSources, FileSource, FlagArgument};
use clap::{Arg, ArgAction, Args, Command};
use std::path::PathBuf;

/// The file that is read, if it exists, unless `--config` names another.
const DEFAULT_FILE: &str = "seawall.toml";

/// All values are text: the table of settings checks them like any other source.
#[derive(Args, Debug)]
#[command(next_help_heading = "Configuration")]
pub(super) struct Settings {
    /// The configuration file [default: ./seawall.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// The address of the client listener [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    /// The folder of the SQLite store [default: data]
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    data: Option<String>,
    /// The number of reactor threads; 0 is one per core [default: 0]
    #[arg(long, global = true, value_name = "N", allow_hyphen_values = true)]
    pub(super) reactors: Option<String>,
    /// Serve /echo, which sends each message back
    #[arg(long, global = true)]
    echo: bool,
    /// The format of the log on stderr: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// The least severe level that is logged: error, warn, info or debug [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Settings {
    pub(super) fn sources(self) -> ConfigSources {
        let flags = [
            ("--listen", self.listen),
            ("--data", self.data),
            ("--reactors", self.reactors),
            ("--echo", self.echo.then(|| "true".to_owned())),
            ("--log-format", self.log_format),
            ("--log-level", self.log_level),
        ];
        ConfigSources {
            file: self.config.map_or_else(|| FileSource::IfPresent(DEFAULT_FILE.into()), FileSource::Named),
            variables: std::env::vars_os().collect(),
            flags: flags
                .into_iter()
                .filter_map(|(name, value)| value.map(|value| FlagArgument { name, value }))
                .collect(),
        }
    }
}

/// The flags that only `serve` reads. The other commands accept them, and do not list them in their help.
const FLAGS_OF_SERVE: [(&str, ArgAction); 2] = [("echo", ArgAction::SetTrue), ("reactors", ArgAction::Set)];

/// Adds them to a command.
pub(super) fn accept_flags_of_serve(command: Command) -> Command {
    let hidden = |(name, action)| Arg::new(name).long(name).action(action).hide(true);
    command.args(FLAGS_OF_SERVE.map(hidden))
}
