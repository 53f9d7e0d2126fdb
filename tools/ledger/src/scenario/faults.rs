//! Faults on a seeded schedule, under continuous load.

use super::inject::{describe, play};
use super::schedule::of_few;
use super::verdict::{duration, judge};
use super::{Proxies, Run, Setting, say};
use crate::arguments::{Common, Faults, Store};
use crate::clock::{Micros, SECOND};
use crate::crowd::{Kind, Order};
use crate::gateway::Program;
use crate::report::Report;
use std::time::Duration;

/// One client in `SLOW_EVERY` reads slowly, and one in `NAIVE_EVERY` ignores `drain`.
const SLOW_EVERY: u32 = 12;
const NAIVE_EVERY: u32 = 7;
/// Bytes of a publication's data.
const PAYLOAD: usize = 120;
/// The gateways' ping interval: short, so that liveness checks are part of the test.
const PING_MS: u32 = 5_000;
/// The drain timetable, shortened for this scenario; see [`Program::drain`].
const DRAIN_MS: [u32; 5] = [300, 2_000, 3_000, 5_000, 1_500];

/// Runs the scenario.
pub fn run(common: &Common, mut program: Program, arguments: &Faults) -> Result<Report, String> {
    let length = (arguments.minutes * 60.0 * SECOND as f64) as Micros;
    let planned = of_few(common.seed, length, common.store);
    let title = format!("faults: seed {}, {} minutes, {:?}", common.seed, arguments.minutes, common.store);
    println!("{title}\n\n      at  length  fault");
    planned.iter().for_each(|one| println!("{one}"));
    let mut report = Report::new(title);
    if arguments.print {
        return Ok(report);
    }
    program.set("LIMITS_PING_MS", PING_MS);
    program.drain(DRAIN_MS);
    let gateways = if common.store == Store::Sqlite { 1 } else { 2 };
    let setting = Setting { gateways, channels: arguments.channels, proxies: Proxies::All, syncs: false };
    let mut run = Run::new(common, &program, &setting)?;
    run.gather(arguments.clients, kind, PAYLOAD)?;
    (0..gateways).try_for_each(|slot| run.start(slot))?;
    run.send(&Order::Connect { from: 0, to: arguments.clients, over: SECOND });
    run.settle(0, u64::from(arguments.clients), Duration::from_secs(30))?;
    run.send(&Order::Rate(arguments.publishes_per_s));
    let effects = play(&mut run, &planned, length)?;
    say("faults are over; waiting until all clients have everything");
    match run.wait_until_complete() {
        Ok(took) => report.judge("recovered after the last publish", duration(took), "60 s", true),
        Err(error) => report.judge("recovered after the last publish", error, "60 s", false),
    }
    let (ledger, logs) = run.finish()?;
    judge(&mut report, &run, &ledger, &logs);
    report.note(describe(&effects, arguments.clients));
    if let Some(folder) = run.keep() {
        report.note(format!("Logs and data are in {}.", folder.display()));
    }
    Ok(report)
}

fn kind(client: u32) -> Kind {
    match client {
        at if at % SLOW_EVERY == SLOW_EVERY - 1 => Kind::Slow,
        at if at % NAIVE_EVERY == NAIVE_EVERY - 1 => Kind::Naive,
        _ => Kind::Good,
    }
}
