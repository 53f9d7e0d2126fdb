//! `seawall slo export`: objectives as files for other programs.

use super::config::Config;
use super::output;
use crate::slo::export::{ExportFormat, export};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(super) struct ExportArguments {
    /// prometheus: recording rules and alerts; alertmanager: routes and inhibitions; grafana: a dashboard; sloth: recording rules for
    /// the dashboards of Sloth; openslo: objectives and policies of OpenSLO v1
    #[arg(long, value_parser = format_parser())]
    format: ExportFormat,
}

fn format_parser() -> impl TypedValueParser<Value = ExportFormat> {
    PossibleValuesParser::new(ExportFormat::ALL.map(ExportFormat::as_str))
        .try_map(|name| ExportFormat::of(&name).ok_or("unknown"))
}

impl ExportArguments {
    /// Prints the objectives of the configuration.
    pub(super) fn run(&self, config: &Config) -> ExitCode {
        match export(self.format, &config.objectives()) {
            Ok(text) => output::print(&text),
            Err((name, fault)) => {
                output::fail(&format!(
                    "slo.{name}: no failure could reach the tier {}; see seawall check-config",
                    fault.name
                ));
                ExitCode::from(output::WRONG_CONFIGURATION)
            }
        }
    }
}
