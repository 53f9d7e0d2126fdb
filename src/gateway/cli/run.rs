//! Commands with a configuration, and with the gateway that runs with it.

use super::settings::Settings;
use super::which::Which;
use crate::gateway::alert_command::{self, AlertArguments, AlertCommand};
use crate::gateway::config::sources::{ConfigSources, FileSource};
use crate::gateway::config::{self, Config};
use crate::gateway::lookup_command::{self, LookupSubject};
use crate::gateway::order_command::{self, OrderTask};
use crate::gateway::output;
use crate::gateway::running::RunningGateway;
use crate::gateway::store_command;
use crate::gateway::user_command;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The file that commands about a running gateway read if there is no configuration here. `serve` never does.
const SYSTEM_FILE: &str = "/etc/seawall/seawall.toml";

/// Runs a command about orders.
pub(super) fn ordering(settings: Settings, which: &Which, task: &OrderTask) -> ExitCode {
    operating(settings, which, |config, running| order_command::run(&config, running, task))
}

/// Shows where a user is connected.
pub(super) fn showing(settings: Settings, which: &Which, user: String) -> ExitCode {
    operating(settings, which, |config, running| user_command::show(&config, running, user))
}

/// Runs a command about sessions.
pub(super) fn looking_up(settings: Settings, which: &Which, subject: &LookupSubject) -> ExitCode {
    operating(settings, which, |config, running| lookup_command::show(&config, running, subject))
}

/// Runs a command about incidents.
pub(super) fn alerting(
    settings: Settings,
    command: Option<AlertCommand>,
    arguments: &AlertArguments,
    which: &Which,
) -> ExitCode {
    operating(settings, which, |config, running| {
        alert_command::run(command.as_ref(), arguments, &config, running)
    })
}

/// Copies the store.
pub(super) fn backing_up(settings: Settings, folder: Option<PathBuf>, keep: Option<u16>) -> ExitCode {
    configured(settings, |config| store_command::backup(&config, folder, keep))
}

/// Replaces the store by a backup.
pub(super) fn restoring(settings: Settings, file: &Path) -> ExitCode {
    configured(settings, |config| store_command::restore(&config, file))
}

/// Runs a command about a running gateway.
pub(super) fn operating(
    settings: Settings,
    which: &Which,
    act: impl FnOnce(Config, Option<&RunningGateway>) -> ExitCode,
) -> ExitCode {
    let sources = settings.sources();
    let is_default = sources.are_absent();
    with_configuration(&sources, |config| {
        let is_asked =
            |running: &RunningGateway| which.instance.as_ref().is_none_or(|name| *name == running.instance);
        let found = match RunningGateway::in_folder(&config.store.data).filter(is_asked) {
            Some(running) => Ok(Some(running)),
            None if is_default || which.instance.is_some() => {
                RunningGateway::of_units(which.instance.as_deref())
            }
            None => Ok(None),
        };
        match found {
            Ok(None) if is_default && Path::new(SYSTEM_FILE).exists() => {
                let sources =
                    ConfigSources { file: FileSource::Named(SYSTEM_FILE.into()), ..sources.clone() };
                with_configuration(&sources, |config| {
                    let running = RunningGateway::in_folder(&config.store.data);
                    act(config, running.as_ref())
                })
            }
            Ok(running) => act(config, running.as_ref()),
            Err(message) => {
                output::fail(&message);
                ExitCode::FAILURE
            }
        }
    })
}

/// Runs a command with a configuration alone.
pub(super) fn configured(settings: Settings, act: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    with_configuration(&settings.sources(), act)
}

fn with_configuration(sources: &ConfigSources, act: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match config::load(sources) {
        Ok(config) => {
            for warning in &config.warnings {
                output::warn(&warning.to_string());
            }
            act(config)
        }
        Err(error) => output::refuse(&error),
    }
}
