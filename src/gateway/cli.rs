//! The command line: arguments to a configuration, and a configuration to what is asked of it.

mod drain;

use super::config::error::ConfigError;
use super::config::source::{FileSource, Flag, Sources};
use super::config::{self, Config, print};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// The file that is read without being named.
const DEFAULT_FILE: &str = "seawall.toml";
/// Exit code of a wrong configuration, as of wrong arguments.
pub(super) const WRONG_CONFIGURATION: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  seawall                                  serve on 127.0.0.1:8080, SQLite in ./data, auth off
  seawall --listen 127.0.0.1:9000 --echo   the same on another port, with /echo
  seawall --config /etc/seawall.toml       with a file
  SEAWALL_AUTH_SECRET=… seawall --listen 0.0.0.0:8080
                                           for the network: that takes a key of at least 32 bytes
  SEAWALL_TLS_CERTIFICATE=tls.crt SEAWALL_TLS_KEY=tls.key seawall
                                           over wss:// and https://
  seawall check-config                     what it would run with, and where each value came from
  seawall check-config > effective.toml    the same as a file to start from
  seawall doctor                           whether what it stands on answers
  seawall drain                            end a running one: its clients move first
  seawall drain --status                   watch that
  curl -H \"Authorization: Bearer $(cat data/admin.token)\" http://127.0.0.1:8081/health/dependencies
                                           ask a running one as an operator
  seawall completions bash > /etc/bash_completion.d/seawall

Configuration, each over the one before:
  1. defaults
  2. a TOML file: --config FILE, else ./seawall.toml if there is one
         [limits]
         publishes_per_s = 50
  3. variables: SEAWALL_, the section, an underscore, the key; lists with commas
         SEAWALL_LIMITS_PUBLISHES_PER_S=50
         SEAWALL_SERVER_ORIGINS=https://chat.example.com,https://example.com
  4. flags

An unknown key or variable is an error. All errors are reported at once.

Exit codes: 0 fine, 1 failed, 2 wrong configuration or arguments; those of doctor stand in its help.";

/// A WebSocket chat gateway that stores what it acknowledges and says what it cannot do.
#[derive(Debug, Parser)]
#[command(name = "seawall", version, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until a signal ends it. What happens without a command
    Serve,
    /// Print the effective configuration and where each value came from; exit with 2 if it is wrong
    CheckConfig,
    /// Look at every dependency once and print what answers; exit with 1 if an optional one does not, 2 if a critical one
    Doctor,
    /// Drain the gateway that runs with this configuration: its clients move, then it ends. Asked through the admin listener
    Drain {
        /// Only watch a drain, until the process is gone; exit with 1 if it left something unfinished
        #[arg(long)]
        status: bool,
    },
    /// Print version, protocol and target
    Version,
    /// Print a shell's completions
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Tend the store
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Give every log a new epoch, after a restore: clients then read again instead of trusting their offsets
    NewEpoch,
}

/// Text throughout: the table of settings checks these like any other source.
#[derive(Args, Debug)]
#[command(next_help_heading = "Configuration")]
struct Settings {
    /// The configuration file [default: ./seawall.toml if there is one]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Address of the listener [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    /// Folder of the SQLite store [default: data]
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    data: Option<String>,
    /// Reactor threads; 0: one per core [default: 0]
    #[arg(long, global = true, value_name = "N", allow_hyphen_values = true)]
    reactors: Option<String>,
    /// Serve /echo: each message sent back
    #[arg(long, global = true)]
    echo: bool,
    /// Form of the log on stderr: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Least important level that is logged: error, warn, info or debug [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Settings {
    fn sources(self) -> Sources {
        let flags = [
            ("--listen", self.listen),
            ("--data", self.data),
            ("--reactors", self.reactors),
            ("--echo", self.echo.then(|| "true".to_owned())),
            ("--log-format", self.log_format),
            ("--log-level", self.log_level),
        ];
        Sources {
            file: self.config.map_or_else(|| FileSource::IfPresent(DEFAULT_FILE.into()), FileSource::Named),
            variables: std::env::vars_os().collect(),
            flags: flags
                .into_iter()
                .filter_map(|(name, value)| value.map(|value| Flag { name, value }))
                .collect(),
        }
    }
}

/// Does what the arguments of this process ask.
pub fn main() -> ExitCode {
    let Arguments { command, settings } = Arguments::parse();
    match command {
        None | Some(Command::Serve) => {
            let sources = settings.sources();
            match config::load(&sources) {
                Ok(config) => super::run(config, sources),
                Err(error) => refuse(&error),
            }
        }
        Some(Command::CheckConfig) => configured(settings, |config| say(&print::listing(&config))),
        Some(Command::Doctor) => configured(settings, super::doctor),
        Some(Command::Drain { status }) => {
            let wanted = if status { drain::Wanted::Watch } else { drain::Wanted::Begin };
            configured(settings, |config| drain::drain(&config, wanted))
        }
        Some(Command::Version) => say(&version()),
        Some(Command::Completions { shell }) => say(&completions(shell)),
        Some(Command::Store { command: StoreCommand::NewEpoch }) => configured(settings, super::new_epoch),
    }
}

fn configured(settings: Settings, act: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match config::load(&settings.sources()) {
        Ok(config) => act(config),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &ConfigError) -> ExitCode {
    // With stderr closed the exit code still tells.
    let _unheard = write!(io::stderr(), "{error}");
    ExitCode::from(WRONG_CONFIGURATION)
}

pub(super) fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // `seawall check-config | head` took what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _unheard = writeln!(io::stderr(), "seawall: cannot write to stdout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn version() -> String {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let target = format!("{}-{}-{libc}", std::env::consts::ARCH, std::env::consts::OS);
    format!("seawall {}\nprotocol seawall.v1\ntarget {target}\n", env!("CARGO_PKG_VERSION"))
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "seawall", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::table;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_table_is_an_argument_and_reaches_its_setting() {
        for setting in table::all() {
            let Some(flag) = setting.flag else { continue };
            let arguments: &[&str] =
                if flag == "--echo" { &["seawall", flag] } else { &["seawall", flag, "value"] };
            let parsed = Arguments::try_parse_from(arguments).expect(flag);
            let names: Vec<_> = parsed.settings.sources().flags.iter().map(|flag| flag.name).collect();
            assert_eq!(names, [flag]);
        }
    }
}
