//! `seawall slo`: the commands that need no running gateway. `simulate` finds how soon the alerts of an objective notify, with drawn
//! traffic.

use super::exclusion_command::ExcludeArguments;
use super::export_command::ExportArguments;
use super::import_command::ImportArguments;
use super::output;
use super::slo_history_command::HistoryArguments;
use super::slo_report_command::ReportArguments;
use crate::random::Random;
use crate::slo::objective::{Counting, Objective, USUAL, allowed_ppm};
use crate::slo::simulate::{AlertSimulation, Detection, Traffic, median};
use crate::slo::tier::{THRESHOLD_PPM_MAX, Tier, TierFault, Urgency, tiers};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use std::fmt::Write;
use std::process::ExitCode;

/// The simulated rates of events, per minute.
const RATES: [u32; 4] = [1, 10, 1_000, 100_000];
/// The days in which half of the allowed errors happen.
const CALM_DAYS: u32 = 30;

#[derive(Debug, Subcommand)]
pub(super) enum SloCommand {
    /// Print the burn-rate alerts of an objective, how soon each size of failure notifies, and how many notices are false
    Simulate(SimulateArguments),
    /// Print the objectives of the configuration for Prometheus, Alertmanager, Grafana, or as OpenSLO
    Export(ExportArguments),
    /// Print the objectives of an OpenSLO file as lines of the configuration; exit with 2 if something of it is not taken
    Import(ImportArguments),
    /// Print the report of a week: how well each objective was kept, and what spent its budget
    Report(ReportArguments),
    /// Print an objective by week, as far back as its counts are kept
    History(HistoryArguments),
    /// Keep a time, like planned work, out of the budgets and alerts of objectives, or remove such an exclusion
    Exclude(ExcludeArguments),
    /// Print the exclusions of the last 100 days and later
    Exclusions,
}

#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// One of the usual objectives of a chat service: connection, delivery, latency or health [default: all of them]
    #[arg(value_name = "OBJECTIVE", value_parser = USUAL.map(|(name, _)| name), conflicts_with = "ratio")]
    name: Option<String>,
    /// The share of good events of your own objective in percent, 50 to 99.9999
    #[arg(long, value_name = "PERCENT", requires = "days", value_parser = ratio)]
    ratio: Option<u32>,
    /// The days in which your own objective must be met, 1 to 90
    #[arg(long, value_name = "N", requires = "ratio", value_parser = clap::value_parser!(u32).range(1..=i64::from(Objective::PERIOD_DAYS_MAX)))]
    days: Option<u32>,
    /// The times that each failure is drawn; the middle one is printed
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Draw other traffic
    #[arg(long, value_name = "N", default_value_t = 20_261_128)]
    seed: u64,
}

/// The bad events that a ratio in percent allows, in parts per million.
fn ratio(percent: &str) -> Result<u32, String> {
    allowed_ppm(percent).ok_or_else(|| "50 to 99.9999, with at most four decimals".to_owned())
}

/// Simulates an objective.
pub(super) fn simulate(arguments: &SimulateArguments) -> ExitCode {
    let objectives: Vec<(&str, Objective)> = match (arguments.ratio, arguments.days) {
        (Some(allowed_ppm), Some(period_days)) => {
            vec![("objective", Objective { allowed_ppm, period_days, counting: Counting::Events })]
        }
        _ => {
            let is_wanted = |name: &str| arguments.name.as_ref().is_none_or(|wanted| wanted == name);
            USUAL.into_iter().filter(|(name, _)| is_wanted(name)).collect()
        }
    };
    // Seconds of work; shown only to a terminal.
    let bar = ProgressBar::new((objectives.len() * RATES.len() * usize::from(arguments.runs)) as u64);
    let mut text = String::new();
    for (name, objective) in &objectives {
        match tiers(objective) {
            Ok(tiers) => {
                let simulation = AlertSimulation { objective, tiers: &tiers };
                report(
                    &mut text,
                    name,
                    &simulation,
                    &Drawing { runs: arguments.runs, seed: arguments.seed, bar: &bar },
                );
            }
            Err(fault) => {
                output::fail(&refusal(&fault));
                return ExitCode::from(output::WRONG_CONFIGURATION);
            }
        }
    }
    bar.finish_and_clear();
    text.push_str(LEGEND);
    output::print(&text)
}

const LEGEND: &str = "\
A tier notifies while both of its windows have at least its errors, more than chance explains, and not from one group of users.
Times run from the begin of the errors to the first page, the middle of all runs; in brackets to the first ticket where no page
comes within 1.3 days; \"-\" if neither does. False notices are those of 30 days in which half of the allowed errors happen.
";

fn refusal(fault: &TierFault) -> String {
    let (needed, bound) = (percent(fault.threshold_ppm), percent(u64::from(THRESHOLD_PPM_MAX)));
    format!(
        "the tier {} would need {needed} of bad events, and {bound} is the most that a tier can wait for: allow fewer bad events \
         with a higher --ratio, or choose fewer --days",
        fault.name
    )
}

/// How traffic is drawn, and where progress is shown.
struct Drawing<'a> {
    runs: u16,
    seed: u64,
    bar: &'a ProgressBar,
}

/// Simulates one objective, and writes its tables.
fn report(text: &mut String, name: &str, simulation: &AlertSimulation<'_>, drawing: &Drawing<'_>) {
    let Objective { allowed_ppm, period_days, counting } = *simulation.objective;
    let good = percent(u64::from(1_000_000 - allowed_ppm));
    let of = match counting {
        Counting::Events => "events",
        Counting::Looks => "each ten seconds' events",
    };
    let days = if period_days == 1 { "a day".to_owned() } else { format!("{period_days} days") };
    let _infallible = writeln!(text, "{name}: {good} of {of} are good over {days}\n");
    tier_table(text, simulation);
    let errors = error_ratios(allowed_ppm);
    let _infallible = write!(text, "\n  {:<12}", "EVENTS/MIN");
    for ppm in &errors {
        let _infallible = write!(text, "{:>12}", percent(u64::from(*ppm)));
    }
    let _infallible = writeln!(text, "  FALSE PAGES, TICKETS");
    for rate in RATES {
        rate_row(text, simulation, rate, &errors, drawing);
    }
    text.push('\n');
}

fn tier_table(text: &mut String, simulation: &AlertSimulation<'_>) {
    let _infallible =
        writeln!(text, "  {:<8}{:<8}{:<20}{:>10}{:>8}", "TIER", "NOTICE", "WINDOWS", "ERRORS", "BURN");
    for tier in simulation.tiers {
        let Tier { name, urgency, long_s, short_s, threshold_ppm } = *tier;
        let notice = match urgency {
            Urgency::Page => "page",
            Urgency::Ticket => "ticket",
        };
        let windows = format!("{} and {}", span(long_s), span(short_s));
        let burn = tier.burn_milli(simulation.objective) as f64 / 1e3;
        let errors = percent(u64::from(threshold_ppm));
        let _infallible = writeln!(text, "  {name:<8}{notice:<8}{windows:<20}{errors:>10}{burn:>8.1}");
    }
}

/// The shares of bad events in the columns, greatest first: three plain ones, and three that burn the budget 20, 5 and 2 times.
fn error_ratios(allowed_ppm: u32) -> Vec<u32> {
    let burning = [20, 5, 2].map(|burn| allowed_ppm.saturating_mul(burn).min(1_000_000));
    let mut errors: Vec<u32> = [1_000_000, 500_000, 100_000].into_iter().chain(burning).collect();
    errors.sort_unstable_by(|one, other| other.cmp(one));
    errors.dedup();
    errors
}

fn rate_row(
    text: &mut String,
    simulation: &AlertSimulation<'_>,
    rate: u32,
    errors: &[u32],
    drawing: &Drawing<'_>,
) {
    let random = &mut Random::seeded(drawing.seed);
    let events_per_minute = f64::from(rate);
    let mut found: Vec<Vec<Detection>> = vec![Vec::new(); errors.len()];
    for _ in 0..drawing.runs {
        drawing.bar.inc(1);
        let history = simulation.warm(events_per_minute, random);
        for (detections, ppm) in found.iter_mut().zip(errors) {
            let traffic = Traffic { events_per_minute, errors: f64::from(*ppm) / 1e6 };
            detections.push(simulation.detect(history.clone(), traffic, random));
        }
    }
    let calm = Traffic { events_per_minute, errors: f64::from(simulation.objective.allowed_ppm) / 2e6 };
    let notices = simulation.notices(calm, CALM_DAYS, random);
    let _infallible = write!(text, "  {rate:<12}");
    for detections in &found {
        let _infallible = write!(text, "{:>12}", cell(detections));
    }
    let _infallible = writeln!(text, "  {}, {}", notices.pages, notices.tickets);
}

/// The middle time to a page, or to a ticket in brackets.
fn cell(detections: &[Detection]) -> String {
    let page = median(detections.iter().map(|each| each.page_s).collect());
    let ticket = median(detections.iter().map(|each| each.ticket_s).collect());
    match (page, ticket) {
        (Some(page), _) => time(page),
        (None, Some(ticket)) => format!("({})", time(ticket)),
        (None, None) => "-".into(),
    }
}

fn time(seconds: u32) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{:.1} min", f64::from(seconds) / 60.0),
        7_200.. => format!("{:.1} h", f64::from(seconds) / 3_600.0),
    }
}

/// The length of a window.
fn span(seconds: u32) -> String {
    match seconds {
        _ if seconds.is_multiple_of(86_400) => format!("{} d", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{} h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// Parts per million as percent, without zeros at the end.
fn percent(ppm: u64) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_a_percentage_that_leaves_errors() {
        assert_eq!(ratio("99.9"), Ok(1_000));
        assert_eq!(ratio("50"), Ok(500_000));
        assert_eq!(ratio("99.9999"), Ok(1));
        for wrong in ["100", "49.9", "99.99999", "99,9", "", ".", "-1", "1e2", "99.", "4294967296"] {
            assert!(ratio(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn report_has_the_tiers_and_a_row_for_each_rate() {
        let objective = Objective { allowed_ppm: 1_000, period_days: 7, counting: Counting::Events };
        let tiers = tiers(&objective).expect("tiers");
        let drawing = Drawing { runs: 1, seed: 1, bar: &ProgressBar::hidden() };
        let simulation = AlertSimulation { objective: &objective, tiers: &tiers };
        let mut text = String::new();
        tier_table(&mut text, &simulation);
        assert!(text.contains("fast    page    30 min and 150 s        1.68 %    16.8"), "{text}");
        assert!(text.contains("leak    ticket  1 d and 2 h              0.1 %     1.0"), "{text}");
        text.clear();
        rate_row(&mut text, &simulation, 10, &[1_000_000, 2_000], &drawing);
        let cells: Vec<&str> = text.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!((cells[0], cells[3]), ("10", "0, 0"), "{text}");
        assert!(cells[1].ends_with(" s"), "{text}");
    }

    #[test]
    fn ratio_without_a_tier_says_what_to_change() {
        let refusal = refusal(&TierFault { name: "fast", threshold_ppm: 1_440_000 });
        assert!(refusal.contains("fast would need 144 %") && refusal.contains("--ratio"), "{refusal}");
    }
}
