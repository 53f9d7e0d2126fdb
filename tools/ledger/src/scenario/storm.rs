//! Everybody comes at once to a gateway that serves others: do these notice?

use super::verdict::{duration, judge, percentile};
use super::{Run, Setting, say, watch};
use crate::arguments::{Common, Storm};
use crate::clock::{self, Micros, SECOND};
use crate::crowd::{Kind, Order};
use crate::ledger::Ledger;
use crate::report::Report;
use crate::stand::Program;
use std::time::Duration;

const PAYLOAD: usize = 64;
const PATIENCE: Duration = Duration::from_secs(180);
/// The p99 during the storm over that of the calm.
const FACTOR_MAX: f64 = 3.0;

/// The scenario: two crowds, each on its thread, so that the newcomers' handshakes do not delay the others' clocks.
pub fn run(common: &Common, program: &Program, arguments: &Storm) -> Result<Report, String> {
    let setting = Setting { gateways: 1, channels: arguments.channels, with_proxies: false, syncs: true };
    let mut run = Run::new(common, program, &setting)?;
    run.gather(arguments.connected, |_| Kind::Good, PAYLOAD)?;
    run.gather(arguments.connections, |_| Kind::Good, PAYLOAD)?;
    run.start(0)?;
    let come = |at: usize, count: u32, over: Micros| {
        run.workers
            .get(at)
            .into_iter()
            .for_each(|worker| worker.tell(Order::Come { from: 0, to: count, over }));
    };
    come(0, arguments.connected, SECOND);
    run.settle(0, u64::from(arguments.connected), Duration::from_secs(30))?;
    if let Some(worker) = run.workers.first() {
        worker.tell(Order::Rate(arguments.publishes_per_s));
    }
    watch(&run, Duration::from_secs(2));
    let calm = clock::now();
    watch(&run, Duration::from_secs_f64(arguments.calm));
    say("the storm");
    let storm = clock::now();
    come(1, arguments.connections, 0);
    let settled = run.settle(1, u64::from(arguments.connections), PATIENCE);
    let over = clock::now();
    let rest = run.come_to_rest();
    let (ledger, logs) = run.finish()?;
    let title = format!(
        "storm: {} connections come to {}, {:?}",
        arguments.connections, arguments.connected, common.store
    );
    let mut report = Report::new(title);
    for (what, done) in [("until all newcomers are synced", settled), ("everybody has everything", rest)] {
        let is_good = done.is_ok();
        report.judge(what, done.map_or_else(|error| error, duration), "", is_good);
    }
    latency(&mut report, &ledger, [calm, storm, over]);
    judge(&mut report, &run, &ledger, &logs);
    Ok(report)
}

fn latency(report: &mut Report, ledger: &Ledger, [calm, storm, over]: [Micros; 3]) {
    let of = |from: Micros, to: Micros, of: f64| {
        let took = ledger.answers.iter().filter(|it| (from..to).contains(&it.sent)).map(|it| it.took);
        percentile(took, of).map(|us| f64::from(us) / 1_000.0)
    };
    let text = |ms: Option<f64>| ms.map_or("none".to_owned(), |ms| format!("{ms:.2} ms"));
    for (name, from, to) in [("calm", calm, storm), ("storm", storm, over)] {
        report.tell(format!("answers to publishes, {name}: p50 / p99 / p99.9"), {
            [50.0, 99.0, 99.9].map(|percent| text(of(from, to, percent))).join(" / ")
        });
    }
    if let (Some(before), Some(during)) = (of(calm, storm, 99.0), of(storm, over, 99.0)) {
        let factor = during / before.max(0.001);
        report.judge(
            "p99 of connected clients, storm over calm",
            format!("{factor:.2}"),
            FACTOR_MAX,
            factor <= FACTOR_MAX,
        );
    }
}
