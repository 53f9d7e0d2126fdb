//! `seawall slo report`: the report of a week.

use super::config::Config;
use super::output;
use super::remote::Remote;
use super::running::RunningGateway;
use crate::slo::calendar::IsoWeek;
use crate::slo::weekly_text::ReportFormat;
use clap::Args;
use std::process::ExitCode;

const PATH: &str = "/slo/report";
/// Nothing is known.
const UNKNOWN: u8 = 2;

#[derive(Args, Debug)]
pub(super) struct ReportArguments {
    /// The week, like 2026-W48 [default: this one so far]
    #[arg(long, value_name = "WEEK", value_parser = week)]
    week: Option<IsoWeek>,
    /// The form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ReportFormat::ALL.map(ReportFormat::as_str))]
    format: String,
}

fn week(text: &str) -> Result<IsoWeek, String> {
    IsoWeek::parse(text).ok_or_else(|| "an ISO week that its year has, like 2026-W48".to_owned())
}

impl ReportArguments {
    /// Asks the gateway, and prints its answer.
    pub(super) fn run(&self, config: &Config, running: Option<&RunningGateway>) -> ExitCode {
        let week = self.week.map_or_else(String::new, |week| format!("week={week}&"));
        let path = format!("{PATH}?{week}format={}", self.format);
        let answered = Remote::of(config, running)
            .and_then(|remote| remote.read("GET", &path, "", |body| Some(body.to_owned())));
        match answered {
            Ok(body) => output::print(&body),
            Err(message) => {
                output::fail(&message);
                ExitCode::from(UNKNOWN)
            }
        }
    }
}
