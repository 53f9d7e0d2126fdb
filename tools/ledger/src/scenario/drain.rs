//! A gateway is asked to shut down while all clients are connected and publishing.

use super::verdict::{duration, judge};
use super::{Proxies, Run, Setting, say, watch};
use crate::arguments::{Common, Drain, Store};
use crate::clock::{self, Micros, SECOND, seconds, wait_until};
use crate::crowd::{Kind, Order};
use crate::gateway::{Ended, Program};
use crate::ledger::{End, Ledger};
use crate::report::Report;
use std::time::Duration;

const PAYLOAD: usize = 64;
/// The defaults of `[drain]`; see [`Program::drain`].
const TIMETABLE: [u32; 5] = [3_000, 18_000, 23_000, 28_000, 10_000];
/// The bound for the exit. The scenario waits up to `PATIENCE` to measure a longer one.
const EXIT_WITHIN: Micros = 28 * SECOND;
const PATIENCE: Duration = Duration::from_secs(45);
/// The bound for the share of clients that return in one second, in percent.
const SHARE_MAX: f64 = 15.0;

/// Runs the scenario.
pub fn run(common: &Common, mut program: Program, arguments: &Drain) -> Result<Report, String> {
    if arguments.faster > 1 {
        program.drain(TIMETABLE.map(|ms| ms / arguments.faster));
    }
    let knows = program.drains;
    let setting = Setting {
        gateways: gateways(common),
        channels: arguments.channels,
        proxies: Proxies::None,
        syncs: true,
    };
    let mut run = Run::new(common, &program, &setting)?;
    let kind = |at: u32| if at % 100 < arguments.naive { Kind::Naive } else { Kind::Good };
    run.gather_and_settle(arguments.connections, kind, PAYLOAD)?;
    if common.store == Store::Postgres {
        run.start(1)?;
    }
    run.send(&Order::Rate(arguments.publishes_per_s));
    watch(&run, Duration::from_secs_f64(arguments.before));
    say("SIGTERM");
    let began = clock::now();
    leave(&mut run, common.store)?;
    let after = (TIMETABLE[4] / arguments.faster / 1_000 + 5).into();
    watch(&run, Duration::from_secs(after));
    let settled = run.settle(0, u64::from(arguments.connections), Duration::from_secs(60));
    let rest = run.wait_until_complete();
    let (ledger, logs) = run.finish()?;
    let title = format!(
        "drain: {} connections, {} publishes per second, {:?}",
        arguments.connections, arguments.publishes_per_s, common.store
    );
    let mut report = Report::new(title);
    if !knows {
        report.note("This gateway does not know [drain], so it shut down without one.");
    }
    for (what, done) in [("all clients are back", settled), ("all clients have everything", rest)] {
        let is_good = done.is_ok();
        report.judge(what, done.map_or_else(|error| error, duration), "60 s", is_good);
    }
    departure(&mut report, &run, &ledger);
    returns(&mut report, &ledger, began, arguments.connections);
    judge(&mut report, &run, &ledger, &logs);
    Ok(report)
}

fn gateways(common: &Common) -> u8 {
    match common.store {
        Store::Sqlite => 1,
        Store::Postgres => 2,
    }
}

/// Drains the first gateway. With PostgreSQL the other gateway takes over its clients; with SQLite a successor starts
/// after it has exited.
fn leave(run: &mut Run, store: Store) -> Result<(), String> {
    run.send(&Order::Rotation { slot: 0, open: false });
    if let Some(place) = run.places.first_mut() {
        place.drain(&mut run.lives, PATIENCE)?;
    }
    say("the gateway has exited");
    if store == Store::Sqlite {
        run.start(0)?;
    }
    wait_until(Duration::ZERO, || true);
    Ok(())
}

/// Reports how the first gateway exited and how its clients were notified.
fn departure(report: &mut Report, run: &Run, ledger: &Ledger) {
    if let Some(Ended::InOrder { code, took }) = run.lives.first().map(|life| &life.ended) {
        report.judge("exit code", format!("{code:?}"), "Some(0)", *code == Some(0));
        report.judge("from SIGTERM to the exit", duration(*took), "28 s", *took <= EXIT_WITHIN);
    }
    let drains = ledger.lives.first().map_or(0, |life| life.drains);
    report.show("clients notified by `drain`", drains);
    let by_server: Vec<_> =
        ledger.closes.iter().filter(|close| close.at > 0 && is_of_server(close.end)).collect();
    let announced =
        by_server.iter().filter(|close| close.end == End::Server { code: 1012, bye: true }).count();
    let all = by_server.len();
    report.judge(
        "closes by the server that are 1012 after a `bye`",
        format!("{announced} of {all}"),
        "all",
        announced == all,
    );
    let moved = ledger.closes.iter().filter(|close| close.end == End::Ours && close.slot == 0).count();
    report.show("clients that moved by themselves", moved);
}

fn is_of_server(end: End) -> bool {
    match end {
        End::Server { .. } | End::Vanished => true,
        End::Ours | End::Dropped => false,
    }
}

/// Reports the returns of clients, as a bar per second.
fn returns(report: &mut Report, ledger: &Ledger, began: Micros, connections: u32) {
    let mut seconds_of: Vec<u64> = Vec::new();
    for (at, _) in ledger.returns.iter().filter(|(at, _)| *at >= began) {
        let second = ((at - began) / SECOND) as usize;
        if seconds_of.len() <= second {
            seconds_of.resize(second + 1, 0);
        }
        if let Some(count) = seconds_of.get_mut(second) {
            *count += 1;
        }
    }
    let all: u64 = seconds_of.iter().sum();
    let most = seconds_of.iter().copied().max().unwrap_or(0);
    let share = most as f64 * 100.0 / f64::from(connections);
    report.show("returns", all);
    let bar = format!("{SHARE_MAX} %");
    report.judge("most returns in one second", format!("{most} ({share:.1} %)"), bar, share <= SHARE_MAX);
    let columns = seconds_of.iter().enumerate().map(|(second, count)| {
        let width = (*count * 50).div_ceil(most.max(1)) as usize;
        format!("\n  {second:3} s {count:6} {}", "#".repeat(width))
    });
    let from = seconds(began);
    report.note(format!("Returns by second since SIGTERM (at {from:.1} s):{}", columns.collect::<String>()));
}
