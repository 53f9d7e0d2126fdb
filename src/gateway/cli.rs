//! The command line: arguments become a configuration, and the command runs with it.

mod argument;
mod run;
mod settings;
mod user;
mod which;

use super::alert_command::{AlertArguments, AlertCommand};
use super::cluster_command::ClusterArguments;
use super::config::{self, show};
use super::console_command::ConsoleArguments;
use super::demo::DemoArguments;
use super::doctor_command;
use super::drain_command::{self, DrainAction};
use super::exclusion_command;
use super::health_command::{self, HealthQuestion};
use super::lookup_command::LookupSubject;
use super::objectives_command::ObjectivesArguments;
use super::order_command::OrderTask;
use super::output;
use super::presence_command;
use super::rebalance_command::RebalanceArguments;
use super::relay_command::RelayCommand;
use super::slo_command::{self, SloCommand};
use super::token_command::TokenArguments;
use super::{serve, store_command};
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use run::{alerting, backing_up, configured, looking_up, operating, ordering, restoring, showing};
use settings::Settings;
use std::path::PathBuf;
use std::process::ExitCode;
use user::{UserCommand, UserTask};
use which::Which;

const EXAMPLES: &str = "\
Examples:
  seawall                                  serve on 127.0.0.1:8080 with SQLite in ./data and auth off
  seawall --listen 127.0.0.1:9000 --echo   the same on another port, with /echo
  seawall --config /etc/seawall.toml       serve with a configuration file
  SEAWALL_AUTH_SECRET=… seawall --listen 0.0.0.0:8080
                                           serve the network, which needs a key of at least 32 bytes
  SEAWALL_TLS_CERTIFICATE=tls.crt SEAWALL_TLS_KEY=tls.key seawall
                                           serve wss:// and https://
  seawall check-config                     print the effective configuration and the origin of each value
  seawall check-config > effective.toml    save it as a file to start from
  seawall doctor                           show every dependency as the running gateway sees it, or probe each once
  seawall health                           exit with 0 if the running gateway is alive
  seawall demo                             chat with robots, and pull the plug on what they need
  seawall console                          print a link to the console, which works once
  seawall user sessions ann                show why ann was disconnected
  seawall presence lobby                   show which users are present in a channel
  seawall user block ann --reason spam     end the sessions of ann on all instances, and refuse ann from then on
  seawall token --sub ann --channel 'room.*=subscribe,publish' --ttl 1h
                                           print a token signed with the configured HS256 secret
  seawall drain                            stop a running gateway after its clients have moved
  seawall drain --status                   watch that drain
  seawall backup --keep 14                 copy the store while the gateway runs, and keep the newest 14 copies
  curl -H \"Authorization: Bearer $(cat data/admin.token)\" http://127.0.0.1:8081/health/dependencies
                                           query a running gateway as an operator
  seawall relay status                     print what waits for each backend, and since when
  seawall relay try --route assistant      send a signed test to a backend, and print the response
  seawall slo                              print how well a running gateway keeps its objectives
  seawall slo report --week 2026-W48       print the report of a week
  seawall alert                            print incidents, silences and channels of a running gateway
  seawall alert test                       send a test to every configured channel, and print the answers
  seawall slo simulate delivery            print how soon burn-rate alerts of an objective notify
  seawall slo export --format prometheus > /etc/prometheus/seawall-slo.yaml
                                           print rules for Prometheus from the same objectives
  seawall completions bash > /etc/bash_completion.d/seawall

Configuration sources, each overriding the one before:
  1. defaults
  2. a TOML file: --config FILE, else ./seawall.toml if it exists
         [limits]
         publishes_per_s = 50
  3. variables: SEAWALL_, the section, an underscore, the key; lists are separated by commas
         SEAWALL_LIMITS_PUBLISHES_PER_S=50
         SEAWALL_SERVER_ORIGINS=https://chat.example.com,https://example.com
  4. flags

An unknown key or SEAWALL_ variable is an error. All errors are reported at once.

Exit codes: 0 success, 1 failure, 2 wrong configuration or arguments. `doctor` exits with 1 if an optional dependency fails,
and with 3 if a critical one does.";

/// A WebSocket chat gateway that stores every publication it acknowledges and tells clients what it cannot do.
#[derive(Debug, Parser)]
#[command(name = "seawall", version, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Serve until a signal stops the process. This is the default command
    Serve,
    /// Print the effective configuration and the origin of each value; exit with 2 if it has errors
    CheckConfig,
    /// Print the state of every dependency as the running gateway sees it, or probe each once if none runs; exit with 1 if an
    /// optional one fails, 3 if a critical one does
    Doctor {
        /// Probe with the configuration and from the network of this shell, even if a gateway runs
        #[arg(long)]
        here: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Drain the running gateway, through its admin listener: its clients move, then it exits
    Drain {
        /// Only watch a drain until the process exits; exit with 1 if it leaves work unfinished
        #[arg(long)]
        status: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Print a link to the console of the running gateway; it works once, within a minute
    Console {
        #[command(flatten)]
        arguments: ConsoleArguments,
        #[command(flatten)]
        which: Which,
    },
    /// Run a gateway with three robots, a service and a network that a button in the page unplugs; Ctrl-C removes all of it
    Demo {
        #[command(flatten)]
        arguments: DemoArguments,
    },
    /// Spread the clients of all instances evenly for 15 minutes: full instances ask clients to move, and close none
    Rebalance {
        #[command(flatten)]
        arguments: RebalanceArguments,
        #[command(flatten)]
        which: Which,
    },
    /// List the instances that share the store, their states and their load, as the running gateway knows them
    Cluster {
        #[command(flatten)]
        arguments: ClusterArguments,
        #[command(flatten)]
        which: Which,
    },
    /// Ask the running gateway whether it is alive, for a health check of a container; exit with 1 if it is not
    Health {
        /// Ask whether new clients may be sent to it
        #[arg(long)]
        ready: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Look up a connection of the running gateway
    Connection {
        #[command(subcommand)]
        command: ConnectionCommand,
    },
    /// Look up a user of the running gateway, or end its sessions on all instances
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Print the users that are present in a channel of the running gateway
    Presence {
        /// The channel
        #[arg(value_name = "CHANNEL", value_parser = argument::channel)]
        channel: String,
        #[command(flatten)]
        which: Which,
    },
    /// Print which instances have carried an order out, and the sessions that it closed; exit with 1 if one has not
    Order {
        /// The number of the order, which the command that gave it printed
        #[arg(value_name = "N", value_parser = argument::order)]
        number: u64,
        #[command(flatten)]
        which: Which,
    },
    /// Print a token that the configuration accepts, make a key for tokens, or explain a token
    Token {
        #[command(flatten)]
        arguments: Box<TokenArguments>,
    },
    /// Print how well the running gateway keeps its objectives, or simulate the alerts of one; exit with 1 if a budget is spent,
    /// 2 if it is not known
    #[command(args_conflicts_with_subcommands = true)]
    Slo {
        #[command(subcommand)]
        command: Option<SloCommand>,
        #[command(flatten)]
        arguments: ObjectivesArguments,
        #[command(flatten)]
        which: Which,
    },
    /// Print the incidents of the running gateway, or give an order about them; exit with 1 if one is open, 2 if it is not known
    #[command(args_conflicts_with_subcommands = true)]
    Alert {
        #[command(subcommand)]
        command: Option<AlertCommand>,
        #[command(flatten)]
        arguments: AlertArguments,
        #[command(flatten)]
        which: Which,
    },
    /// Print what waits for the backends of the running gateway, send it again or give it up, try a backend, or end a pause
    Relay {
        #[command(subcommand)]
        command: RelayCommand,
        #[command(flatten)]
        which: Which,
    },
    /// Print the version, commit, protocol and target
    Version,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Copy the SQLite store into a new file, while a gateway runs or not, check the copy, and print what it holds
    Backup {
        /// The folder of backups, made if it is missing [default: backup in the data folder]
        #[arg(value_hint = clap::ValueHint::DirPath)]
        folder: Option<PathBuf>,
        /// Keep only the newest N backups in the folder
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        keep: Option<u16>,
    },
    /// Replace the SQLite store by a backup, with a new epoch; the gateway must be stopped. The old files stay in the data folder
    Restore {
        /// The backup
        #[arg(value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Maintain the store
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConnectionCommand {
    /// Print the user, the times and the end of the session on a connection, open or among the last 4096 of its reactor that ended
    Show {
        /// The name of the connection, from `connected` or a report
        #[arg(value_name = "ID", value_parser = argument::connection)]
        id: String,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Give every log a new epoch, after a restore, so that clients read the logs again instead of trusting their offsets
    NewEpoch,
    /// Delete a channel, or all whose names begin alike, with everything in them; with SQLite the gateway must be stopped
    DropChannel {
        /// The channel, or the beginning of names followed by `*`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Print the schema version of the store, of this program, and the oldest that may use the store; exit with 1 if this
    /// program must not. Changes nothing, and works while a gateway runs
    Version,
}

fn command() -> Command {
    let command = CommandLine::command();
    let names: Vec<String> = command.get_subcommands().map(|each| each.get_name().to_owned()).collect();
    names
        .into_iter()
        .filter(|name| name != "serve")
        .fold(command, |command, name| command.mut_subcommand(name, settings::accept_flags_of_serve))
}

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let CommandLine { command, settings } =
        CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match command {
        None | Some(CliCommand::Serve) => serving(settings),
        Some(CliCommand::CheckConfig) => {
            configured(settings, |config| output::print(&show::listing(&config)))
        }
        Some(CliCommand::Doctor { here: true, which: _ }) => {
            configured(settings, |config| doctor_command::from_here(&config, &serve::instance_name(&config)))
        }
        Some(CliCommand::Doctor { here: false, which }) => operating(settings, &which, |config, running| {
            doctor_command::doctor(&config, running, &serve::instance_name(&config))
        }),
        Some(CliCommand::Drain { status, which }) => {
            let action = if status { DrainAction::Watch } else { DrainAction::Begin };
            operating(settings, &which, |config, running| drain_command::drain(&config, running, action))
        }
        Some(CliCommand::Cluster { arguments, which }) => {
            operating(settings, &which, |config, running| arguments.run(&config, running))
        }
        Some(CliCommand::Console { arguments, which }) => {
            operating(settings, &which, |config, running| arguments.run(&config, running))
        }
        Some(CliCommand::Demo { arguments }) => arguments.run(),
        Some(CliCommand::Rebalance { arguments, which }) => {
            operating(settings, &which, |config, running| arguments.run(&config, running))
        }
        Some(CliCommand::Health { ready, which }) => {
            let question = if ready { HealthQuestion::Ready } else { HealthQuestion::Live };
            operating(settings, &which, |config, running| health_command::health(&config, running, question))
        }
        Some(CliCommand::Connection { command: ConnectionCommand::Show { id, which } }) => {
            looking_up(settings, &which, &LookupSubject::Connection(id))
        }
        Some(CliCommand::User { command }) => match command.task() {
            (UserTask::LookUp(subject), which) => looking_up(settings, &which, &subject),
            (UserTask::Show(name), which) => showing(settings, &which, name),
            (UserTask::Order(task), which) => ordering(settings, &which, &task),
        },
        Some(CliCommand::Relay { command, which }) => {
            operating(settings, &which, |config, running| command.run(&config, running))
        }
        Some(CliCommand::Order { number, which }) => {
            ordering(settings, &which, &OrderTask::Progress { order: number })
        }
        Some(CliCommand::Presence { channel, which }) => {
            operating(settings, &which, |config, running| presence_command::show(&config, running, &channel))
        }
        Some(CliCommand::Token { arguments }) => arguments
            .without_configuration()
            .unwrap_or_else(|| configured(settings, |config| arguments.run(&config))),
        Some(CliCommand::Slo { command, arguments, which }) => slo(settings, command, &arguments, &which),
        Some(CliCommand::Alert { command, arguments, which }) => {
            alerting(settings, command, &arguments, &which)
        }
        Some(CliCommand::Version) => output::print(&version()),
        Some(CliCommand::Completions { shell }) => output::print(&completions(shell)),
        Some(CliCommand::Backup { folder, keep }) => backing_up(settings, folder, keep),
        Some(CliCommand::Restore { file }) => restoring(settings, &file),
        Some(CliCommand::Store { command: StoreCommand::NewEpoch }) => {
            configured(settings, store_command::new_epoch)
        }
        Some(CliCommand::Store { command: StoreCommand::DropChannel { name } }) => {
            configured(settings, |config| store_command::drop_channels(&config, &name))
        }
        Some(CliCommand::Store { command: StoreCommand::Version }) => {
            configured(settings, store_command::version)
        }
    }
}

/// Runs the gateway until it is stopped.
fn serving(settings: Settings) -> ExitCode {
    let sources = settings.sources();
    match config::load(&sources) {
        Ok(config) => serve::run(config, sources),
        Err(error) => serve::refuse(&error),
    }
}

/// Simulates an objective, exports or imports all, or asks the running gateway how well it keeps its own.
fn slo(
    settings: Settings,
    command: Option<SloCommand>,
    arguments: &ObjectivesArguments,
    which: &Which,
) -> ExitCode {
    match command {
        Some(SloCommand::Simulate(arguments)) => slo_command::simulate(&arguments),
        Some(SloCommand::Import(arguments)) => arguments.run(),
        Some(SloCommand::Export(arguments)) => configured(settings, |config| arguments.run(&config)),
        Some(SloCommand::Report(arguments)) => {
            operating(settings, which, |config, running| arguments.run(&config, running))
        }
        Some(SloCommand::History(arguments)) => {
            operating(settings, which, |config, running| arguments.run(&config, running))
        }
        Some(SloCommand::Exclude(arguments)) => {
            operating(settings, which, |config, running| arguments.run(&config, running))
        }
        Some(SloCommand::Exclusions) => {
            operating(settings, which, |config, running| exclusion_command::list(&config, running))
        }
        None => operating(settings, which, |config, running| arguments.run(&config, running)),
    }
}

fn version() -> String {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let target = format!("{}-{}-{libc}", std::env::consts::ARCH, std::env::consts::OS);
    // The build runs no program that could ask git, and sources without a repository can be built as well.
    let commit = option_env!("GIT_COMMIT").unwrap_or("unknown (GIT_COMMIT was not set when it was built)");
    let version = env!("CARGO_PKG_VERSION");
    format!("seawall {version}\ncommit {commit}\nprotocol seawall.v1\ntarget {target}\n")
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "seawall", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests;
